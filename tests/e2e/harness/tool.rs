//! A program that plays a part in a test: started, watched, and ended by its own id.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Folder, until};

/// A running program. Ended when dropped; what it said is shown when the test failed.
pub(crate) struct Tool {
    name: String,
    child: Child,
    folder: Folder,
}

/// What it said, on standard output and error, ends up here.
const SAID: &str = "said";

impl Tool {
    /// Starts a program in a folder of its own.
    pub(crate) fn start<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Tool {
        let folder = Folder::new();
        let said = File::create(folder.file(SAID)).expect("a file for what a tool says");
        let output = said.try_clone().expect("a second handle");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(output).stderr(said);
        let name = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| missing(program, &error));
        Tool { name, child, folder }
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until(&self.name, || child.try_wait().expect("a child of ours"))
    }

    /// Ends it here and now.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may be gone already.
        let _ = kill_process(id.expect("a process id"), signal);
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        self.folder.read(SAID)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.name, self.said());
        }
    }
}

/// Runs a program to its end and answers its standard output.
#[track_caller]
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| missing(program, &error));
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}\n{status}\n{said}");
    stdout
}

fn missing(program: &str, error: &io::Error) -> ! {
    let line = match program {
        "ffmpeg" | "ffprobe" => "apt-get install -y ffmpeg",
        "openssl" => "apt-get install -y openssl",
        "docker-registry" => "apt-get install -y docker-registry",
        "rtmpdump" => "apt-get install -y rtmpdump",
        "chromium" => "apt-get install -y chromium",
        _ => {
            "apt-get install -y gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp"
        }
    };
    panic!("{program} does not start ({error}); `scripts/setup test` installs it, or: {line}")
}
