//! `reference`: prints docs/plugins/reference.md, made from `wit/plugin.wit`. `make reference` writes it there; the test below fails when somebody changed
//! the contract and forgot to.

use std::fmt::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use wit_parser::{Docs, Function, FunctionKind, Handle, Interface, Resolve, Type, TypeDef, TypeDefKind, TypeId};

/// The directory of the contract.
const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");

const HEAD: &str = "# Reference

Made from [wit/plugin.wit](../../wit/plugin.wit) by `make reference`. How to read it: `option<T>` is a `T` or nothing, `result<T, E>` a `T` or the error `E` (`_`: nothing),
`list<u8>` bytes, `s64` a signed number of 64 bits, `borrow<T>` a handle that is lent for the call.

Roles are what a plugin exports, services what it may import. `log`, `clock`, `random`, `metrics` and `notify` are always there, bounded; `frame` answers while a filter or a sink is called,
`proof` while an auth plugin decides; the rest must be granted in mediamtx.yml (see [grants](grants.md)) and answers `not-granted` otherwise.
";

fn main() -> Result<()> {
    print!("{}", page(Path::new(CONTRACT))?);
    Ok(())
}

/// The whole page.
fn page(contract: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(contract).context("the contract")?;
    let package = &resolve.packages[package];
    let mut page = HEAD.to_owned();
    let exported = |name: &str| {
        let worlds = package.worlds.values();
        worlds.into_iter().any(|world| {
            let keys = resolve.worlds[*world].exports.keys();
            keys.into_iter()
                .any(|key| resolve.name_world_key(key).contains(&format!("/{name}@")))
        })
    };
    let interfaces = || {
        package
            .interfaces
            .iter()
            .map(|(name, id)| (name.as_str(), &resolve.interfaces[*id]))
    };
    for (title, wanted) in [("Words", 0), ("Roles", 1), ("Services", 2)] {
        writeln!(page, "\n## {title}")?;
        for (name, interface) in interfaces() {
            let kind = if name == "types" {
                0
            } else {
                2 - usize::from(exported(name))
            };
            if kind == wanted {
                write!(page, "\n### `{name}`\n\n{}", Shown(&resolve, interface))?;
            }
        }
    }
    Ok(page)
}

/// One interface, as Markdown.
struct Shown<'a>(&'a Resolve, &'a Interface);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(resolve, interface) = self;
        if let Some(text) = &interface.docs.contents {
            writeln!(f, "{}\n", flowing(text))?;
        }
        for (name, id) in &interface.types {
            let kind = &resolve.types[*id];
            // What is only used from another interface is described there.
            if !matches!(kind.kind, TypeDefKind::Type(Type::Id(_))) {
                writeln!(f, "- **{name}**: {}{}", definition(resolve, kind), said(&kind.docs))?;
                methods(f, resolve, interface, *id)?;
            }
        }
        for function in interface.functions.values() {
            if !matches!(function.kind, FunctionKind::Method(_)) {
                writeln!(
                    f,
                    "- `{}`{}",
                    signature(resolve, function, &function.name),
                    said(&function.docs)
                )?;
            }
        }
        Ok(())
    }
}

fn methods(f: &mut fmt::Formatter<'_>, resolve: &Resolve, interface: &Interface, of: TypeId) -> fmt::Result {
    for function in interface.functions.values() {
        if function.kind == FunctionKind::Method(of) {
            // `[method]file.append` is `append`.
            let name = function.name.rsplit('.').next().unwrap_or(&function.name);
            writeln!(
                f,
                "  - `{}`{}",
                signature(resolve, function, name),
                said(&function.docs)
            )?;
        }
    }
    Ok(())
}

/// A comment as one paragraph.
fn flowing(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn said(docs: &Docs) -> String {
    docs.contents
        .as_ref()
        .map(|text| format!(". {}", flowing(text)))
        .unwrap_or_default()
}

fn definition(resolve: &Resolve, kind: &TypeDef) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match &kind.kind {
        TypeDefKind::Record(record) => {
            let field = |field: &wit_parser::Field| {
                format!("`{}: {}`{}", field.name, named(resolve, &field.ty), said(&field.docs))
            };
            format!("record of {}", list(record.fields.iter().map(field).collect()))
        }
        TypeDefKind::Variant(variant) => {
            let case = |case: &wit_parser::Case| {
                let inner = case
                    .ty
                    .map(|kind| format!("({})", named(resolve, &kind)))
                    .unwrap_or_default();
                format!("`{}{inner}`{}", case.name, said(&case.docs))
            };
            format!("one of {}", list(variant.cases.iter().map(case).collect()))
        }
        TypeDefKind::Enum(choice) => {
            format!(
                "one of {}",
                list(choice.cases.iter().map(|case| format!("`{}`", case.name)).collect())
            )
        }
        TypeDefKind::Resource => "a handle".to_owned(),
        other => format!("`{}`", spelled(resolve, other)),
    }
}

fn signature(resolve: &Resolve, function: &Function, name: &str) -> String {
    let parameters = function.params.iter().filter(|parameter| parameter.name != "self");
    let parameters: Vec<_> = parameters
        .map(|parameter| format!("{}: {}", parameter.name, named(resolve, &parameter.ty)))
        .collect();
    let answer = function
        .result
        .map(|kind| format!(" -> {}", named(resolve, &kind)))
        .unwrap_or_default();
    format!("{name}({}){answer}", parameters.join(", "))
}

/// A type as the contract spells it.
fn named(resolve: &Resolve, kind: &Type) -> String {
    let word = match kind {
        Type::Id(id) => {
            let kind = &resolve.types[*id];
            return match &kind.name {
                Some(name) => name.clone(),
                None => spelled(resolve, &kind.kind),
            };
        }
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
    };
    word.to_owned()
}

fn spelled(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let or_nothing = |kind: &Option<Type>| kind.map_or("_".to_owned(), |kind| named(resolve, &kind));
    match kind {
        TypeDefKind::Option(inner) => format!("option<{}>", named(resolve, inner)),
        TypeDefKind::List(inner) => format!("list<{}>", named(resolve, inner)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", or_nothing(&result.ok), or_nothing(&result.err)),
        TypeDefKind::Tuple(tuple) => {
            let inner: Vec<_> = tuple.types.iter().map(|kind| named(resolve, kind)).collect();
            format!("tuple<{}>", inner.join(", "))
        }
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", named(resolve, &Type::Id(*id))),
        TypeDefKind::Handle(Handle::Own(id)) => named(resolve, &Type::Id(*id)),
        other => other.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documents_is_that_of_the_contract() {
        let file = Path::new(CONTRACT).join("../docs/plugins/reference.md");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            written == page(Path::new(CONTRACT)).unwrap(),
            "docs/plugins/reference.md is not that of wit/plugin.wit: run `make reference`"
        );
    }

    #[test]
    fn nothing_of_the_contract_is_without_words() {
        let page = page(Path::new(CONTRACT)).unwrap();
        for (line, text) in page.lines().enumerate() {
            let function = text.trim_start().starts_with("- `");
            assert!(!function || text.contains("`. "), "line {}: {text}", line + 1);
        }
    }
}
