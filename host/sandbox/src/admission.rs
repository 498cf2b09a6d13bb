//! A look at the raw bytes of a component before the compiler sees them.
//!
//! Compiling is the one thing here that a deadline cannot stop, and small files can make it take minutes; so what is
//! expensive to compile is refused by counting, which takes about a millisecond per megabyte.

use wasmparser::{CanonicalFunction, CanonicalOption, Encoding, Parser, Payload};

use crate::limits::{COMPONENT_BYTES, EXPORTS, FUNCTION_LOCALS, FUNCTIONS, IMPORTS, Limits, NESTING};

/// Whether the bytes may be given to the compiler.
///
/// # Errors
/// Says in one sentence what is wrong with the file.
pub(crate) fn check(bytes: &[u8], limits: &Limits) -> Result<(), String> {
    if bytes.len() > COMPONENT_BYTES {
        return Err(format!(
            "the file has {} bytes, at most {COMPONENT_BYTES} are allowed",
            bytes.len()
        ));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err("it is no WebAssembly component".into());
    }
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err("it is a core module; turn it into a component (wit-component, `wasm-tools component new`)".into());
    }
    let mut depth = 0usize;
    let mut functions = 0u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| format!("it is not a whole component: {error}"))?;
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err("it is a core module, not a component".into());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                if depth > NESTING {
                    return Err(format!("modules and components nest deeper than {NESTING}"));
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::FunctionSection(section) => {
                functions = functions.saturating_add(section.count());
                if functions > FUNCTIONS {
                    return Err(format!("it has more than {FUNCTIONS} functions"));
                }
            }
            Payload::CodeSectionEntry(body) => check_body(&body, limits)?,
            Payload::ComponentImportSection(section) if depth == 0 && section.count() > IMPORTS => {
                return Err(format!("it has more than {IMPORTS} imports"));
            }
            Payload::ComponentExportSection(section) if depth == 0 && section.count() > EXPORTS => {
                return Err(format!("it has more than {EXPORTS} exports"));
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    check_strings(&function.map_err(|error| error.to_string())?)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_body(body: &wasmparser::FunctionBody<'_>, limits: &Limits) -> Result<(), String> {
    let size = body.range().len();
    if size > limits.function {
        return Err(format!(
            "one function has {size} bytes of code, the limit is {}",
            limits.function
        ));
    }
    let mut locals = 0u32;
    for group in body.get_locals_reader().map_err(|error| error.to_string())? {
        let (count, _) = group.map_err(|error| error.to_string())?;
        locals = locals.saturating_add(count);
    }
    if locals > FUNCTION_LOCALS {
        return Err(format!(
            "one function has {locals} locals, the limit is {FUNCTION_LOCALS}"
        ));
    }
    Ok(())
}

/// Transcoding between string encodings has been a source of holes in the compiler's runtime; no toolchain needs it here.
fn check_strings(function: &CanonicalFunction) -> Result<(), String> {
    let (CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. }) = function else {
        return Ok(());
    };
    if options
        .iter()
        .any(|option| matches!(option, CanonicalOption::UTF16 | CanonicalOption::CompactUTF16))
    {
        return Err("its strings are not UTF-8".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let bytes = wat::parse_str(text).unwrap();
        check(&bytes, &Limits::default()).unwrap_err()
    }

    #[test]
    fn an_empty_component_is_fine_here() {
        let bytes = wat::parse_str("(component)").unwrap();
        assert_eq!(check(&bytes, &Limits::default()), Ok(()));
    }

    #[test]
    fn what_is_not_a_component_is_refused() {
        assert!(refusal("(module)").contains("core module"));
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh\n", b"\0asm\x0d\0\x01\0\x01\xff\xff"] {
            assert!(check(bytes, &Limits::default()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn every_truncation_of_a_component_is_an_error_or_an_admissible_prefix_and_never_a_panic() {
        let bytes = wat::parse_str("(component (core module (func (export \"f\") (local i32 i64) nop)))").unwrap();
        for end in 0..bytes.len() {
            let _ = check(&bytes[..end], &Limits::default());
        }
    }

    #[test]
    fn too_many_locals_are_refused() {
        let locals = "i32 ".repeat(3_000);
        assert!(refusal(&format!("(component (core module (func (local {locals}))))")).contains("locals"));
    }

    #[test]
    fn a_giant_function_is_refused_unless_the_limit_allows_it() {
        let code = "nop ".repeat(200_000);
        let text = format!("(component (core module (func {code})))");
        assert!(refusal(&text).contains("bytes of code"));
        let roomy = Limits {
            function: 1 << 20,
            ..Limits::default()
        };
        assert_eq!(check(&wat::parse_str(&text).unwrap(), &roomy), Ok(()));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("{}{}", "(component ".repeat(10), ")".repeat(10));
        assert!(refusal(&text).contains("nest"));
    }

    #[test]
    fn too_many_functions_are_refused() {
        let functions = "(func)".repeat(50_001);
        assert!(refusal(&format!("(component (core module {functions}))")).contains("functions"));
    }
}
