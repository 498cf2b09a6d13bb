//! A look at the raw bytes of a component before the compiler sees them.
//!
//! Compiling is the one thing here that a deadline cannot stop, and small files can make it take minutes; so what is
//! expensive to compile is refused by counting, which takes about a millisecond per megabyte.

use wasmparser::{
    CanonicalFunction, CanonicalOption, Encoding, FunctionBody, MemoryType, Parser, Payload, TableType, TypeRef,
};

use crate::limits::{
    COMPONENT_BYTES, COMPONENT_ITEMS, CORE_ITEMS, EXPORTS, FUNCTION_LOCALS, FUNCTIONS, IMPORTS, Limits, MODULES,
    NESTING, TYPE_BYTES,
};

/// Bytes of a linear memory's page, unless it says otherwise.
const PAGE_LOG2: u32 = 16;

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
    let mut seen = Seen::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| format!("it is not a whole component: {error}"))?;
        seen.part(payload, limits)?;
    }
    Ok(())
}

/// What was counted so far, over all modules and components inside.
#[derive(Default)]
struct Seen {
    depth: usize,
    modules: u32,
    functions: u32,
    /// Of the outermost component, as `exports`: sections may come again and again.
    imports: u32,
    exports: u32,
    /// Imports, exports, globals, segments and the like of modules.
    core_items: u32,
    /// Instances, aliases, imports and the like of components.
    component_items: u32,
    type_bytes: usize,
}

impl Seen {
    fn part(&mut self, payload: Payload<'_>, limits: &Limits) -> Result<(), String> {
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if self.depth == 0 => return Err("it is a core module, not a component".into()),
            Payload::ModuleSection { .. } => {
                add(&mut self.modules, 1, MODULES, "modules")?;
                self.deeper()?;
            }
            Payload::ComponentSection { .. } => self.deeper()?,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::FunctionSection(section) => add(&mut self.functions, section.count(), FUNCTIONS, "functions")?,
            Payload::CodeSectionEntry(body) => check_body(&body, limits)?,

            // How many are in there is what the section says, and the types inside can nest: only their bytes are sure.
            Payload::TypeSection(section) => self.types(section.range().len())?,
            Payload::CoreTypeSection(section) => self.types(section.range().len())?,
            Payload::ComponentTypeSection(section) => self.types(section.range().len())?,

            Payload::ImportSection(section) => {
                self.core(section.count())?;
                for import in section.into_imports() {
                    match import.map_err(broken)?.ty {
                        TypeRef::Memory(memory) => check_memory(&memory, limits)?,
                        TypeRef::Table(table) => check_table(&table, limits)?,
                        _ => {}
                    }
                }
            }
            Payload::MemorySection(section) => {
                self.core(section.count())?;
                for memory in section {
                    check_memory(&memory.map_err(broken)?, limits)?;
                }
            }
            Payload::TableSection(section) => {
                self.core(section.count())?;
                for table in section {
                    check_table(&table.map_err(broken)?.ty, limits)?;
                }
            }
            Payload::GlobalSection(section) => self.core(section.count())?,
            Payload::ExportSection(section) => self.core(section.count())?,
            Payload::ElementSection(section) => self.core(section.count())?,
            Payload::DataSection(section) => self.core(section.count())?,

            Payload::ComponentImportSection(section) => {
                if self.depth == 0 {
                    add(&mut self.imports, section.count(), IMPORTS, "imports")?;
                }
                self.component(section.count())?;
            }
            Payload::ComponentExportSection(section) => {
                if self.depth == 0 {
                    add(&mut self.exports, section.count(), EXPORTS, "exports")?;
                }
                self.component(section.count())?;
            }
            Payload::InstanceSection(section) => self.component(section.count())?,
            Payload::ComponentInstanceSection(section) => self.component(section.count())?,
            Payload::ComponentAliasSection(section) => self.component(section.count())?,
            Payload::ComponentCanonicalSection(section) => {
                self.component(section.count())?;
                for function in section {
                    check_strings(&function.map_err(broken)?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > NESTING {
            return Err(format!("modules and components nest deeper than {NESTING}"));
        }
        Ok(())
    }

    fn core(&mut self, more: u32) -> Result<(), String> {
        let what = "imports, exports, globals and segments in its modules";
        add(&mut self.core_items, more, CORE_ITEMS, what)
    }

    fn component(&mut self, more: u32) -> Result<(), String> {
        let what = "instances, aliases and functions of components";
        add(&mut self.component_items, more, COMPONENT_ITEMS, what)
    }

    fn types(&mut self, more: usize) -> Result<(), String> {
        self.type_bytes = self.type_bytes.saturating_add(more);
        if self.type_bytes > TYPE_BYTES {
            return Err(format!("its types take more than {TYPE_BYTES} bytes"));
        }
        Ok(())
    }
}

fn add(count: &mut u32, more: u32, most: u32, what: &str) -> Result<(), String> {
    *count = count.saturating_add(more);
    if *count > most {
        return Err(format!("it has more than {most} {what}"));
    }
    Ok(())
}

fn broken(error: wasmparser::BinaryReaderError) -> String {
    format!("it is not a whole component: {error}")
}

fn check_body(body: &FunctionBody<'_>, limits: &Limits) -> Result<(), String> {
    let size = body.range().len();
    if size > limits.function {
        return Err(format!(
            "one function has {size} bytes of code, the limit is {} (functionSize)",
            limits.function
        ));
    }
    let mut locals = 0u32;
    for group in body.get_locals_reader().map_err(broken)? {
        let (count, _) = group.map_err(broken)?;
        locals = locals.saturating_add(count);
    }
    if locals > FUNCTION_LOCALS {
        return Err(format!(
            "one function has {locals} locals, the limit is {FUNCTION_LOCALS}"
        ));
    }
    Ok(())
}

fn check_memory(memory: &MemoryType, limits: &Limits) -> Result<(), String> {
    if memory.shared {
        return Err("it shares memory between threads, which wasmtx does not run".into());
    }
    if memory.memory64 {
        return Err("it has a 64-bit memory, which wasmtx does not run".into());
    }
    let page = memory.page_size_log2.unwrap_or(PAGE_LOG2).min(PAGE_LOG2);
    let bytes = memory.initial.saturating_mul(1 << page);
    if bytes > limits.memory as u64 {
        return Err(format!(
            "its memory begins with {bytes} bytes, the limit is {} (memory)",
            limits.memory
        ));
    }
    Ok(())
}

fn check_table(table: &TableType, limits: &Limits) -> Result<(), String> {
    if table.shared || table.table64 {
        return Err("it has a 64-bit or shared table, which wasmtx does not run".into());
    }
    if table.initial > limits.table as u64 {
        return Err(format!(
            "one table has {} elements, the limit is {} (tableElements)",
            table.initial, limits.table
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
        return Err("its strings are UTF-16 or Latin-1, wasmtx takes UTF-8 only".into());
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

    #[test]
    fn too_many_modules_items_and_types_are_refused() {
        let modules = "(core module)".repeat(MODULES as usize + 1);
        assert!(refusal(&format!("(component {modules})")).contains("modules"));
        let globals = "(global i32 (i32.const 0))".repeat(CORE_ITEMS as usize + 1);
        assert!(refusal(&format!("(component (core module {globals}))")).contains("globals"));
        let instances = "(core instance (instantiate 0))".repeat(COMPONENT_ITEMS as usize + 1);
        assert!(refusal(&format!("(component (core module) {instances})")).contains("instances"));
        let types = "(type (func (param i32)))".repeat(TYPE_BYTES / 4);
        assert!(refusal(&format!("(component (core module {types}))")).contains("types"));
        let types = "(type (list u8))".repeat(TYPE_BYTES / 2);
        assert!(refusal(&format!("(component {types})")).contains("types"));
    }

    #[test]
    fn too_many_imports_and_exports_are_refused() {
        let imports: String = (0..=IMPORTS).map(|n| format!("(import \"i{n}\" (func))")).collect();
        assert!(refusal(&format!("(component {imports})")).contains("imports"));
        let exports: String = (0..=EXPORTS).map(|n| format!("(export \"e{n}\" (func 0))")).collect();
        assert!(refusal(&format!("(component (import \"i\" (func)) {exports})")).contains("exports"));
    }

    #[test]
    fn what_the_engine_does_not_run_has_a_sentence_of_its_own() {
        for (inside, words) in [
            ("(memory i64 1)", "64-bit memory"),
            ("(memory 1 1 shared)", "between threads"),
            ("(import \"a\" \"b\" (memory 1 1 shared))", "between threads"),
            ("(table i64 1 funcref)", "64-bit or shared table"),
        ] {
            assert!(
                refusal(&format!("(component (core module {inside}))")).contains(words),
                "{inside}"
            );
        }
    }

    #[test]
    fn memories_and_tables_that_begin_beyond_their_limit_are_refused() {
        for (inside, words) in [
            ("(memory 1025)", "67174400 bytes"),
            ("(table 10000000 funcref)", "10000000 elements"),
            ("(import \"a\" \"b\" (table 10000000 funcref))", "10000000 elements"),
        ] {
            assert!(
                refusal(&format!("(component (core module {inside}))")).contains(words),
                "{inside}"
            );
        }
        let bytes = wat::parse_str("(component (core module (memory 1024) (table 20000 funcref)))").unwrap();
        assert_eq!(check(&bytes, &Limits::default()), Ok(()));
    }

    #[test]
    fn strings_other_than_utf_8_are_refused() {
        for encoding in ["utf16", "latin1+utf16"] {
            let lower = format!(
                "(component (import \"f\" (func $f (param \"s\" string)))
                    (core module $m (memory (export \"m\") 1)) (core instance $i (instantiate $m))
                    (core func (canon lower (func $f) (memory (core memory $i \"m\")) string-encoding={encoding})))"
            );
            assert!(refusal(&lower).contains("UTF-8 only"), "{encoding}");
        }
    }

    #[test]
    fn types_that_nest_without_end_are_not_followed() {
        let depth = 50_000;
        let mut types = Vec::new();
        for _ in 0..depth {
            // An instance type with one declaration: a type.
            types.extend_from_slice(&[0x42, 1, 1]);
        }
        types.extend_from_slice(&[0x42, 0]);
        let mut section = vec![1];
        section.extend_from_slice(&types);
        let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let mut len = section.len();
        while len >= 0x80 {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend_from_slice(&section);
        assert_eq!(check(&bytes, &Limits::default()), Ok(()));
    }
}
