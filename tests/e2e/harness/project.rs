//! A plugin's sources in a folder of a test: made, changed, built and tested by the commands that people type.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::{Folder, server::binary};

/// What `scripts/setup test` installs, in the folder of what is built.
fn tools() -> PathBuf {
    let root = root().join("target/languages");
    for file in ["js/node_modules/.bin/componentize-qjs", "python/bin/componentize-py"] {
        let file = root.join(file);
        assert!(file.exists(), "{} is missing; run: scripts/setup test", file.display());
    }
    root
}

/// The root of the sources.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the root of the sources")
}

/// A project. Gone with its folder.
pub(crate) struct Project {
    directory: PathBuf,
    language: &'static str,
    _folder: Folder,
}

impl Project {
    /// Begins one with `wasmtx plugin new`.
    #[track_caller]
    pub(crate) fn new(language: &'static str, kind: &str) -> Project {
        let folder = Folder::new();
        let arguments = ["plugin", "new", "fresh", "--lang", language, "--kind", kind];
        run(Command::new(binary()).args(arguments).current_dir(folder.path()));
        Project::prepared(folder, "fresh", language)
    }

    /// An example, copied: what is built leaves the sources alone.
    #[track_caller]
    pub(crate) fn example(name: &str, language: &'static str) -> Project {
        let folder = Folder::new();
        copy(&root().join("examples").join(name), &folder.file(name));
        Project::prepared(folder, name, language)
    }

    /// Puts the tools where `npm install` and `pip install` would put them.
    fn prepared(folder: Folder, name: &str, language: &'static str) -> Project {
        let directory = folder.file(name);
        let link = match language {
            "js" => Some(("js/node_modules", "node_modules")),
            "python" => Some(("python", ".venv")),
            _ => None,
        };
        if let Some((tool, place)) = link {
            symlink(tools().join(tool), directory.join(place)).expect("a link in a folder of the test");
        }
        Project {
            directory,
            language,
            _folder: folder,
        }
    }

    /// Changes a file; `from` has to be in it.
    #[track_caller]
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        let file = self.directory.join(file);
        let text = fs::read_to_string(&file).expect("a file of the project");
        assert!(text.contains(from), "{from:?} is not in {}", file.display());
        fs::write(file, text.replacen(from, to, 1)).expect("a file of the project");
    }

    /// Builds it with `wasmtx plugin build`. Answers the component.
    #[track_caller]
    pub(crate) fn build(&self) -> Vec<u8> {
        self.run(&[&binary().display().to_string(), "plugin", "build", "-o", "made.wasm"]);
        fs::read(self.directory.join("made.wasm")).expect("a component")
    }

    /// Its own test, as its README has it. Answers what it said.
    #[track_caller]
    pub(crate) fn test(&self) -> String {
        self.run(match self.language {
            "rust" => &["cargo", "test", "--quiet"],
            "js" => &["npm", "test", "--silent"],
            "python" => &["python3", "-m", "unittest"],
            "c" => &["make", "--silent", "test"],
            "go" => &["go", "test", "./plugin"],
            other => panic!("no tests in {other}"),
        })
    }

    /// Runs a command in it that has to succeed. Answers what it said.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.directory);
        // Dependencies are compiled once for all tests; Go is the newer one, if there are two.
        let shared = root().join("target/languages");
        command.env("CARGO_TARGET_DIR", shared.join("rust"));
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([shared.join("go/bin")].into_iter().chain(env::split_paths(&path)));
        command.env("PATH", path.expect("a PATH"));
        run(&mut command)
    }
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| {
        panic!("{command:?} does not start ({error}); `scripts/setup test` installs what the tests need")
    });
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    assert!(status.success(), "{command:?}\n{status}\n{said}");
    said
}

/// The files of a directory, without what was built or installed in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder of the test");
    for entry in fs::read_dir(from).expect("a directory of the sources").flatten() {
        let name = entry.file_name();
        let made = ["build", "bindings", "node_modules", ".venv", "__pycache__"];
        if made.iter().any(|made| name == *made) {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).expect("a file of the sources");
        }
    }
}
