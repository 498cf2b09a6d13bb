//! C: clang, wasm-ld and wasi-libc, as Debian has them or as the WASI SDK brings them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::{
    bindings,
    component::{Component, World},
    scratch, tool,
};
use crate::plugin_cli::project::Project;

/// The plugin's own files, all that end in `.c`.
const SOURCES: &str = "src";
/// What `plugin.h` is generated into, beside the code that goes with it.
const BINDINGS: &str = "build/bindings";
/// More files are no plugin.
const MAX_SOURCES: usize = 1_000;
const CLANG: [&str; 8] = [
    "clang", "clang-22", "clang-21", "clang-20", "clang-19", "clang-16", "clang-15", "clang-14",
];
const LINKER: [&str; 8] = [
    "wasm-ld",
    "wasm-ld-22",
    "wasm-ld-21",
    "wasm-ld-20",
    "wasm-ld-19",
    "wasm-ld-16",
    "wasm-ld-15",
    "wasm-ld-14",
];
const INSTALL: &str =
    "apt-get install -y clang lld wasi-libc libclang-rt-14-dev-wasm32 (or the WASI SDK, named by WASI_SDK_PATH)";
/// Bytes of stack, at the bottom of the memory: an overflow traps instead of writing over data.
const STACK: &str = "-Wl,-z,stack-size=65536,--stack-first";

pub(super) fn build(project: &Project) -> anyhow::Result<Component> {
    let tools = Tools::find()?;
    let root = &project.directory;
    let contract = project.contract()?;
    let world = World::new(&contract, &project.world(&contract)?)?;
    let files = bindings::generate(wit_bindgen_c::Opts::default().build(), &world)?;
    bindings::write(&root.join(BINDINGS), &files)?;

    let sources = sources(root)?;
    let clang = || {
        let mut command = tool::command(&tools.clang, root);
        command.args([
            "--target=wasm32-wasi",
            "-O2",
            "-g0",
            "-fvisibility=hidden",
            "-I",
            BINDINGS,
        ]);
        command
    };
    let object = scratch(project)?.join("bindings.o");
    // Generated: what it could be warned about is nobody's here.
    tool::run(
        clang()
            .arg("-w")
            .args(["-c", "build/bindings/plugin.c", "-o"])
            .arg(&object),
    )?;
    tool::run(
        clang()
            .args(["-mexec-model=reactor", "-Wall", "-Wextra", STACK, "-Wl,--strip-debug"])
            .args(tools.linker.map(|linker| format!("-fuse-ld={}", linker.display())))
            .args(sources)
            .arg(object)
            .args(["build/bindings/plugin_component_type.o", "-o", "build/module.wasm"]),
    )?;
    let module = root.join("build/module.wasm");
    let module = fs::read(&module).with_context(|| format!("clang wrote no {}", module.display()))?;
    Component::from_module(&module, &contract)
}

fn sources(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let directory = root.join(SOURCES);
    let entries = fs::read_dir(&directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    let mut sources = Vec::new();
    for entry in entries.take(MAX_SOURCES) {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "c") {
            sources.push(file);
        }
    }
    ensure!(
        !sources.is_empty(),
        "{} has no .c file: they are the plugin",
        directory.display()
    );
    sources.sort();
    Ok(sources)
}

struct Tools {
    clang: PathBuf,
    /// Where clang would not find it by itself.
    linker: Option<PathBuf>,
}

impl Tools {
    fn find() -> anyhow::Result<Tools> {
        if let Some(sdk) = env::var_os("WASI_SDK_PATH") {
            let clang = PathBuf::from(sdk).join("bin/clang");
            ensure!(
                clang.is_file(),
                "{} is missing: WASI_SDK_PATH names no WASI SDK",
                clang.display()
            );
            return Ok(Tools { clang, linker: None });
        }
        let why = "compiles C for WebAssembly";
        let clang = tool::require(&CLANG, &[], why, INSTALL)?;
        let linker = tool::require(&LINKER, &[PathBuf::from("/usr/lib/llvm-14/bin")], "links it", INSTALL)?;
        let header = Path::new("/usr/include/wasm32-wasi/stdlib.h");
        ensure!(
            header.is_file(),
            "the C library for WebAssembly ({}) is missing; install it: {INSTALL}",
            header.display()
        );
        Ok(Tools {
            clang,
            linker: Some(linker),
        })
    }
}
