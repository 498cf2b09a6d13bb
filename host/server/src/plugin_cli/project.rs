//! A plugin's sources: what `plugin.yml` says about them, and the contract that they were written for.

use std::{
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use serde::Deserialize;
use wasmtx_sandbox::Role;

/// The file that says what a directory is. Rust's need none: their Cargo.toml is enough.
pub(super) const MANIFEST: &str = "plugin.yml";
/// Where a project keeps the contract it was written for.
pub(super) const CONTRACT_FILE: &str = "wit/plugin.wit";
/// The contract of this version.
pub(super) const CONTRACT: &str = include_str!("../../../../wit/plugin.wit");
/// More is no list of a handful of words.
const MANIFEST_BYTES: u64 = 64 << 10;
/// More is not the contract.
const CONTRACT_BYTES: u64 = 1 << 20;
/// As long as a plugin's name in mediamtx.yml may be.
const NAME_LENGTH: usize = 64;
/// What every plugin may call.
const ALWAYS: [&str; 5] = ["log", "clock", "random", "metrics", "notify"];
/// What a plugin may call once it is granted, and has to list under `uses`.
pub(super) const GRANTED: [&str; 4] = ["kv", "http", "storage", "control"];

/// What plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    Rust,
    Js,
    Python,
    C,
    Go,
}

impl Language {
    pub(super) const ALL: [Language; 5] = [
        Language::Rust,
        Language::Js,
        Language::Python,
        Language::C,
        Language::Go,
    ];

    /// As the command line and `plugin.yml` spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Js => "js",
            Language::Python => "python",
            Language::C => "c",
            Language::Go => "go",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `plugin.yml`, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    language: Language,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    uses: Vec<String>,
}

/// A directory with the sources of one plugin.
#[derive(Debug)]
pub(super) struct Project {
    /// Absolute.
    pub(super) directory: PathBuf,
    pub(super) name: String,
    pub(super) language: Language,
    pub(super) roles: Vec<Role>,
    /// Of [`GRANTED`], what it calls.
    pub(super) uses: Vec<String>,
}

impl Project {
    /// Reads what a directory says about itself.
    pub(super) fn open(directory: &Path) -> anyhow::Result<Project> {
        let shown = directory.display();
        let directory = fs::canonicalize(directory).with_context(|| format!("{shown} is no directory"))?;
        let Some(text) = read(&directory.join(MANIFEST), MANIFEST_BYTES)? else {
            if directory.join("Cargo.toml").is_file() {
                return Ok(Project::of_cargo(directory));
            }
            bail!(
                "{shown} has no {MANIFEST}: name the directory of a plugin, or begin one with `wasmtx plugin new NAME --lang {}`",
                Language::ALL.map(Language::name).join("|")
            );
        };
        let manifest: Manifest = serde_yaml::from_str(&text).map_err(|error| anyhow!("{shown}/{MANIFEST}: {error}"))?;
        Project::of_manifest(directory, manifest).with_context(|| format!("{shown}/{MANIFEST}"))
    }

    /// Rust's macro says what the roles are, cargo what it is called.
    fn of_cargo(directory: PathBuf) -> Project {
        let name = directory.file_name().and_then(|name| name.to_str());
        Project {
            name: name
                .filter(|name| check_name(name).is_ok())
                .unwrap_or("plugin")
                .to_owned(),
            language: Language::Rust,
            roles: Vec::new(),
            uses: Vec::new(),
            directory,
        }
    }

    fn of_manifest(directory: PathBuf, manifest: Manifest) -> anyhow::Result<Project> {
        check_name(&manifest.name)?;
        let mut roles = Vec::new();
        for name in &manifest.roles {
            let role = role(name)?;
            ensure!(!roles.contains(&role), "roles: `{name}` stands there twice");
            roles.push(role);
        }
        ensure!(
            manifest.language == Language::Rust || !roles.is_empty(),
            "roles: it needs at least one of {}",
            Role::ALL.map(Role::name).join(", ")
        );
        for name in &manifest.uses {
            ensure!(
                GRANTED.contains(&name.as_str()),
                "uses: `{name}` is none of {}; the rest of the contract needs no entry",
                GRANTED.join(", ")
            );
        }
        Ok(Project {
            directory,
            name: manifest.name,
            language: manifest.language,
            roles,
            uses: manifest.uses,
        })
    }

    /// The contract that it was written for: its own copy, or else that of this version.
    pub(super) fn contract(&self) -> anyhow::Result<String> {
        Ok(read(&self.directory.join(CONTRACT_FILE), CONTRACT_BYTES)?.unwrap_or_else(|| CONTRACT.to_owned()))
    }

    /// The world that the component is made for: its roles, and of the host's side no more than it may call.
    pub(super) fn world(&self, contract: &str) -> anyhow::Result<String> {
        let version = version(contract)
            .with_context(|| format!("{CONTRACT_FILE} does not begin with a version of the contract"))?;
        let mut world = String::from("package wasmtx:guest;\n\nworld plugin {\n");
        let mut line = |word: &str, interface: &str| {
            world.push_str(&format!("  {word} wasmtx:plugin/{interface}@{version};\n"));
        };
        let own = self.roles.iter().filter_map(|role| match role {
            Role::Auth => Some("proof"),
            Role::Filter | Role::Sink => Some("frame"),
            _ => None,
        });
        let mut imports: Vec<&str> = ALWAYS.into_iter().chain(own).collect();
        imports.extend(self.uses.iter().map(String::as_str));
        imports.sort_unstable();
        imports.dedup();
        for interface in imports {
            line("import", interface);
        }
        line("export", "lifecycle");
        for role in &self.roles {
            line("export", role.name());
        }
        world.push_str("}\n");
        Ok(world)
    }
}

/// The version in `package wasmtx:plugin@0.1.0;`.
fn version(contract: &str) -> Option<&str> {
    let rest = contract
        .lines()
        .find_map(|line| line.trim().strip_prefix("package wasmtx:plugin@"))?;
    let version = rest.split(';').next()?.trim();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-+".contains(letter);
    (!version.is_empty() && version.chars().all(plain)).then_some(version)
}

/// A role by its name.
pub(super) fn role(name: &str) -> anyhow::Result<Role> {
    let known = Role::ALL.into_iter().find(|role| role.name() == name);
    known.with_context(|| {
        format!(
            "`{name}` is no role: there are {}",
            Role::ALL.map(Role::name).join(", ")
        )
    })
}

/// A name has to do as the name of a crate, a package, a module and a file, and in mediamtx.yml.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let fine = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    ensure!(
        name.len() <= NAME_LENGTH
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(fine)
            && !name.ends_with('-')
            && !name.contains("--"),
        "`{}` is no name for a plugin: use up to {NAME_LENGTH} lower-case letters, digits and single hyphens, a letter first, as in `night-shift`",
        name.escape_default()
    );
    Ok(())
}

/// A small text file, or nothing when there is none.
fn read(file: &Path, limit: u64) -> anyhow::Result<Option<String>> {
    let shown = file.display();
    match fs::metadata(file) {
        Ok(found) if found.len() > limit => {
            bail!("{shown} has {} bytes, more than the {limit} it may have", found.len())
        }
        Ok(_) => Ok(Some(
            fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?,
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{shown} cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Result<Project, String> {
        let manifest: Manifest = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        Project::of_manifest(PathBuf::from("."), manifest).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_manifest_says_language_roles_and_what_is_used() {
        let project = manifest("name: door\nlanguage: js\nroles: [auth, filter]\nuses: [kv]\n").unwrap();
        assert_eq!(project.language, Language::Js);
        assert_eq!(project.roles, [Role::Auth, Role::Filter]);
        let world = project.world(CONTRACT).unwrap();
        for line in [
            "import wasmtx:plugin/kv@",
            "import wasmtx:plugin/proof@",
            "export wasmtx:plugin/auth@",
        ] {
            assert!(world.contains(line), "{world}");
        }
        assert!(!world.contains("plugin/http"), "{world}");
        assert_eq!(world.matches("import wasmtx:plugin/log@").count(), 1, "{world}");
    }

    #[test]
    fn nonsense_in_a_manifest_is_named() {
        for (text, word) in [
            ("name: door\nlanguage: cobol\nroles: [auth]", "cobol"),
            ("name: door\nlanguage: js\nroles: []", "roles"),
            ("name: door\nlanguage: js\nroles: [cook]", "`cook`"),
            ("name: door\nlanguage: js\nroles: [auth, auth]", "twice"),
            ("name: door\nlanguage: js\nroles: [auth]\nuses: [log]", "`log`"),
            ("name: door\nlanguage: js\nroles: [auth]\nuse: [kv]", "use"),
            ("name: ../door\nlanguage: js\nroles: [auth]", "no name"),
            ("language: js\nroles: [auth]", "name"),
            ("[]", ""),
            ("", ""),
        ] {
            let error = manifest(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn names_do_in_every_language() {
        for name in ["a", "night-shift", "h264", &"a".repeat(NAME_LENGTH)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "-a",
            "a-",
            "a--b",
            "4k",
            "Door",
            "a_b",
            "a/b",
            "..",
            "ä",
            "a b",
            &"a".repeat(NAME_LENGTH + 1),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_contract_has_a_version() {
        assert!(version(CONTRACT).is_some());
        for text in [
            "",
            "package wasmtx:plugin@;",
            "package wasmtx:plugin@1 };",
            "package other:plugin@0.1.0;",
        ] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
