//! Who comes in, who is sent away, and what is counted.

use super::*;

#[tokio::test]
async fn who_shows_the_wrong_password_hears_so_and_the_right_one_or_a_token_is_taken() {
    let house = House::new();
    let _publisher = house.publish("cam1?user=alice&pass=secret").await;
    let conn = &house.conns.conns(false)[0];
    assert_eq!(conn.details.lock().user, "alice");
    assert_eq!(conn.details.lock().user_agent, "FMLE/3.0 (compatible; test)");
    for (goal, query) in [
        (Goal::Play, "user=alice&pass=wrong"),
        (Goal::Publish, "jwt=wrong"),
        (Goal::Play, "user=mallory&pass=secret"),
    ] {
        let mut client = house.client(goal, &format!("cam1?{query}")).await;
        let Some(Reason::Refused(words)) = client.end().await else {
            panic!("it was refused")
        };
        assert!(words.contains("authentication"), "{words}");
    }
    house.play("cam1?token=key").await;
}

#[tokio::test]
async fn an_operator_sends_away_whom_they_want() {
    let house = House::new();
    let mut publisher = house.publish("cam1").await;
    let mut player = house.play("cam1").await;
    let conns = house.conns.conns(false);
    assert!(house.conns.kick(conns[1].id, "too loud"));
    let Some(Reason::Ended(words)) = player.end().await else {
        panic!("it was told")
    };
    assert!(words.contains("too loud"), "{words}");
    assert!(house.conns.kick(conns[0].id, ""));
    publisher.end().await;
    eventually(|| house.conns.conns(false).is_empty()).await;
    assert!(!house.conns.kick(conns[0].id, ""));
}

#[tokio::test]
async fn who_says_nothing_sensible_is_sent_away_and_counted() {
    let house = House::new();
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[3; 4_000]] {
        let before = house.refused("malformed");
        let mut socket = house.socket().await;
        // It may be gone before all is said.
        let _ = socket.write_all(nonsense).await;
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        eventually(|| house.refused("malformed") == before + 1).await;
    }
    eventually(|| house.conns.conns(false).is_empty()).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_is_forgotten_wherever_it_stands() {
    let house = House::new();
    let silent = house.socket().await;
    let mut shaking = house.socket().await;
    shaking.write_all(&[3; 700]).await.unwrap();
    let publisher = house.publish("cam1").await;
    let player = house.play("cam1").await;
    eventually(|| house.conns.conns(false).len() == 4).await;
    drop((silent, shaking, player, publisher));
    eventually(|| house.conns.conns(false).is_empty()).await;
    let path = house.hub.path(&PathName::new("cam1").unwrap());
    assert!(path.is_none_or(|path| path.publication().is_none()));
}

#[tokio::test]
async fn the_client_that_a_trusted_proxy_names_is_the_one_that_is_known() {
    let config = Config {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        connections_per_address: 1,
        ..config()
    };
    let house = House::with(config, PathConfig::default());
    let mut publishers = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2"] {
        let mut socket = house.socket().await;
        let header = format!("PROXY TCP4 {client} 198.51.100.1 5000 1935\r\n");
        socket.write_all(header.as_bytes()).await.unwrap();
        let mut publisher = Guest::new(socket, Goal::Publish, client, Capabilities::default());
        publisher.begin_publishing().await;
        publishers.push(publisher);
    }
    let remotes: Vec<_> = house
        .conns
        .conns(false)
        .iter()
        .map(|conn| conn.remote.to_string())
        .collect();
    assert_eq!(remotes, ["192.0.2.1:5000", "192.0.2.2:5000"]);

    let mut third = house.socket().await;
    third
        .write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 5001 1935\r\n")
        .await
        .unwrap();
    assert_eq!(third.read(&mut [0]).await.unwrap(), 0, "its client has had its place");
    assert_eq!(house.refused("connections-per-address"), 1);

    house.publish("itself").await;
}

#[tokio::test]
async fn nobody_else_is_believed_to_be_a_proxy() {
    let house = House::new();
    let mut socket = house.socket().await;
    let _ = socket
        .write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 1935\r\n")
        .await;
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    eventually(|| house.refused("malformed") == 1).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_for_those_who_come_and_cuts_nobody_off() {
    let folder = Folder::new();
    let first = folder.renew("localhost");
    let identity = folder.load().unwrap();
    let acceptor = TlsAcceptor::from(identity.server_config(&[]).unwrap());
    let config = Config {
        address: None,
        encrypted: Some(("127.0.0.1:0".to_owned(), acceptor)),
        ..config()
    };
    let house = House::with(config, PathConfig::default());
    let address: SocketAddr = house.server.encrypted_address.unwrap();
    let connect = async |fingerprint| {
        let connector = TlsConnector::from(tls::client_config(Some(fingerprint)).unwrap());
        let socket = TcpStream::connect(address).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), socket).await
    };

    let socket = connect(first).await.unwrap();
    let mut publisher = Guest::new(socket, Goal::Publish, "cam1", Capabilities::default());
    publisher.begin_publishing().await;
    let name = PathName::new("cam1").unwrap();
    eventually(|| house.hub.path(&name).is_some_and(|path| path.publication().is_some())).await;

    let second = folder.renew("localhost");
    assert!(identity.refresh().unwrap());
    assert!(connect(first).await.is_err());
    let mut player = Guest::new(
        connect(second).await.unwrap(),
        Goal::Play,
        "cam1",
        Capabilities::default(),
    );
    player.expect_playing().await;
    publisher.send(Kind::Audio, 23, sound(b"second")).await;
    while player.media().await.payload != sound(b"second") {}
    assert_eq!(house.conns.conns(true).len(), 2);
}

#[tokio::test]
async fn players_are_told_that_the_server_stops() {
    let house = House::new();
    let _publisher = house.publish("cam1").await;
    let mut player = house.play("cam1").await;
    house.hub.shut_down();
    house.server.stop().await;
    assert!(matches!(player.end().await, Some(Reason::Ended(_))));
}
