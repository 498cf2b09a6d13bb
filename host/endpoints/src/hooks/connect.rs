//! `runOnConnect` and `runOnDisconnect`: commands that go with a connection, whatever protocol it speaks.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use arc_swap::ArcSwap;
use uuid::Uuid;

use super::{Limits, Pair, Runner, Running, Variables};

/// The commands of connections, shared by every listener. Cheap to clone; by default there are none.
#[derive(Clone, Debug)]
pub struct OnConnect(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runner: Runner,
    commands: ArcSwap<Pair>,
    rtsp_port: AtomicU16,
}

impl Default for OnConnect {
    fn default() -> OnConnect {
        OnConnect::new(Runner::new(Limits::default()), Pair::default())
    }
}

impl OnConnect {
    /// With the commands of the configuration.
    pub fn new(runner: Runner, commands: Pair) -> OnConnect {
        OnConnect(Arc::new(Shared {
            runner,
            commands: ArcSwap::from_pointee(commands),
            rtsp_port: AtomicU16::new(0),
        }))
    }

    /// Puts other commands in force, for connections that come from now on.
    pub fn configure(&self, commands: Pair) {
        self.0.commands.store(Arc::new(commands));
    }

    /// The port of the RTSP server, once it is bound: commands are told it.
    pub(crate) fn set_rtsp_port(&self, port: u16) {
        self.0.rtsp_port.store(port, Ordering::Relaxed);
    }

    /// A connection is there, of a type of the API (`rtspConn`, `rtmpsConn`, …). Its end is when the guard is dropped.
    pub fn greet(&self, kind: &'static str, id: Uuid) -> Visit {
        let commands = self.0.commands.load_full();
        if !commands.during.is_some() && !commands.after.is_some() {
            return Visit(None);
        }
        let variables = Variables::default()
            .with("MTX_CONN_TYPE", kind)
            .with("MTX_CONN_ID", id.to_string())
            .with("RTSP_PORT", self.0.rtsp_port.load(Ordering::Relaxed).to_string());
        let runner = &self.0.runner;
        let running = (commands.during.is_some()).then(|| runner.start("runOnConnect", &commands.during, &variables));
        Visit(Some(Commands {
            runner: runner.clone(),
            commands,
            variables,
            running,
        }))
    }
}

/// A connection with its commands. Dropping it ends `runOnConnect` and runs `runOnDisconnect`.
#[derive(Debug)]
pub struct Visit(Option<Commands>);

#[derive(Debug)]
struct Commands {
    runner: Runner,
    /// Those that were in force when the connection came: its two commands belong together.
    commands: Arc<Pair>,
    variables: Variables,
    running: Option<Running>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Some(Commands {
            runner,
            commands,
            variables,
            running,
        }) = self.0.take()
        else {
            return;
        };
        drop(running);
        if commands.after.is_some() {
            runner.fire("runOnDisconnect", &commands.after, &variables);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Hook, tests::Directory},
        *,
    };

    fn commands(during: String, after: String) -> Pair {
        let hook = |command| Hook {
            command,
            restart: false,
        };
        Pair {
            during: hook(during),
            after: hook(after),
        }
    }

    #[tokio::test]
    async fn a_connection_runs_one_command_while_it_is_there_and_one_when_it_is_gone() {
        let dir = Directory::new();
        let during = dir.script(
            r#"trap 'echo "over $MTX_CONN_ID" >> "$OUT"; exit' INT
echo "came $MTX_CONN_TYPE $MTX_CONN_ID $RTSP_PORT" >> "$OUT"
while :; do sleep 0.01; done"#,
        );
        let after = dir.script(r#"echo "went $MTX_CONN_TYPE $MTX_CONN_ID $RTSP_PORT" >> "$OUT""#);
        let on_connect = OnConnect::new(Runner::new(Limits::default()), commands(during, after));
        on_connect.set_rtsp_port(8554);
        let id = Uuid::from_u128(7);
        let visit = on_connect.greet("rtmpConn", id);
        dir.wait_for(&format!("came rtmpConn {id} 8554\n")).await;
        assert!(!dir.out().contains("went"));
        // Those who are there keep what they came with.
        on_connect.configure(Pair::default());
        drop(visit);
        dir.wait_for(&format!("went rtmpConn {id} 8554\n")).await;
        dir.wait_for(&format!("over {id}\n")).await;
    }

    #[tokio::test]
    async fn without_commands_nothing_runs_and_new_ones_count_for_who_comes_next() {
        let dir = Directory::new();
        let on_connect = OnConnect::default();
        let before = on_connect.greet("rtspConn", Uuid::from_u128(1));
        let after = dir.script(r#"echo "went $MTX_CONN_ID" >> "$OUT""#);
        on_connect.configure(commands(String::new(), after));
        drop(before);
        let id = Uuid::from_u128(2);
        drop(on_connect.greet("rtspConn", id));
        dir.wait_for(&format!("went {id}\n")).await;
        assert_eq!(dir.out(), format!("went {id}\n"));
    }
}
