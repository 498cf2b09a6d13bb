//! Puts what `wasmtx plugin new` writes into the program: the templates, and the SDK with its manifest made independent of
//! this repository. The program may run far from it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const PLUGINS: &str = "../../plugins";

fn main() -> io::Result<()> {
    let plugins = fs::canonicalize(PLUGINS)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?);
    let manifest = out.join("sdk.toml");
    fs::write(&manifest, independent(&plugins)?)?;

    let mut files = Vec::new();
    collect(&plugins.join("templates"), "", &mut files)?;
    collect(&plugins.join("sdk/src"), "sdk/src/", &mut files)?;
    files.push(("sdk/Cargo.toml".to_owned(), manifest));
    files.push(("Cargo.lock".to_owned(), plugins.join("Cargo.lock")));
    files.sort();

    let mut list = String::from("&[\n");
    for (name, file) in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        list.push_str(&format!(
            "    ({name:?}, include_str!({:?})),\n",
            file.display().to_string()
        ));
    }
    list.push(']');
    for watched in ["templates", "sdk/src", "sdk/Cargo.toml", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", plugins.join(watched).display());
    }
    fs::write(out.join("templates.rs"), list)
}

/// Every file below a directory, by its name there.
fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| io::Error::other("a file name is no text"))?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{prefix}{name}/"), files)?;
        } else {
            files.push((format!("{prefix}{name}"), entry.path()));
        }
    }
    Ok(())
}

/// The SDK's Cargo.toml with what it takes from its workspace written out.
fn independent(plugins: &Path) -> io::Result<String> {
    let workspace = fs::read_to_string(plugins.join("Cargo.toml"))?;
    let own = fs::read_to_string(plugins.join("sdk/Cargo.toml"))?;
    let mut lines = Vec::new();
    for line in own.lines() {
        match line.strip_suffix(".workspace = true") {
            Some(key) => {
                let whole = workspace.lines().find(|line| line.split(" =").next() == Some(key));
                lines.push(whole.ok_or_else(|| io::Error::other(format!("plugins/Cargo.toml has no {key}")))?);
            }
            // The lints of this repository are not those of whoever uses the SDK.
            None if line == "[lints]" => break,
            None => lines.push(line),
        }
    }
    Ok(lines.join("\n").trim_end().to_owned() + "\n")
}
