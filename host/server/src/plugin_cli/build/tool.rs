//! Other people's programs: where they are, what they say, and what to type when they are missing.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// The first of these programs that is there: in one of these directories, or else on the `PATH`.
pub(super) fn find(names: &[&str], directories: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = directories.iter().cloned().chain(env::split_paths(&path)).collect();
    let candidates = names
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)));
    candidates.into_iter().find(|file| file.is_file())
}

/// As [`find`]; without it, what is missing and how to get it.
pub(super) fn require(names: &[&str], directories: &[PathBuf], why: &str, install: &str) -> anyhow::Result<PathBuf> {
    find(names, directories).with_context(|| format!("{} is missing, which {why}; install it: {install}", names[0]))
}

/// A command that starts in `directory` and reads nothing.
pub(super) fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    command
}

/// Runs it to its end. Its progress is nobody's here; what it warns of is.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    output(command).map(drop)
}

/// Runs it to its end and answers what it wrote to standard output.
pub(super) fn output(command: &mut Command) -> anyhow::Result<String> {
    command.stderr(Stdio::inherit());
    let name = name(command);
    let output = command.output().with_context(|| format!("{name} does not start"))?;
    if !output.status.success() {
        // Some tools say there what is wrong.
        let _ = io::stderr().write_all(&output.stdout);
        bail!(
            "{name} found something wrong ({}), see above; nothing was written",
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program
        .file_name()
        .map_or_else(String::new, |name| OsStr::to_string_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_of_the_project_comes_before_that_of_the_system() {
        let folder = tempfile();
        std::fs::write(folder.join("sh"), "").unwrap();
        assert_eq!(find(&["sh"], std::slice::from_ref(&folder)), Some(folder.join("sh")));
        assert!(find(&["nobody-has-this", "sh"], &[]).is_some_and(|file| file.ends_with("sh")));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_missing_is_named_with_the_line_that_installs_it() {
        let error = require(&["nobody-has-this"], &[], "brews coffee", "apt-get install -y coffee").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("nobody-has-this is missing, which brews coffee"),
            "{text}"
        );
        assert!(text.contains("apt-get install -y coffee"), "{text}");
    }

    #[test]
    fn a_tool_that_fails_fails_the_build_by_name() {
        let shell = find(&["sh"], &[]).unwrap();
        let error = run(command(&shell, Path::new("/")).args(["-c", "exit 3"])).unwrap_err();
        assert!(error.to_string().starts_with("sh found something wrong"), "{error}");
        assert_eq!(
            output(command(&shell, Path::new("/")).args(["-c", "echo hi"])).unwrap(),
            "hi\n"
        );
        assert!(output(command(&shell, Path::new("/")).args(["-c", "exit 1"])).is_err());
    }

    fn tempfile() -> PathBuf {
        let folder = env::temp_dir().join(format!("wasmtx-tool-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
