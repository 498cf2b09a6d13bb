//! Rust: cargo, with the standard library of rustup, or where there is none, that which Debian brings as source.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use serde_json::Value as Json;

use super::{component::Component, tool};
use crate::plugin_cli::project::Project;

const TARGET: &str = "wasm32-unknown-unknown";
/// Chooses between the two, as for `make plugins`: `rustup`, `debian` or `auto`.
const CHOICE: &str = "WASMTX_WASM_TOOLCHAIN";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "wasm-ld-19";

pub(super) fn build(project: &Project) -> anyhow::Result<Component> {
    let mut cargo = Toolchain::find()?.cargo(&project.directory);
    cargo.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "--message-format=json-render-diagnostics",
    ]);
    let messages = tool::output(&mut cargo)?;
    let module = module(&messages)?;
    let module = fs::read(&module).with_context(|| format!("cargo wrote no {}", module.display()))?;
    Component::from_module(&module, &project.contract()?)
}

/// The one module among the artifacts that cargo tells of.
fn module(messages: &str) -> anyhow::Result<PathBuf> {
    let artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let mut modules = artifacts
        .filter(|message| message["reason"] == "compiler-artifact")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().filter(|file| file.ends_with(".wasm")).map(PathBuf::from));
    match (modules.next(), modules.next()) {
        (Some(module), None) => Ok(module),
        (None, _) => bail!("cargo made no module; Cargo.toml needs: [lib] crate-type = [\"cdylib\"]"),
        (Some(_), Some(_)) => bail!("cargo made several modules; name the directory of one plugin"),
    }
}

/// A compiler that has, or can make, a standard library for plugins.
#[derive(Debug, PartialEq, Eq)]
enum Toolchain {
    /// The `cargo` on the path.
    Ready(PathBuf),
    /// Debian's; the standard library is compiled with the plugin.
    Debian,
}

impl Toolchain {
    fn find() -> anyhow::Result<Toolchain> {
        let choice = env::var(CHOICE).unwrap_or_else(|_| "auto".to_owned());
        if !["auto", "rustup", "debian"].contains(&choice.as_str()) {
            bail!("{CHOICE} is rustup, debian or auto, not {choice:?}");
        }
        if choice != "debian"
            && let Some(cargo) = tool::find(&["cargo"], &[])
            && let Some(rustc) = tool::find(&["rustc"], &[])
            && sysroot(&rustc).is_some_and(|root| root.join("lib/rustlib").join(TARGET).join("lib").is_dir())
        {
            return Ok(Toolchain::Ready(cargo));
        }
        let sources =
            || sysroot(Path::new(DEBIAN_RUSTC)).map(|root| root.join("lib/rustlib/src/rust/library/Cargo.lock"));
        if choice != "rustup"
            && Path::new(DEBIAN_CARGO).is_file()
            && tool::find(&[DEBIAN_LINKER], &[]).is_some()
            && sources().is_some_and(|file| file.is_file())
        {
            return Ok(Toolchain::Debian);
        }
        bail!(
            "there is no Rust compiler for {TARGET} here; install one: rustup target add {TARGET} (rustup itself: https://rustup.rs), \
             or on Debian: apt-get install -y cargo-web rustc-web rust-web-src lld-19"
        )
    }

    fn cargo(&self, directory: &Path) -> Command {
        let mut command = match self {
            Toolchain::Ready(cargo) => tool::command(cargo, directory),
            Toolchain::Debian => {
                let mut command = tool::command(Path::new(DEBIAN_CARGO), directory);
                let path = env::var_os("PATH").unwrap_or_default();
                let path = env::join_paths([PathBuf::from("/usr/bin")].into_iter().chain(env::split_paths(&path)));
                command
                    .args(["-Z", "build-std=std,panic_abort"])
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
                if let Ok(path) = path {
                    command.env("PATH", path);
                }
                command
            }
        };
        // Those of whoever calls us are for another target. The names of files in panics say nothing of this machine.
        for name in [
            "RUSTC",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "RUSTC_WRAPPER",
        ] {
            command.env_remove(name);
        }
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        if let Some(home) = home {
            command.env("RUSTFLAGS", format!("--remap-path-prefix={}=/cargo", home.display()));
        }
        command
    }
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let root = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(root.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_what_cargo_says() {
        let line = |file: &str| format!(r#"{{"reason":"compiler-artifact","filenames":["/a/{file}","/a/liba.rlib"]}}"#);
        let other = r#"{"reason":"build-finished","success":true}"#;
        let one = format!("{}\nnot json\n{other}\n{}", line("b.rmeta"), line("door.wasm"));
        assert_eq!(module(&one).unwrap(), PathBuf::from("/a/door.wasm"));
        assert!(module(other).unwrap_err().to_string().contains("cdylib"));
        assert!(module("").is_err());
        let two = format!("{}\n{}", line("a.wasm"), line("b.wasm"));
        assert!(module(&two).unwrap_err().to_string().contains("several"));
    }
}
