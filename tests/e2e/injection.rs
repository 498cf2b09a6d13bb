//! What a client says becomes neither an argument nor a command of the operator's hooks.

use crate::harness::{Folder, Publisher, Server, made_up, until};

/// A command that keeps its arguments, one a line, in a file that is there when it is whole.
fn keep_arguments(arguments: &str) -> String {
    format!("sh -c 'printf \"%s\\n\" \"$@\" > kept.draft; mv kept.draft kept' keep {arguments}")
}

/// The arguments that a command kept.
fn kept(server: &Server) -> Vec<String> {
    let kept = until("the command ran", || {
        Some(server.folder().read("kept")).filter(|kept| !kept.is_empty())
    });
    kept.lines().map(str::to_owned).collect()
}

#[test]
fn a_query_stays_one_argument_and_no_option() {
    let command = keep_arguments("first $MTX_QUERY last");
    let server = Server::start(&format!("paths:\n  cam1:\n    runOnAvailable: {command}\n"));
    let query = "-y%20x;touch+evil&a=$(touch%20evil)'\"`touch%20evil`|touch+evil";
    let mut publisher = Publisher::vp8(&server, &format!("cam1?{query}"));
    publisher.send_all(&made_up(1, 1, 100));
    let kept = kept(&server);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert_eq!((&*kept[0], &*kept[2]), ("first", "last"));
    let inert = |c: char| c.is_ascii_alphanumeric() || "%+-_.~".contains(c);
    assert!(kept[1].chars().all(inert) && !kept[1].starts_with('-'), "{}", kept[1]);
    assert!(!server.folder().file("evil").exists());
}

#[test]
fn a_name_that_would_be_an_option_runs_no_command() {
    let server = Server::start(&format!(
        "paths:\n  ~^in(.+)$:\n    runOnAvailable: {}\n",
        keep_arguments("$G1")
    ));
    let mut option = Publisher::vp8(&server, "in-evil");
    option.send_all(&made_up(1, 1, 100));
    server.logged(&["$G1", "would be taken for an option"]);
    assert_eq!(server.folder().read("kept"), "");
    // Others are not in the way of it.
    let mut harmless = Publisher::vp8(&server, "inner");
    harmless.send_all(&made_up(1, 1, 100));
    assert_eq!(kept(&server), ["ner"]);
}

#[test]
fn variables_of_the_server_reach_a_command_as_they_are() {
    let command = keep_arguments("$GREETING");
    let yaml = format!("paths:\n  cam1:\n    runOnInit: {command}\n");
    let server = Server::start_in(Folder::new(), &yaml, &[("GREETING", "good morning; touch evil")]);
    assert_eq!(kept(&server), ["good morning; touch evil"]);
    assert!(!server.folder().file("evil").exists());
}
