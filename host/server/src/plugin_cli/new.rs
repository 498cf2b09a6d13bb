//! `wasmtx plugin new NAME`: a project that builds and passes its own test, to be changed into what it should become.
//!
//! The templates are `plugins/templates`: for each language what all projects share, and a directory per role. Files of the
//! role come last and replace others of the same name. `plugin-name` in them is the project's name.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow, ensure};
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use wasmtx_sandbox::Role;

use super::{
    Subcommand,
    project::{self, CONTRACT, CONTRACT_FILE, Language},
};

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "new",
    describe,
    run,
};

/// Name and text of every file that projects are made of.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));
/// Stands for the project's name, in texts and file names.
const PLACEHOLDER: &str = "plugin-name";
/// What every project has, whatever its language.
const ANY: &str = "any";
/// Where a Rust project keeps the SDK, which is in no registry.
const SDK: &str = "vendor/wasmtx-plugin";

fn describe(command: Command) -> Command {
    let option = |name: &'static str, values: Vec<&'static str>, default: &'static str| {
        Arg::new(name)
            .long(name)
            .value_parser(PossibleValuesParser::new(values))
            .default_value(default)
    };
    command
        .about("Begin a plugin: a project that builds and passes its own test")
        .after_help("Writes a directory NAME into the working directory. One that is there already is left alone.")
        .arg(
            Arg::new("NAME")
                .required(true)
                .help("What it is called: lower-case letters, digits and hyphens"),
        )
        .arg(option("lang", Language::ALL.map(Language::name).to_vec(), "rust").help("What it is written in"))
        .arg(
            option("kind", Role::ALL.map(Role::name).to_vec(), "filter")
                .visible_alias("role")
                .help("What it does"),
        )
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let word = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let name = word("NAME");
    project::check_name(name)?;
    let language = Language::ALL
        .into_iter()
        .find(|language| language.name() == word("lang"));
    let language = language.with_context(|| format!("`{}` is no language known here", word("lang")))?;
    let role = project::role(word("kind"))?;
    let files = files(name, language, role)?;
    write(Path::new(name), &files)?;
    writeln!(
        output,
        "{name} is there, a plugin for the role `{role}` in {language}. Next:\n\n    cd {name}"
    )?;
    for step in steps(language) {
        writeln!(output, "    {step}")?;
    }
    writeln!(
        output,
        "    wasmtx mediamtx.yml\n\n{name}/README.md says what is where."
    )?;
    Ok(ExitCode::SUCCESS)
}

/// What to type in a fresh project, to build and to test it.
fn steps(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &["cargo test", "wasmtx plugin build"],
        Language::Js => &["npm install", "npm test", "wasmtx plugin build"],
        Language::Python => &[
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
            "wasmtx plugin build",
            "python3 -m unittest",
        ],
        Language::C => &["wasmtx plugin build", "make test"],
        Language::Go => &["wasmtx plugin build", "go test ./plugin"],
    }
}

/// The files of a project, by their names in it.
fn files(name: &str, language: Language, role: Role) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let own = format!("{language}/{role}/");
    let known: Vec<_> = Role::ALL
        .into_iter()
        .filter(|role| {
            FILES
                .iter()
                .any(|(file, _)| file.starts_with(&format!("{language}/{role}/")))
        })
        .map(Role::name)
        .collect();
    ensure!(
        known.contains(&role.name()),
        "there is no template for {role} plugins in {language}; begin with --kind {} and change `roles` in plugin.yml, or \
         take --lang rust, which has all of them",
        known.join("|")
    );
    let mut files = vec![(PathBuf::from(CONTRACT_FILE), CONTRACT.to_owned())];
    let mut add = |prefix: &str, below: &str, text: &dyn Fn(&str) -> String| {
        for (file, found) in FILES {
            if let Some(rest) = file.strip_prefix(prefix) {
                let rest = PathBuf::from(format!("{below}{}", rest.replace(PLACEHOLDER, name)));
                files.retain(|(other, _)| *other != rest);
                files.push((rest, text(found)));
            }
        }
    };
    let named = |text: &str| text.replace(PLACEHOLDER, name);
    add(&format!("{ANY}/{role}/"), "", &named);
    add(&format!("{language}/common/"), "", &named);
    add(&own, "", &named);
    if language == Language::Rust {
        add("sdk/", &format!("{SDK}/"), &str::to_owned);
        // The versions that the SDK was tested with. Cargo forgets what the project does not use.
        add("Cargo.lock", "Cargo.lock", &str::to_owned);
    }
    Ok(files)
}

/// Writes a new directory. On any error what was written is removed: half a project helps nobody.
fn write(directory: &Path, files: &[(PathBuf, String)]) -> anyhow::Result<()> {
    let shown = directory.display();
    fs::create_dir(directory).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("{shown} is there already and stays as it is; choose another name or remove it")
        }
        _ => anyhow!("{shown} cannot be made: {error}"),
    })?;
    let written = files.iter().try_for_each(|(name, text)| {
        let file = directory.join(name);
        fs::create_dir_all(file.parent().unwrap_or(directory))?;
        File::create_new(&file)?.write_all(text.as_bytes())
    });
    written.map_err(|error| {
        let _ = fs::remove_dir_all(directory);
        anyhow!("{shown} cannot be written: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_filters_and_auth_and_rust_has_all() {
        for language in Language::ALL {
            for role in [Role::Filter, Role::Auth] {
                let files = files("door", language, role).unwrap();
                let names: Vec<_> = files.iter().filter_map(|(name, _)| name.to_str()).collect();
                for name in ["README.md", "mediamtx.yml", CONTRACT_FILE, ".gitignore"] {
                    assert!(names.contains(&name), "{language} {role}: no {name} in {names:?}");
                }
                assert!(names.iter().all(|name| !name.contains(PLACEHOLDER)), "{names:?}");
                let own = files.iter().filter(|(name, _)| !name.starts_with(SDK));
                for (name, text) in own {
                    assert!(!text.contains(PLACEHOLDER), "{language} {role}: {}", name.display());
                }
            }
        }
        for role in Role::ALL {
            assert!(files("door", Language::Rust, role).is_ok(), "{role}");
        }
    }

    #[test]
    fn a_role_without_a_template_is_refused_with_those_that_have_one() {
        let error = files("door", Language::C, Role::Transcoder).unwrap_err().to_string();
        assert!(
            error.contains("auth|filter") && error.contains("--lang rust"),
            "{error}"
        );
    }

    #[test]
    fn the_sdk_stands_alone() {
        let (_, manifest) = FILES.iter().find(|(name, _)| *name == "sdk/Cargo.toml").unwrap();
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(manifest.contains("wit-bindgen = {"), "{manifest}");
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let directory = std::env::temp_dir().join(format!("wasmtx-new-{}", std::process::id()));
        let files = [(PathBuf::from("a/b.txt"), "text".to_owned())];
        write(&directory, &files).unwrap();
        assert_eq!(fs::read_to_string(directory.join("a/b.txt")).unwrap(), "text");
        let error = write(&directory, &files).unwrap_err().to_string();
        assert!(error.contains("there already"), "{error}");
        fs::remove_dir_all(&directory).unwrap();
        // A file where a directory has to be: nothing stays behind.
        let clash = [
            (PathBuf::from("a"), String::new()),
            (PathBuf::from("a/b"), String::new()),
        ];
        assert!(write(&directory, &clash).is_err());
        assert!(!directory.exists());
    }
}
