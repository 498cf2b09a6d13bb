//! The compile child, as this very program is it: what it compiles, and what becomes of what it cannot.

use std::{
    fs,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use wasmtx_sandbox::{Compiling, Error, Limits, PluginSpec, Registry, Services, Source, Use};

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmtx-compile-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Directory(directory)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.join(name);
        fs::write(&file, bytes).unwrap();
        file
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn in_a_child() -> Services {
    let mut services = Services::default();
    services.compiling = Compiling::Child(env!("CARGO_BIN_EXE_wasmtx").into());
    services
}

fn guest(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/plugins")
        .join(name)
        .with_extension("wasm");
    assert!(file.is_file(), "the guest {name} is not built: run `make plugins`");
    file
}

fn plugin(name: &str) -> PluginSpec {
    PluginSpec::new(name, Source::File(guest(name)))
}

/// Small, and within the bounds of the admission check: one function of a thousand variables and eight thousand branches,
/// each of which the compiler has to look at for all of them.
fn bomb() -> Vec<u8> {
    let variables = "i32 ".repeat(1_000);
    let branch = |n: usize| {
        let variable = 1 + n * 7 % 1_000;
        format!(
            "(block (br_if 0 (local.get 0))
                (local.set {variable} (i32.add (local.get {variable}) (i32.const 1))))"
        )
    };
    let branches: String = (0..8_000).map(branch).collect();
    wat::parse_str(format!(
        "(component (core module (func (param i32) (local {variables}) {branches})))"
    ))
    .unwrap()
}

fn refusal(component: &[u8], limits: Limits) -> String {
    let directory = Directory::new();
    let mut spec = PluginSpec::new("bomb", Source::File(directory.write("bomb.wasm", component)));
    spec.limits = limits;
    let mut errors = Registry::new(None, in_a_child(), vec![spec]).err().expect("a bomb");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors.remove(0);
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    let words = error.to_string();
    assert_eq!(words.lines().count(), 1, "{words}");
    words
}

#[test]
fn what_the_child_compiles_runs_here() {
    let directory = Directory::new();
    let specs = || vec![plugin("pass"), plugin("token-auth")];
    let registry = Registry::new(Some(&directory.0), in_a_child(), specs()).unwrap();
    let used = Use {
        plugin: "pass".into(),
        ..Use::default()
    };
    assert!(registry.chains(&[used]).unwrap().filters.is_some());
    assert_eq!(fs::read_dir(directory.0.join("compiled")).unwrap().count(), 2);

    let mut no_compiler = Services::default();
    no_compiler.compiling = Compiling::Child("/no/such/program".into());
    assert!(
        Registry::new(Some(&directory.0), no_compiler, specs()).is_ok(),
        "what the child made is in the cache"
    );
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_refused_by_name_of_the_bound() {
    let mut limits = Limits::default();
    limits.compile = Duration::from_secs(1);
    let words = refusal(&bomb(), limits);
    assert!(words.contains("more than 1 s of processor time"), "{words}");
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_is_refused_by_name_of_the_bound() {
    let mut limits = Limits::default();
    limits.compile_memory = 64 << 20;
    let words = refusal(&bomb(), limits);
    assert!(words.contains("more than 64 MiB of memory"), "{words}");
}

#[test]
fn after_a_bomb_the_next_component_is_compiled() {
    let directory = Directory::new();
    let mut bomb = PluginSpec::new("bomb", Source::File(directory.write("bomb.wasm", &bomb())));
    bomb.limits.compile_memory = 64 << 20;
    let registry = Registry::new(None, in_a_child(), Vec::new()).unwrap();
    let errors = registry.apply(vec![bomb, plugin("pass")]).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(registry.status().len(), 1);
}

#[test]
fn the_compilers_own_words_come_back() {
    let invalid = wat::parse_str("(component (core module (func (result i32))))").unwrap();
    let words = refusal(&invalid, Limits::default());
    assert!(words.contains("type mismatch"), "{words}");
}

#[test]
fn the_child_gives_up_what_it_does_not_need_and_ends_with_the_server() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut child = process::Command::new(env!("CARGO_BIN_EXE_wasmtx"))
        .arg(wasmtx_sandbox::COMPILE_ARGUMENT)
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    // A request for nothing: seconds, memory, length. Whatever the answer is, it works by now.
    ours.write_all(&30u32.to_le_bytes()).unwrap();
    ours.write_all(&(1u64 << 30).to_le_bytes()).unwrap();
    ours.write_all(&0u32.to_le_bytes()).unwrap();
    let mut head = [0; 5];
    ours.read_exact(&mut head).unwrap();
    let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    io::copy(&mut (&ours).take(len.into()), &mut io::sink()).unwrap();

    let about = |file: &str| {
        let text = fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>()
    };
    let limits = about("limits");
    for limit in [
        "Max open files 0 0",
        "Max processes 0 0",
        "Max core file size 0 0",
        "Max data size 1073741824",
    ] {
        assert!(limits.iter().any(|line| line.starts_with(limit)), "{limit}: {limits:?}");
    }
    let status = about("status");
    for line in [
        "NoNewPrivs: 1",
        "CapEff: 0000000000000000",
        "CapPrm: 0000000000000000",
        "Threads: 1",
    ] {
        assert!(status.iter().any(|found| found == line), "{line}: {status:?}");
    }
    drop(ours);
    assert!(child.wait().unwrap().success(), "nobody is there any more");
}

#[test]
fn a_child_that_cannot_work_says_so() {
    // Its standard input is no socket.
    let output = process::Command::new(env!("CARGO_BIN_EXE_wasmtx"))
        .arg(wasmtx_sandbox::COMPILE_ARGUMENT)
        .stdin(process::Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}
