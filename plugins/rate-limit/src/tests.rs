use super::*;
use wasmtx_plugin::testing::{Grant, advance_clock, configure, metrics, request, take_raised, withdraw};

fn plugin(config: &str) -> RateLimit {
    configure(config).unwrap()
}

fn from(address: &str, path: &str) -> Request {
    let mut request = request(Action::Read, path);
    request.client.address = address.into();
    request
}

/// How many of ten requests come through.
fn through(plugin: &mut RateLimit, request: &Request) -> usize {
    let decisions = (0..10).map(|_| plugin.check(request.clone()));
    decisions.filter(|decision| *decision == Decision::Abstain).count()
}

fn too_many() -> Decision {
    Denial::TooMany.into()
}

#[test]
fn so_many_come_through_and_no_more_until_the_time_is_over() {
    let mut plugin = plugin(r#"{"limits":[{"count":3,"by":["address"]}]}"#);
    let one = from("192.0.2.1", "cam1");
    assert_eq!(through(&mut plugin, &one), 3);
    assert_eq!(
        through(&mut plugin, &from("192.0.2.2", "cam1")),
        3,
        "another address has a count of its own"
    );
    advance_clock(Duration::from_millis(59_999));
    assert_eq!(
        plugin.check(one.clone()),
        too_many(),
        "trying does not make it longer, nor shorter"
    );
    advance_clock(Duration::from_millis(1));
    assert_eq!(through(&mut plugin, &one), 3);
}

#[test]
fn nobody_comes_through_a_count_of_nothing() {
    assert_eq!(
        through(
            &mut plugin(r#"{"limits":[{"count":0,"by":["path"]}]}"#),
            &from("192.0.2.1", "cam1")
        ),
        0
    );
}

#[test]
fn each_limit_counts_what_it_is_about() {
    let mut plugin = plugin(
        r#"{"limits":[
            {"count":2,"seconds":1,"by":["path"],"actions":["publish"]},
            {"count":4,"seconds":10,"by":["path"],"paths":["~^cam"]}
        ]}"#,
    );
    let publish = |path: &str| request(Action::Publish, path);
    assert_eq!(through(&mut plugin, &publish("cam1")), 2);
    assert_eq!(
        plugin.check(request(Action::Read, "cam1")),
        too_many(),
        "all ten counted for the second"
    );
    assert_eq!(through(&mut plugin, &request(Action::Read, "cam2")), 4);
    assert_eq!(through(&mut plugin, &publish("hall")), 2);
    assert_eq!(through(&mut plugin, &request(Action::Read, "hall")), 10);
}

#[test]
fn counts_by_several_things_are_of_each_combination() {
    let mut plugin = plugin(r#"{"limits":[{"count":1,"by":["user","path"]}]}"#);
    let named = |user: &str, path: &str| Request {
        user: Some(user.into()),
        ..request(Action::Read, path)
    };
    for (user, path) in [
        ("ada", "cam1"),
        ("ada", "cam2"),
        ("grace", "cam1"),
        ("adac", "am1"),
        ("", "adacam1"),
    ] {
        assert_eq!(plugin.check(named(user, path)), Decision::Abstain, "{user} {path}");
        assert_eq!(plugin.check(named(user, path)), too_many(), "{user} {path}");
    }
    let long = named(&"x".repeat(100_000), "cam1");
    assert_eq!(plugin.check(long), Decision::Abstain, "a name of any length is counted");
}

#[test]
fn a_home_with_many_addresses_is_one() {
    let mut plugin = plugin(r#"{"limits":[{"count":1,"by":["address"]}]}"#);
    assert_eq!(plugin.check(from("2001:db8:1:2::3", "cam1")), Decision::Abstain);
    assert_eq!(plugin.check(from("2001:db8:1:2:ffff::4", "cam1")), too_many());
    assert_eq!(plugin.check(from("2001:db8:1:3::3", "cam1")), Decision::Abstain);
    assert_eq!(plugin.check(from("192.0.2.1", "cam1")), Decision::Abstain);
    assert_eq!(plugin.check(from("::ffff:192.0.2.1", "cam1")), too_many());
    assert_eq!(plugin.check(from("none", "cam1")), Decision::Abstain);
}

#[test]
fn asking_without_a_name_is_no_login() {
    let mut plugin = plugin(r#"{"limits":[{"count":1,"by":["address"],"only":"logins"}]}"#);
    assert_eq!(through(&mut plugin, &request(Action::Read, "cam1")), 10);
    let named = Request {
        user: Some("ada".into()),
        ..request(Action::Read, "cam1")
    };
    assert_eq!(through(&mut plugin, &named), 1);
    let token = Request {
        token: Some("abc".into()),
        ..request(Action::Read, "cam1")
    };
    assert_eq!(plugin.check(token), too_many());
}

#[test]
fn it_is_told_once_and_counted_each_time() {
    let mut plugin = plugin(r#"{"limits":[{"count":2,"by":["address"]}]}"#);
    through(&mut plugin, &from("192.0.2.1", "cam1"));
    let raised = take_raised();
    let [(kind, what)] = raised.as_slice() else {
        panic!("{raised:?}")
    };
    assert_eq!(
        (kind.as_str(), &what["address"], &what["seconds"]),
        ("rate-limited", &json!("192.0.2.1"), &json!(60))
    );
    assert_eq!(metrics().counters["denied"], 8);
}

#[test]
fn what_cannot_be_counted_does_not_come_in_unless_that_is_said() {
    withdraw(Grant::Kv);
    let config = r#"{"limits":[{"count":9,"by":["path"]}],"whenFull":"#;
    assert_eq!(
        plugin(&format!(r#"{config}"deny"}}"#)).check(request(Action::Read, "cam1")),
        Denial::Later.into()
    );
    assert_eq!(
        plugin(&format!(r#"{config}"pass"}}"#)).check(request(Action::Read, "cam1")),
        Decision::Abstain
    );
    assert_eq!(metrics().counters["uncounted"], 2);
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
    for (config, pointer) in [
        ("{}", ""),
        (r#"{"limits":[{"count":1}]}"#, "/limits/0"),
        (r#"{"limits":[{"count":1,"by":[]}]}"#, "/limits/0/by"),
        (r#"{"limits":[{"count":1,"by":["name"]}]}"#, "/limits/0/by/0"),
        (r#"{"limits":[{"count":-1,"by":["path"]}]}"#, "/limits/0/count"),
        (
            r#"{"limits":[{"count":1,"by":["path"],"seconds":0}]}"#,
            "/limits/0/seconds",
        ),
        (
            r#"{"limits":[{"count":1,"by":["path"],"seconds":604801}]}"#,
            "/limits/0/seconds",
        ),
        (
            r#"{"limits":[{"count":1,"by":["path"],"actions":[]}]}"#,
            "/limits/0/actions",
        ),
        (
            r#"{"limits":[{"count":1,"by":["path"],"paths":["~["]}]}"#,
            "/limits/0/paths/0",
        ),
        (r#"{"limits":[],"whenFull":"wait"}"#, "/whenFull"),
    ] {
        match configure::<RateLimit>(config) {
            Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
            other => panic!("{config} was judged {:?}", other.err()),
        }
    }
}
