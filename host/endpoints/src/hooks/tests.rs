//! Real processes: small shell scripts that write what they see into a file.

use std::path::PathBuf;

use super::*;

/// A directory that is gone after the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("wasmtx-hooks-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    /// A command that runs `body` with `$OUT` naming the file to write.
    pub(crate) fn script(&self, body: &str) -> String {
        let script = self.0.join(format!("{}.sh", uuid::Uuid::new_v4()));
        let out = self.0.join("out");
        std::fs::write(&script, format!("#!/bin/sh\nOUT='{}'\n{body}\n", out.display())).unwrap();
        // Run by name and not by itself: another test's fork may hold the file open for writing.
        format!("sh '{}'", script.display())
    }

    pub(crate) fn out(&self) -> String {
        std::fs::read_to_string(self.0.join("out")).unwrap_or_default()
    }

    /// Waits until the script has written `text`.
    pub(crate) async fn wait_for(&self, text: &str) {
        while !self.out().contains(text) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn runner() -> Runner {
    Runner::new(Limits {
        restart_pause: Duration::from_millis(5),
        ..Limits::default()
    })
}

fn hook(command: String) -> Hook {
    Hook {
        command,
        restart: false,
    }
}

fn variables() -> Variables {
    Variables::default()
        .with("MTX_PATH", "cam/1")
        .with("G1", "1")
        .with("RTSP_PORT", "8554")
}

#[tokio::test]
async fn a_command_sees_its_variables_and_the_servers_environment() {
    let dir = Directory::new();
    let command = dir.script(r#"env > "$OUT""#);
    runner()
        .start("test", &hook(command), &variables().with_query("a=1&b=c d"))
        .ended()
        .await;
    let env = dir.out();
    for line in ["MTX_PATH=cam/1", "G1=1", "RTSP_PORT=8554", "MTX_QUERY=a%3D1%26b%3Dc+d"] {
        assert!(env.lines().any(|seen| seen == line), "{line} in {env}");
    }
    assert!(env.lines().any(|seen| seen.starts_with("PATH=")), "{env}");
}

#[tokio::test]
async fn no_value_adds_an_argument_or_runs_anything() {
    let dir = Directory::new();
    let command = dir.script(r#"for argument; do printf '<%s>' "$argument" >> "$OUT"; done"#);
    let variables = variables()
        .with("G1", "x; touch y $(z) 'a' \"b\" *")
        .with_query("a b;$(reboot)`x`\"'\\");
    runner()
        .start(
            "test",
            &hook(format!("{command} $G1 pre${{G1}} $MTX_QUERY '$MTX_PATH' ''")),
            &variables,
        )
        .ended()
        .await;
    assert_eq!(
        dir.out(),
        "<x; touch y $(z) 'a' \"b\" *><prex; touch y $(z) 'a' \"b\" *><a+b%3B%24%28reboot%29%60x%60%22%27%5C><cam/1><>"
    );
}

#[tokio::test]
async fn a_command_ends_with_its_scope_by_sigint() {
    let dir = Directory::new();
    let command = dir
        .script(r#"trap 'echo interrupted >> "$OUT"; exit 0' INT; echo ready > "$OUT"; while :; do sleep 0.01; done"#);
    let runner = runner();
    let running = runner.start("test", &hook(command), &variables());
    dir.wait_for("ready").await;
    assert_eq!(runner.children(), 1);
    running.close().await;
    assert!(dir.out().contains("interrupted"));
    assert_eq!(runner.children(), 0);
}

#[tokio::test]
async fn a_command_that_ignores_sigint_is_killed_with_all_it_started() {
    let dir = Directory::new();
    let command =
        dir.script(r#"trap '' INT; sh -c 'trap "" INT; echo $$ > "$0"; sleep 1000' "$OUT" & wait; sleep 1000"#);
    let runner = Runner::new(Limits {
        grace: Duration::from_millis(50),
        ..Limits::default()
    });
    let running = runner.start("test", &hook(command), &variables());
    dir.wait_for("\n").await;
    running.close().await;
    assert_eq!(runner.children(), 0);
    let descendant = Pid::from_raw(dir.out().trim().parse().unwrap()).unwrap();
    while is_running(descendant) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process lives; one that is dead and not yet reaped by its parent does not.
fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, state)| !state.trim_start().starts_with(['Z', 'X']))
}

#[tokio::test]
async fn what_a_stopped_command_leaves_behind_is_killed() {
    let dir = Directory::new();
    let command = dir.script(r#"sh -c 'trap "" INT; echo $$ > "$0"; sleep 1000' "$OUT" & wait"#);
    let runner = Runner::new(Limits {
        grace: Duration::from_millis(200),
        ..Limits::default()
    });
    let running = runner.start("test", &hook(command), &variables());
    dir.wait_for("\n").await;
    running.close().await;
    let descendant = Pid::from_raw(dir.out().trim().parse().unwrap()).unwrap();
    while is_running(descendant) {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_command_is_started_again_only_when_asked() {
    let dir = Directory::new();
    let command = dir.script(r#"echo run >> "$OUT"; exit 3"#);
    let runner = runner();
    runner.start("test", &hook(command.clone()), &variables()).ended().await;
    assert_eq!(dir.out(), "run\n");
    let running = runner.start("test", &Hook { command, restart: true }, &variables());
    dir.wait_for("run\nrun\nrun\nrun\n").await;
    running.close().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_over_at_once() {
    for command in ["/nonexistent/program", "'unfinished", "", "echo $G1"] {
        let runner = runner();
        runner
            .start("test", &hook(command.into()), &variables().with("G1", "-n"))
            .ended()
            .await;
        assert_eq!(runner.children(), 0, "{command}");
    }
}

#[tokio::test]
async fn no_more_commands_run_than_may() {
    let dir = Directory::new();
    let command = dir.script(r#"echo run >> "$OUT"; sleep 1000"#);
    let runner = Runner::new(Limits {
        commands: 1,
        ..Limits::default()
    });
    let first = runner.start("test", &hook(command.clone()), &variables());
    dir.wait_for("run").await;
    runner.start("test", &hook(command), &variables()).ended().await;
    assert_eq!(runner.children(), 1);
    first.close().await;
    assert_eq!(dir.out(), "run\n");
}

#[tokio::test]
async fn closing_the_runner_leaves_no_child() {
    let dir = Directory::new();
    let stubborn = dir.script(r#"trap '' INT; echo ready >> "$OUT"; while :; do sleep 0.01; done"#);
    let runner = runner();
    let _running = runner.start(
        "test",
        &Hook {
            command: stubborn.clone(),
            restart: true,
        },
        &variables(),
    );
    runner.fire("test", &hook(stubborn), &variables());
    dir.wait_for("ready\nready\n").await;
    assert_eq!(runner.children(), 2);
    runner.close(Duration::from_millis(100)).await;
    assert_eq!(runner.children(), 0);
    runner
        .start("test", &hook("sleep 1000".into()), &variables())
        .ended()
        .await;
}

#[tokio::test]
async fn a_last_command_may_finish_while_the_runner_closes() {
    let dir = Directory::new();
    let command = dir.script(r#"sleep 0.02; echo done >> "$OUT""#);
    let runner = runner();
    runner.fire("test", &hook(command), &variables());
    runner.close(Duration::from_secs(60)).await;
    assert_eq!(dir.out(), "done\n");
}

#[tokio::test]
async fn a_flood_of_output_does_not_stop_a_command() {
    let dir = Directory::new();
    let command = dir.script(r#"yes | head -c 4000000; echo done > "$OUT""#);
    runner().start("test", &hook(command), &variables()).ended().await;
    assert_eq!(dir.out(), "done\n");
}

#[test]
fn a_query_becomes_one_harmless_value() {
    let check = |query: &str, expected| {
        assert_eq!(
            Variables::default().with_query(query).value("MTX_QUERY"),
            Some(expected)
        )
    };
    check("", "");
    check("-rf", "%2Drf");
    check("a=b&c=ü%20-~._*", "a%3Db%26c%3D%C3%BC%2520-~._%2A");
    check("x\n\0", "x%0A%00");
}
