use super::*;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmtx_plugin::testing::{configure, request, set_clock, take_log};

const SECRET: &str = "correct horse battery staple";
const NOW: u64 = 1_764_000_000;

fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{text}.{signature}")
}

fn plugin(more: &str) -> TokenAuth {
    set_clock(Duration::from_secs(NOW));
    configure(&format!(r#"{{"secrets":["{SECRET}"]{more}}}"#)).unwrap()
}

fn ask(plugin: &mut TokenAuth, action: Action, path: &str, query: &str) -> Decision {
    let mut request = request(action, path);
    request.client.query = query.into();
    plugin.check(request)
}

fn read(text: &str) -> Decision {
    ask(&mut plugin(""), Action::Read, "cam1", &format!("user=x&token={text}&z"))
}

#[test]
fn a_token_lets_its_bearer_in_until_it_expires() {
    assert_eq!(
        read(&sign(SECRET, "1764000060.read.cam1")),
        Permit::default().lasts(Duration::from_secs(60)).into()
    );
}

#[test]
fn a_token_is_good_for_its_path_and_action_only() {
    assert_eq!(read(&sign(SECRET, "1764000060.read.cam2")), Denial::NotAllowed.into());
    assert_eq!(
        read(&sign(SECRET, "1764000060.publish.cam1")),
        Denial::NotAllowed.into()
    );
    assert!(matches!(
        read(&sign(SECRET, "1764000060.read.cam*")),
        Decision::Allow(_)
    ));
    assert!(matches!(read(&sign(SECRET, "1764000060.read.*")), Decision::Allow(_)));
    let playback = ask(
        &mut plugin(""),
        Action::Playback,
        "a/b",
        &sign(SECRET, "1764000060.playback.a/*").replace("17", "token=17"),
    );
    assert!(matches!(playback, Decision::Allow(_)), "{playback:?}");
}

#[test]
fn an_expired_or_forged_token_is_refused_and_said_so() {
    take_log();
    assert_eq!(read(&sign(SECRET, "1763999999.read.cam1")), Denial::Credentials.into());
    assert_eq!(
        read(&sign("another secret, long", "1764000060.read.cam1")),
        Denial::Credentials.into()
    );
    assert_eq!(read("***"), Denial::Credentials.into());
    let lines: Vec<_> = take_log().into_iter().map(|(_, line)| line).collect();
    for (line, reason) in lines
        .iter()
        .zip(["has expired", "none of the secrets", "grant: { credentials: yes }"])
    {
        assert!(
            line.starts_with("token from 192.0.2.7 for 'cam1' refused: ") && line.contains(reason),
            "{line}"
        );
    }
    assert_eq!(lines.len(), 3);
}

#[test]
fn leeway_is_given_to_clocks_that_differ() {
    let query = format!("token={}", sign(SECRET, "1763999990.read.cam1"));
    let decision = ask(&mut plugin(r#","leeway":15"#), Action::Read, "cam1", &query);
    assert_eq!(decision, Permit::default().lasts(Duration::from_secs(5)).into());
}

#[test]
fn without_a_token_others_decide_unless_one_is_required() {
    assert_eq!(
        ask(&mut plugin(""), Action::Read, "cam1", "tokens=1"),
        Decision::Abstain
    );
    assert_eq!(
        ask(&mut plugin(r#","required":true"#), Action::Read, "cam1", ""),
        Denial::Credentials.into()
    );
    assert_eq!(
        ask(&mut plugin(r#","required":true"#), Action::Api, "", ""),
        Decision::Abstain
    );
}

#[test]
fn a_bearer_token_serves_as_well_and_the_parameter_may_be_renamed() {
    let token = sign(SECRET, "1764000060.publish.cam1");
    let mut bearer = request(Action::Publish, "cam1");
    bearer.token = Some(token.clone());
    assert!(matches!(plugin("").check(bearer), Decision::Allow(_)));
    let decision = ask(
        &mut plugin(r#","parameter":"key""#),
        Action::Publish,
        "cam1",
        &format!("key={token}"),
    );
    assert!(matches!(decision, Decision::Allow(_)));
}

#[test]
fn secrets_follow_one_another() {
    let mut both = configure::<TokenAuth>(&format!(r#"{{"secrets":["the old one, still good","{SECRET}"]}}"#)).unwrap();
    set_clock(Duration::from_secs(NOW));
    for secret in [SECRET, "the old one, still good"] {
        let query = format!("token={}", sign(secret, "1764000060.read.cam1"));
        assert!(matches!(
            ask(&mut both, Action::Read, "cam1", &query),
            Decision::Allow(_)
        ));
    }
}

#[test]
fn escapes_of_the_query_are_undone() {
    let escaped = sign(SECRET, "1764000060.read.cam*")
        .replace('*', "%2a")
        .replace('.', "%2E");
    assert!(matches!(read(&escaped), Decision::Allow(_)));
    for broken in ["%", "%2", "%zz", "%ff%fe", "%%%"] {
        assert_eq!(read(broken), Denial::Credentials.into(), "{broken}");
    }
}

#[test]
fn a_configuration_that_protects_nothing_is_refused() {
    let check = |json: &str, pointer: &str| match configure::<TokenAuth>(json) {
        Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{json}"),
        Err(other) => panic!("{json}: {other:?}"),
        Ok(_) => panic!("{json} was taken"),
    };
    check("{}", "");
    check(r#"{"secrets":[]}"#, "/secrets");
    check(r#"{"secrets":["long enough, I hope","short"]}"#, "/secrets/1");
    check(r#"{"secrets":["long enough, I hope"],"parameter":""}"#, "/parameter");
    check(r#"{"secrets":["long enough, I hope"],"leeway":-1}"#, "/leeway");
    check(r#"{"secret":"long enough, I hope"}"#, "/secret");
}
