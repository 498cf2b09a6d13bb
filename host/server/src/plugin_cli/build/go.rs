//! Go: its own compiler, for WASI; what the runtime asks of WASI is answered inside the component.
//!
//! The contract's functions are in `bindings/`, a package per interface. What the server calls are functions of the package
//! `plugin`, each behind a `defer` that logs a panic before it ends the instance.

use std::fs;

use anyhow::{Context, ensure};

use super::{
    bindings::{self, File},
    component::{Component, World},
    scratch, tool,
};
use crate::plugin_cli::project::Project;

const INSTALL: &str = "https://go.dev/doc/install";
/// Functions that the server may call, `//go:wasmexport`, came with this version.
const OLDEST: (u32, u32) = (1, 24);
const BINDINGS: &str = "bindings";
/// The generated files of wit-bindgen import their runtime from here; the plugin has its own in `bindings/`.
const REMOTE: &str = "go.bytecodealliance.org/pkg/wit/";
/// Written beside the generated files.
const SUPPORT: [(&str, &str); 2] = [
    ("types/types.go", include_str!("go/types.go")),
    ("runtime/runtime.go", include_str!("go/runtime.go")),
];

pub(super) fn build(project: &Project) -> anyhow::Result<Component> {
    let root = &project.directory;
    let go = tool::require(&["go"], &["/usr/local/go/bin".into()], "compiles Go", INSTALL)?;
    let said = tool::output(tool::command(&go, root).args(["env", "GOVERSION"]))?;
    ensure!(
        version(&said).is_some_and(|version| version >= OLDEST),
        "Go {}.{} or newer is needed and this is {}; install it: {INSTALL}",
        OLDEST.0,
        OLDEST.1,
        said.trim()
    );
    let text =
        fs::read_to_string(root.join("go.mod")).with_context(|| format!("{}/go.mod cannot be read", root.display()))?;
    let name = module_name(&text).context("go.mod does not say `module NAME`")?;

    let contract = project.contract()?;
    let world = World::new(&contract, &project.world(&contract)?)?;
    let options = wit_bindgen_go::Opts {
        pkg_name: Some(format!("{name}/{BINDINGS}")),
        export_pkg_name: Some(name.to_owned()),
        format: wit_bindgen_go::Format::False,
        ..Default::default()
    };
    let mut files: Vec<_> = bindings::generate(options.build(), &world)?
        .into_iter()
        .map(|file| adapt(file, name))
        .collect();
    files.extend(SUPPORT.map(|(file, text)| (file.to_owned(), text.as_bytes().to_vec())));
    bindings::write(&root.join(BINDINGS), &files)?;

    let module = scratch(project)?.join("module.wasm");
    tool::run(
        tool::command(&go, root)
            .env("GOOS", "wasip1")
            .env("GOARCH", "wasm")
            .args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o"])
            .args([module.as_os_str(), ".".as_ref()]),
    )?;
    let module = fs::read(&module).with_context(|| format!("go wrote no {}", module.display()))?;
    Component::from_untyped(module, &contract, &world)
}

/// Leads the imports of a generated file to what is there, and puts a guard behind each export.
fn adapt((file, bytes): File, module: &str) -> File {
    let Ok(text) = str::from_utf8(&bytes) else {
        return (file, bytes);
    };
    let mut adapted = String::with_capacity(text.len());
    for line in text.lines() {
        let trimmed = line.trim();
        let exported = trimmed
            .strip_prefix(&format!("\"{module}/export_"))
            .and_then(|rest| rest.strip_suffix('"'));
        match exported {
            // The functions of all interfaces are in one package, under the name that the calls use.
            Some(interface) => adapted.push_str(&format!("export_{interface} \"{module}/plugin\"")),
            None => adapted.push_str(&line.replace(REMOTE, &format!("{module}/{BINDINGS}/"))),
        }
        adapted.push('\n');
        if trimmed.starts_with("func wasm_export_wasmtx_plugin_") && trimmed.ends_with('{') {
            adapted.push_str("defer witRuntime.LogPanic()\n");
        }
    }
    (file, adapted.into_bytes())
}

/// `(1, 26)` for `go1.26.8`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said
        .trim()
        .strip_prefix("go")?
        .split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn module_name(text: &str) -> Option<&str> {
    let name = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("module "))?
        .trim()
        .trim_matches('"');
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~/".contains(letter);
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_use_what_the_plugin_has() {
        let text = "import (\n\twitTypes \"go.bytecodealliance.org/pkg/wit/types\"\n\t\"door/export_wasmtx_plugin_auth\"\n)\n\
                    func wasm_export_wasmtx_plugin_auth_check(arg0 uintptr) uintptr {\n";
        let (name, bytes) = adapt(
            ("wit_exports/wit_exports.go".to_owned(), text.as_bytes().to_vec()),
            "door",
        );
        let adapted = String::from_utf8(bytes).unwrap();
        assert_eq!(name, "wit_exports/wit_exports.go");
        assert!(adapted.contains("witTypes \"door/bindings/types\""), "{adapted}");
        assert!(
            adapted.contains("export_wasmtx_plugin_auth \"door/plugin\""),
            "{adapted}"
        );
        assert!(adapted.ends_with("{\ndefer witRuntime.LogPanic()\n"), "{adapted}");
    }

    #[test]
    fn versions_and_names_are_read_and_nonsense_is_not() {
        assert_eq!(version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(version("go1.24rc1"), Some((1, 24)));
        for text in ["", "go", "go1", "devel", "go1.x"] {
            assert_eq!(version(text), None, "{text}");
        }
        assert_eq!(
            module_name("// x\nmodule example.com/door\n\ngo 1.24\n"),
            Some("example.com/door")
        );
        for text in ["", "module", "module a b", "module \"a\\\"\""] {
            assert_eq!(module_name(text), None, "{text}");
        }
    }
}
