//! External commands that mediamtx.yml names: `runOnInit`, `runOnDemand` and their kind.
//!
//! A command runs in the scope of something (a path, a publication, demand) and ends with it: its process group gets
//! SIGINT, five seconds later SIGKILL. There is no shell in between; see `hooks/line.rs` for how a command line
//! becomes arguments. A command can neither delay nor veto what it is told about.

mod connect;
mod line;
mod output;

use std::{process::Stdio, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    io::AsyncRead,
    process::{Child, Command},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};
use wasmtx_hub::PathName;

pub use connect::{OnConnect, Visit};
pub use line::InvalidLine;

/// A command of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// The command line as written. Empty: there is no hook.
    pub command: String,
    /// Start it again when it ends by itself.
    pub restart: bool,
}

impl Hook {
    /// Whether there is anything to run.
    pub fn is_some(&self) -> bool {
        !self.command.trim().is_empty()
    }

    /// Whether the command line can be split into words.
    ///
    /// # Errors
    /// [`InvalidLine`] says what is wrong with it.
    pub fn check(&self) -> Result<(), InvalidLine> {
        if self.is_some() {
            line::split(&self.command).map(drop)
        } else {
            Ok(())
        }
    }
}

/// A command that runs while something is so, and one that is run when it is no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Runs until the end.
    pub during: Hook,
    /// Runs afterwards.
    pub after: Hook,
}

/// What a command is told, in its environment and in the variables of its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    /// What every command of a path is told: its name, the port of RTSP, and what the groups of its entry's pattern matched.
    pub fn of_path(path: &PathName, groups: &[String], rtsp_port: u16) -> Variables {
        let variables = Variables::default()
            .with("MTX_PATH", path.as_str())
            .with("RTSP_PATH", path.as_str())
            .with("RTSP_PORT", rtsp_port.to_string());
        groups.iter().zip(1..).fold(variables, |variables, (group, number)| {
            variables.with(format!("G{number}"), group)
        })
    }

    /// With one more. A later value takes the place of an earlier one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Variables {
        let name = name.into();
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.into()));
        self
    }

    /// With `MTX_QUERY`: the query of a URL, percent-encoded as a whole so that no part of it means anything to a shell
    /// that the command may start.
    #[must_use]
    pub fn with_query(self, query: &str) -> Variables {
        self.with("MTX_QUERY", escape(query))
    }

    /// One value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// `application/x-www-form-urlencoded`, as MediaMTX gives the query to hooks. A leading dash is encoded too: it would
/// make the value an option.
fn escape(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    for (at, byte) in query.bytes().enumerate() {
        match byte {
            b'-' if at == 0 => out.push_str("%2D"),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What commands may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Commands at once; one more is not run, and the log says so.
    pub commands: usize,
    /// From SIGINT to SIGKILL.
    pub grace: Duration,
    /// Before a command that ended by itself is started again.
    pub restart_pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            commands: 1_024,
            grace: Duration::from_secs(5),
            restart_pause: Duration::from_secs(5),
        }
    }
}

/// Runs commands and knows every child. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    slots: Arc<Semaphore>,
    /// Set once, when the server stops.
    closing: watch::Sender<Option<Closing>>,
    /// Commands under supervision: running, being ended, or waiting to be started again.
    tasks: watch::Sender<usize>,
    /// Processes started and not yet reaped.
    children: watch::Sender<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Closing {
    /// When commands that nobody else ends get their SIGINT.
    interrupt: Instant,
    /// When everything left is killed.
    kill: Instant,
}

impl Runner {
    /// With no child yet.
    pub fn new(limits: Limits) -> Runner {
        Runner(Arc::new(Shared {
            slots: Arc::new(Semaphore::new(limits.commands.min(Semaphore::MAX_PERMITS))),
            limits,
            closing: watch::Sender::new(None),
            tasks: watch::Sender::new(0),
            children: watch::Sender::new(0),
        }))
    }

    /// Runs a command until the handle is dropped or closed. `name` is the key of the configuration, for the log.
    pub fn start(&self, name: &'static str, hook: &Hook, variables: &Variables) -> Running {
        let (owner, scope) = oneshot::channel();
        let (ended, over) = watch::channel(());
        let job = Job {
            name,
            hook: hook.clone(),
            variables: variables.clone(),
        };
        self.supervise(job, Some(scope), ended);
        Running { _owner: owner, over }
    }

    /// Runs a command that ends by itself, or with the server.
    pub fn fire(&self, name: &'static str, hook: &Hook, variables: &Variables) {
        let hook = Hook {
            restart: false,
            ..hook.clone()
        };
        self.supervise(
            Job {
                name,
                hook,
                variables: variables.clone(),
            },
            None,
            watch::channel(()).0,
        );
    }

    /// Processes started and not yet reaped.
    pub fn children(&self) -> usize {
        *self.0.children.borrow()
    }

    /// Ends every command within `budget` and waits until none is left: those with a scope at once, the others after
    /// half of the budget. Afterwards no command starts.
    pub async fn close(&self, budget: Duration) {
        let now = Instant::now();
        // A reserve for reaping what was killed.
        let (interrupt, kill) = (now + budget / 2, now + budget.mul_f32(0.9));
        self.0.closing.send_modify(|closing| {
            closing.get_or_insert(Closing { interrupt, kill });
        });
        // The sender lives in self: waiting cannot fail.
        let _ = self.0.tasks.subscribe().wait_for(|tasks| *tasks == 0).await;
    }

    fn supervise(&self, job: Job, owner: Option<oneshot::Receiver<()>>, ended: watch::Sender<()>) {
        // What is told at the end (`runOnUnavailable`) may still run, for a while.
        if self
            .0
            .closing
            .borrow()
            .is_some_and(|closing| owner.is_some() || closing.interrupt <= Instant::now())
        {
            return;
        }
        let counted = Counted::new(self.clone(), |shared| &shared.tasks);
        let scope = Scope {
            owner,
            closing: self.0.closing.subscribe(),
        };
        let runner = self.clone();
        tokio::spawn(async move {
            runner.run(&job, scope).await;
            drop(counted);
            drop(ended);
        });
    }

    /// Runs a command, again and again if it is to be restarted, until its scope ends.
    async fn run(&self, job: &Job, mut scope: Scope) {
        let mut said = None;
        loop {
            match self.run_once(job, &mut scope).await {
                Ok(Ended::ByItself) => said = None,
                Ok(Ended::ByUs) => return,
                Err(error) => {
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        warn!(hook = job.name, path = job.path(), %error, "command not run");
                        said = Some(error);
                    }
                }
            }
            if !job.hook.restart {
                return;
            }
            tokio::select! {
                () = scope.end() => return,
                () = sleep(self.0.limits.restart_pause) => {}
            }
        }
    }

    async fn run_once(&self, job: &Job, scope: &mut Scope) -> Result<Ended, StartError> {
        let slot = self
            .0
            .slots
            .clone()
            .try_acquire_owned()
            .map_err(|_| StartError::TooMany)?;
        let slot = Arc::new(slot);
        let mut child = job.spawn()?;
        let _counted = Counted::new(self.clone(), |shared| &shared.children);
        let pid = child.id();
        info!(hook = job.name, path = job.path(), pid, "command started");
        self.follow(job, child.stdout.take(), &slot);
        self.follow(job, child.stderr.take(), &slot);
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                if status.success() {
                    info!(hook = job.name, path = job.path(), pid, "command ended");
                } else {
                    warn!(hook = job.name, path = job.path(), pid, %status, "command failed");
                }
                Ok(Ended::ByItself)
            }
            () = scope.end() => {
                self.end(job, &mut child, scope).await?;
                Ok(Ended::ByUs)
            }
        }
    }

    /// Logs a command's output until it ends or the server does. A process that the command left in the background may
    /// keep the pipe: it holds the slot for as long.
    fn follow(
        &self,
        job: &Job,
        pipe: Option<impl AsyncRead + Send + Unpin + 'static>,
        slot: &Arc<OwnedSemaphorePermit>,
    ) {
        let Some(pipe) = pipe else { return };
        let (job, slot, mut closing) = (job.clone(), slot.clone(), self.0.closing.subscribe());
        tokio::spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = output::follow(pipe, |line| info!(hook = job.name, path = job.path(), "{line}")) => {}
                () = killing(&mut closing) => {}
            }
        });
    }

    /// SIGINT to the command's group, then SIGKILL to what is left of it.
    async fn end(&self, job: &Job, child: &mut Child, scope: &mut Scope) -> Result<(), StartError> {
        let Some(group) = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) else {
            return Ok(());
        };
        // Fails when the command has just ended by itself, which is what we want.
        let _ = kill_process_group(group, Signal::INT);
        let patience = sleep(self.0.limits.grace);
        tokio::pin!(patience);
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                debug!(hook = job.name, path = job.path(), %status, "command stopped");
            }
            () = out_of_patience(patience.as_mut(), &mut scope.closing) => {
                warn!(hook = job.name, path = job.path(), "command does not stop on SIGINT, killing it");
                let _ = kill_process_group(group, Signal::KILL);
                child.wait().await?;
                return Ok(());
            }
        }
        // The group's number stays taken for as long as the group has members.
        while test_kill_process_group(group).is_ok() {
            tokio::select! {
                () = sleep(POLL) => {}
                () = out_of_patience(patience.as_mut(), &mut scope.closing) => {
                    warn!(hook = job.name, path = job.path(), "killing what the command left behind");
                    let _ = kill_process_group(group, Signal::KILL);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// How often the rest of a process group is looked at: the system tells nobody of its end.
const POLL: Duration = Duration::from_millis(20);

/// Waits until everything is to be killed because the server stops.
async fn killing(closing: &mut watch::Receiver<Option<Closing>>) {
    match closing.wait_for(Option::is_some).await.map(|closing| *closing) {
        Ok(Some(closing)) => sleep_until(closing.kill).await,
        _ => std::future::pending().await,
    }
}

/// Waits for the end of the grace, or of the server's own.
async fn out_of_patience(
    grace: std::pin::Pin<&mut tokio::time::Sleep>,
    closing: &mut watch::Receiver<Option<Closing>>,
) {
    tokio::select! {
        () = grace => {}
        () = killing(closing) => {}
    }
}

/// A running command. Dropping it ends the command in the background.
#[derive(Debug)]
pub struct Running {
    /// Dropping it tells the supervisor.
    _owner: oneshot::Sender<()>,
    /// Closed when the command is over.
    over: watch::Receiver<()>,
}

impl Running {
    /// Ends the command and waits until its process is gone.
    pub async fn close(self) {
        let Running { _owner, mut over } = self;
        drop(_owner);
        while over.changed().await.is_ok() {}
    }

    /// Waits until the command is over for good: it ended by itself and is not to be restarted, or could not be run.
    pub async fn ended(&mut self) {
        while self.over.changed().await.is_ok() {}
    }
}

/// What ends a command.
struct Scope {
    /// Resolves when the handle is dropped; `None` for commands without one.
    owner: Option<oneshot::Receiver<()>>,
    closing: watch::Receiver<Option<Closing>>,
}

impl Scope {
    async fn end(&mut self) {
        let has_owner = self.owner.is_some();
        let closing = async {
            match self.closing.wait_for(Option::is_some).await.map(|closing| *closing) {
                Ok(Some(closing)) if !has_owner => sleep_until(closing.interrupt).await,
                Ok(Some(_)) => {}
                _ => std::future::pending().await,
            }
        };
        let owner = async {
            match &mut self.owner {
                Some(owner) => drop(owner.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = owner => {}
            () = closing => {}
        }
    }
}

/// Who ended a command.
enum Ended {
    ByItself,
    ByUs,
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Line(#[from] InvalidLine),
    #[error("as many commands are running as may")]
    TooMany,
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// One command to run.
#[derive(Clone, Debug)]
struct Job {
    name: &'static str,
    hook: Hook,
    variables: Variables,
}

impl Job {
    fn path(&self) -> &str {
        self.variables.value("MTX_PATH").unwrap_or_default()
    }

    fn spawn(&self) -> Result<Child, StartError> {
        let value = |name: &str| match self.variables.value(name) {
            Some(value) => Some(line::Value::Hook(value)),
            None => std::env::var(name).ok().map(line::Value::Environment),
        };
        let words: Result<Vec<String>, _> = line::split(&self.hook.command)?
            .iter()
            .map(|word| line::expand(word, value))
            .collect();
        let words = words?;
        let (program, arguments) = words.split_first().ok_or(InvalidLine::Empty)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(self.variables.0.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: a signal reaches what the command started, and Ctrl-C at the server's terminal does
            // not end it behind our back.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(child)
    }
}

/// One more in a counter for as long as it lives.
struct Counted {
    runner: Runner,
    counter: fn(&Shared) -> &watch::Sender<usize>,
}

impl Counted {
    fn new(runner: Runner, counter: fn(&Shared) -> &watch::Sender<usize>) -> Counted {
        counter(&runner.0).send_modify(|count| *count += 1);
        Counted { runner, counter }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.runner.0).send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
pub(crate) mod tests;
