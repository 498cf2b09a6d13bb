use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use uuid::Uuid;
use wasmtx_media::Codec;

use super::testing::{Answer, Window};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<_> = text.split_whitespace().collect();
    words.sort_unstable();
    words
}

fn error(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert_eq!(body["status"], "error", "{answer:?}");
    (answer.status, body["error"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn info_tells_the_version_the_start_and_what_listens() {
    let window = Window::open("").await;
    let answer = window.get("/v3/info").await;
    assert_eq!((answer.status, answer.header("server")), (200, Some("wasmtx")));
    let listeners = json!({ "rtspAddress": window.rtsp });
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        answer.json(),
        json!({ "version": version, "started": "2024-11-22T15:33:33Z", "listeners": listeners })
    );
}

#[tokio::test]
async fn a_path_has_the_fields_that_tools_expect() {
    let window = Window::open("").await;
    let codecs = vec![Codec::H264(Default::default()), Codec::Vp8, Codec::Opus { channels: 2 }];
    let publisher = window.publish("a/b", codecs);
    let path = window.get("/v3/paths/get/a/b").await.json();
    let since = "2024-11-22T15:33:33Z";
    assert_eq!(
        path,
        json!({
            "name": "a/b", "confName": "all_others",
            "ready": true, "readyTime": since, "available": true, "availableTime": since,
            "online": true, "onlineTime": since,
            "source": { "type": "rtspSession", "id": Uuid::nil() },
            "tracks": ["H264", "VP8", "Opus"],
            "tracks2": [
                { "codec": "H264", "codecProps": { "width": 0, "height": 0, "profile": "", "level": "" } },
                { "codec": "VP8", "codecProps": null },
                { "codec": "Opus", "codecProps": { "channelCount": 2 } },
            ],
            "readers": [], "inboundBytes": 0, "outboundBytes": 0, "inboundFramesInError": 0, "recording": false,
            "bytesReceived": 0, "bytesSent": 0,
        })
    );
    drop(publisher);
    assert_eq!(
        error(&window.get("/v3/paths/get/a/b").await),
        (404, "path not found".to_owned())
    );
    assert_eq!(
        error(&window.get("/v3/paths/get/..%2f..").await),
        (404, "path not found".to_owned())
    );
}

#[tokio::test]
async fn a_path_that_is_offline_says_where_its_stream_will_come_from() {
    let paths = "paths: {cam: {source: 'rtsp://127.0.0.1:9/x', sourceOnDemand: yes}, plain: {}}\n";
    let list = Window::open(paths).await.get("/v3/paths/list").await.json();
    assert_eq!((&list["itemCount"], &list["pageCount"]), (&json!(2), &json!(1)));
    assert_eq!(list["items"][0]["source"], json!({ "type": "rtspSource", "id": "" }));
    assert_eq!(list["items"][1]["source"], Value::Null);
    let offline = &list["items"][1];
    for (field, expected) in [
        ("ready", json!(false)),
        ("readyTime", json!(null)),
        ("tracks", json!([])),
        ("tracks2", json!([])),
    ] {
        assert_eq!(offline[field], expected, "{field}");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let window = Window::open("").await;
    let _publishers = ["a", "b", "c"].map(|name| window.publish(name, vec![Codec::Vp8]));
    let page = window.get("/v3/paths/list?itemsPerPage=2&page=1").await.json();
    assert_eq!((&page["itemCount"], &page["pageCount"]), (&json!(3), &json!(2)));
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["items"][0]["name"], "c");
    for query in ["itemsPerPage=0", "itemsPerPage=x", "page=-1"] {
        assert_eq!(
            window.get(&format!("/v3/paths/list?{query}")).await.status,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_rtsp_session_is_listed_shown_and_sent_away() {
    let window = Window::open("").await;
    let mut client = window.publish_rtsp().await;
    let conns = window.get("/v3/rtspconns/list").await.json();
    let conn = &conns["items"][0];
    let expected = "id created remoteAddr session tunnel inboundBytes outboundBytes bytesReceived bytesSent";
    assert_eq!(keys(conn), words(expected));
    assert_eq!(
        (&conn["tunnel"], &conn["remoteAddr"]),
        (&json!("none"), &json!(client.local_addr().unwrap().to_string()))
    );

    let list = window.get("/v3/rtspsessions/list").await.json();
    let session = &list["items"][0];
    let expected = "id created remoteAddr state path query user userAgent transport profile conns \
        inboundBytes inboundRTPPackets inboundRTPPacketsLost inboundRTPPacketsInError inboundRTPPacketsJitter \
        inboundRTCPPackets inboundRTCPPacketsInError outboundBytes outboundRTPPackets outboundRTPPacketsReportedLost \
        outboundRTPPacketsDiscarded outboundRTCPPackets bytesReceived bytesSent rtpPacketsReceived rtpPacketsSent \
        rtpPacketsLost rtpPacketsInError rtpPacketsJitter rtcpPacketsReceived rtcpPacketsSent rtcpPacketsInError";
    assert_eq!(keys(session), words(expected));
    assert_eq!(session["state"], "publish");
    assert_eq!(session["path"], "cam");
    assert_eq!(session["query"], "token=<redacted>&x=1");
    assert_eq!(session["userAgent"], "test");
    assert_eq!(
        (&session["transport"], &session["profile"]),
        (&json!("TCP"), &json!("AVP"))
    );
    assert_eq!(session["conns"], json!([conn["id"]]));
    assert_eq!(session["id"], conn["session"]);

    let id = session["id"].as_str().unwrap();
    let conn_id = conn["id"].as_str().unwrap();
    assert_eq!(
        window.get(&format!("/v3/rtspsessions/get/{id}")).await.json()["id"],
        *id
    );
    assert_eq!(
        window.get(&format!("/v3/rtspconns/get/{conn_id}")).await.json()["id"],
        *conn_id
    );
    assert_eq!(
        window.get("/v3/paths/get/cam").await.json()["source"],
        json!({ "type": "rtspSession", "id": id })
    );

    let kick = format!("/v3/rtspsessions/kick/{id}");
    assert_eq!(window.get(&kick).await.status, 405);
    assert_eq!(window.ask("POST", &kick, &[]).await.json(), json!({ "status": "ok" }));
    let mut rest = Vec::new();
    // Closed or reset, as the system likes; what counts is that it is over.
    let _ = client.read_to_end(&mut rest).await;
    assert_eq!(window.ask("POST", &kick, &[]).await.status, 404);
}

#[tokio::test]
async fn what_is_not_there_is_an_error_in_json() {
    let window = Window::open("").await;
    let nobody = Uuid::nil();
    for (method, route, expected) in [
        ("GET", "/v3/rtspconns/get/x".to_owned(), (400, "invalid id")),
        (
            "GET",
            format!("/v3/rtspconns/get/{nobody}"),
            (404, "connection not found"),
        ),
        (
            "GET",
            format!("/v3/rtspsessions/get/{nobody}"),
            (404, "session not found"),
        ),
        (
            "POST",
            format!("/v3/rtspsessions/kick/{nobody}"),
            (404, "session not found"),
        ),
        ("POST", format!("/v3/rtspconns/kick/{nobody}"), (404, "not found")),
        ("GET", "/v3/rtspssessions/list".to_owned(), (404, "not found")),
        ("GET", "/v3/hlsmuxers/list".to_owned(), (404, "not found")),
        ("GET", "/v3/nonsense".to_owned(), (404, "not found")),
        ("GET", "/".to_owned(), (404, "not found")),
        ("POST", "/v3/paths/list".to_owned(), (405, "method not allowed")),
        ("PATCH", "/v3/config/global/patch".to_owned(), (404, "not found")),
        (
            "GET",
            "/v3/config/paths/get/x".to_owned(),
            (404, "path configuration not found"),
        ),
    ] {
        let answer = window.ask(method, &route, &[]).await;
        assert_eq!(error(&answer), (expected.0, expected.1.to_owned()), "{method} {route}");
    }
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let window = Window::open(
        "authInternalUsers: [{user: any, permissions: [{action: api}]}, {user: me, pass: hunter2, permissions: []}]\n\
         readTimeout: 12s\npathDefaults: {maxReaders: 7}\npaths: {'~^cam(\\d+)$': {}, b: {record: yes}}\n",
    )
    .await;
    let global = window.get("/v3/config/global/get").await;
    assert!(!global.body.contains("hunter2"));
    assert_eq!(global.json()["readTimeout"], "12s");
    assert_eq!(window.get("/v3/config/pathdefaults/get").await.json()["maxReaders"], 7);
    let paths = window.get("/v3/config/paths/list").await.json();
    assert_eq!(
        (&paths["itemCount"], &paths["items"][0]["name"]),
        (&json!(2), &json!("b"))
    );
    let by_pattern = window.get("/v3/config/paths/get/~%5Ecam(%5Cd+)$").await.json();
    assert_eq!(
        (&by_pattern["name"], &by_pattern["maxReaders"]),
        (&json!("~^cam(\\d+)$"), &json!(7))
    );
}

#[tokio::test]
async fn without_plugins_their_list_is_empty() {
    let list = Window::open("").await.get("/v3/plugins/list").await.json();
    assert_eq!(list, json!({ "itemCount": 0, "pageCount": 0, "items": [] }));
}

const USERS: &str = "authInternalUsers: [{user: me, pass: secret, permissions: [{action: api}]}, \
     {user: reader, pass: secret, permissions: [{action: read}]}]\n";

#[tokio::test]
async fn who_is_not_known_is_asked_and_who_may_not_is_told() {
    let window = Window::open(USERS).await;
    let ask = async |credentials: &str| window.ask("GET", "/v3/info", &[("Authorization", credentials)]).await;
    let challenge = window.get("/v3/info").await;
    assert_eq!(error(&challenge), (401, "authentication error".to_owned()));
    assert_eq!(challenge.header("www-authenticate"), Some("Basic realm=\"wasmtx\""));
    assert_eq!(window.get("/v3/nonsense").await.status, 401);
    assert_eq!(ask("Basic bWU6d3Jvbmc=").await.status, 401);
    assert_eq!(ask("Basic bWU6c2VjcmV0").await.status, 200);
    assert_eq!(ask("Bearer me:secret").await.status, 200);
    assert_eq!(ask("Bearer abc").await.status, 401);
    assert_eq!(ask("Bearer reader:secret").await.status, 403);
}

#[tokio::test]
async fn guessing_from_behind_a_trusted_proxy_blocks_the_guesser_and_not_the_proxy() {
    let window = Window::open(&format!("{USERS}apiTrustedProxies: [127.0.0.1]\n")).await;
    let ask = async |from: &str, credentials: &str| {
        window
            .ask(
                "GET",
                "/v3/info",
                &[("X-Forwarded-For", from), ("Authorization", credentials)],
            )
            .await
    };
    for _ in 0..10 {
        assert_eq!(ask("192.0.2.1", "Bearer me:guess").await.status, 401);
    }
    let blocked = ask("192.0.2.1", "Bearer me:secret").await;
    assert_eq!((blocked.status, blocked.header("retry-after")), (429, Some("6")));
    assert_eq!(ask("192.0.2.2", "Bearer me:secret").await.status, 200);
}

#[tokio::test]
async fn a_page_of_anywhere_may_only_read_and_only_without_credentials() {
    let window = Window::open("").await;
    let foreign = ("Origin", "https://evil.example");
    let read = window.ask("GET", "/v3/info", &[foreign]).await;
    assert_eq!(
        (read.status, read.header("access-control-allow-origin")),
        (200, Some("*"))
    );
    let proving = window
        .ask("GET", "/v3/info", &[foreign, ("Authorization", "Bearer me:secret")])
        .await;
    assert_eq!(error(&proving), (403, "this origin is not listed by name".to_owned()));
    let kick = format!("/v3/rtspsessions/kick/{}", Uuid::nil());
    assert_eq!(window.ask("POST", &kick, &[foreign]).await.status, 403);
    assert_eq!(window.ask("POST", &kick, &[("Origin", "null")]).await.status, 403);
    assert_eq!(window.ask("POST", &kick, &[]).await.status, 404);

    let preflight = window
        .ask("OPTIONS", &kick, &[foreign, ("Access-Control-Request-Method", "POST")])
        .await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-methods")),
        (204, Some("OPTIONS, GET"))
    );
}

#[tokio::test]
async fn a_page_that_is_listed_by_name_may_do_everything() {
    let window = Window::open("apiAllowOrigins: ['https://good.example']\n").await;
    let kick = format!("/v3/rtspsessions/kick/{}", Uuid::nil());
    let good = ("Origin", "https://good.example");
    let answer = window.ask("POST", &kick, &[good]).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (404, Some("https://good.example"))
    );
    let preflight = window
        .ask("OPTIONS", &kick, &[good, ("Access-Control-Request-Method", "POST")])
        .await;
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("OPTIONS, GET, POST, PATCH, DELETE")
    );
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("Authorization, Content-Type")
    );

    let other = window
        .ask("GET", "/v3/info", &[("Origin", "https://other.example")])
        .await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
    let other = window.ask("POST", &kick, &[("Origin", "https://other.example")]).await;
    assert_eq!(other.status, 403);
    let own = format!("http://{}", window.api);
    assert_eq!(window.ask("POST", &kick, &[("Origin", &own)]).await.status, 404);
}

/// Somebody on this machine may change plugins.
const MANAGER: &str =
    "authInternalUsers: [{user: any, ips: [127.0.0.1], permissions: [{action: api}, {action: plugins}]}]\n";

#[tokio::test]
async fn plugins_are_changed_only_by_who_was_granted_it() {
    let window = Window::open("").await;
    for route in ["reload", "push", "enable", "disable"] {
        let answer = window.ask("POST", &format!("/v3/plugins/{route}/door"), &[]).await;
        assert_eq!(error(&answer).0, 401, "{route}");
    }
    assert_eq!(window.get("/v3/plugins/list").await.json()["itemCount"], 0);
    assert_eq!(
        error(&window.get("/v3/plugins/get/door").await),
        (404, "plugin not found".to_owned())
    );
}

#[tokio::test]
async fn a_plugin_that_nobody_knows_cannot_be_changed() {
    let window = Window::open(MANAGER).await;
    for route in ["reload", "enable", "disable"] {
        let answer = window.ask("POST", &format!("/v3/plugins/{route}/door"), &[]).await;
        assert_eq!(error(&answer), (404, "plugin not found".to_owned()), "{route}");
    }
    let wasm = ("Content-Type", "application/wasm");
    let answer = window.ask("POST", "/v3/plugins/push/door", &[wasm]).await;
    assert_eq!(error(&answer).0, 404);
    for kind in [&[][..], &[("Content-Type", "text/plain")]] {
        let answer = window.ask("POST", "/v3/plugins/push/door", kind).await;
        assert_eq!(error(&answer).0, 415, "a web page could send that");
    }
    assert_eq!(window.ask("DELETE", "/v3/plugins/push/door", &[]).await.status, 405);
}

#[tokio::test]
async fn rtmp_connections_are_listed_while_their_server_is_on() {
    let empty = json!({ "itemCount": 0, "pageCount": 0, "items": [] });
    let nobody = Uuid::nil();
    let window = Window::open("rtmpEncryption: optional\n").await;
    for kind in ["rtmpconns", "rtmpsconns"] {
        let list = window.get(&format!("/v3/{kind}/list?itemsPerPage=1")).await;
        assert_eq!((list.status, list.json()), (200, empty.clone()), "{kind}");
        for (method, verb, id, expected) in [
            ("GET", "get", nobody.to_string(), (404, "connection not found")),
            ("POST", "kick", nobody.to_string(), (404, "connection not found")),
            ("GET", "get", "x".to_owned(), (400, "invalid id")),
            ("POST", "kick", "x".to_owned(), (400, "invalid id")),
        ] {
            let (status, words) = error(&window.ask(method, &format!("/v3/{kind}/{verb}/{id}"), &[]).await);
            assert_eq!((status, words.as_str()), expected, "{kind} {verb} {id}");
        }
    }
    for (config, kind) in [
        ("", "rtmpsconns"),
        ("rtmpEncryption: strict\n", "rtmpconns"),
        ("rtmp: no\n", "rtmpconns"),
    ] {
        let window = Window::open(config).await;
        assert_eq!(
            window.get(&format!("/v3/{kind}/list")).await.status,
            404,
            "{config}{kind}"
        );
    }
}

#[tokio::test]
async fn destinations_are_listed_by_the_name_of_their_path() {
    let window = Window::open("").await;
    let _publisher = window.publish("a/b", vec![Codec::Vp8]);
    let list = window.get("/v3/paths/forward/list?path=a/b").await.json();
    assert_eq!(list, json!({ "itemCount": 0, "pageCount": 0, "items": [] }));
    let nobody = Uuid::nil();
    for (route, expected) in [
        ("list".to_owned(), (400, "invalid path")),
        ("list?path=c".to_owned(), (404, "path not found")),
        ("list?path=..".to_owned(), (404, "path not found")),
        ("get?path=a/b".to_owned(), (400, "invalid id")),
        (format!("get?path=c&id={nobody}"), (404, "path not found")),
        (format!("get?path=a/b&id={nobody}"), (404, "destination not found")),
    ] {
        let (status, words) = error(&window.get(&format!("/v3/paths/forward/{route}")).await);
        assert_eq!((status, words.as_str()), expected, "{route}");
    }
}

#[tokio::test]
async fn flv_players_are_listed_while_their_server_is_on() {
    let window = Window::open("").await;
    let list = window.get("/v3/flvconns/list").await;
    let empty = json!({ "itemCount": 0, "pageCount": 0, "items": [] });
    assert_eq!((list.status, list.json()), (200, empty));
    let nobody = Uuid::nil();
    for (method, route, expected) in [
        ("GET", format!("get/{nobody}"), (404, "connection not found")),
        ("POST", format!("kick/{nobody}"), (404, "connection not found")),
        ("POST", "kick/x".to_owned(), (400, "invalid id")),
    ] {
        let (status, words) = error(&window.ask(method, &format!("/v3/flvconns/{route}"), &[]).await);
        assert_eq!((status, words.as_str()), expected, "{route}");
    }
    let window = Window::open("flv: no\n").await;
    assert_eq!(window.get("/v3/flvconns/list").await.status, 404);
}
