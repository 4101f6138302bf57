//! The IC's own rules for modules, checked after wasmtime's; the texts are the IC's.

use std::collections::BTreeSet;

use wasmparser::{ExternalKind, FuncType, TypeRef, ValType};

use super::parse::{DataSegment, Sections, code_section};
use crate::api::table::Api;
use crate::module::{CustomSection, Exports, ModuleError};

/// Functions a module may define.
pub(crate) const FUNCTIONS_MAX: usize = 50_000;
/// Globals a module may define.
pub(crate) const GLOBALS_MAX: usize = 1_000;
/// `icp:` custom sections a module may have.
pub(crate) const CUSTOM_SECTIONS_MAX: usize = 16;
/// Bytes of names and contents of all `icp:` custom sections.
pub(crate) const CUSTOM_SECTIONS_BYTES_MAX: usize = 1 << 20;
/// Update, query and composite query methods together.
pub(crate) const METHODS_MAX: usize = 1_000;
/// Bytes of all their names together; also the longest method name of an outgoing call.
pub(crate) const METHOD_NAMES_BYTES_MAX: usize = 20_000;
/// Bytes of the code section.
pub(crate) const CODE_SECTION_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Operators of one function.
pub(crate) const FUNCTION_OPERATORS_MAX: usize = 1_000_000;

const SYSTEM_METHODS: [&str; 7] = [
    "canister_init",
    "canister_pre_upgrade",
    "canister_post_upgrade",
    "canister_inspect_message",
    "canister_heartbeat",
    "canister_global_timer",
    "canister_on_low_wasm_memory",
];

const RESERVED_SYMBOLS: [&str; 6] = [
    "canister counter_instructions",
    "canister_start",
    "canister counter_dirty_pages",
    "canister counter_accessed_pages",
    "stable_memory",
    "stable_memory_bytemap",
];

/// What validation finds out about a module.
pub(crate) struct Validated {
    pub exports: Exports,
    pub custom_sections: Vec<CustomSection>,
}

fn invalid(section: &str, detail: impl std::fmt::Display) -> ModuleError {
    ModuleError::Invalid(format!("Wasm module has an invalid {section}. {detail}"))
}

/// Checks the size of the code section, before anything looks at its content.
///
/// # Errors
/// When it is too large or cannot be found.
pub(crate) fn check_code_size(wasm: &[u8]) -> Result<(), ModuleError> {
    let range = code_section(wasm).map_err(|error| {
        ModuleError::Invalid(format!(
            "Failed to decode wasm module: Error finding code section: {error}"
        ))
    })?;
    match range.map(|range| range.len()) {
        Some(size) if size > CODE_SECTION_BYTES_MAX => Err(ModuleError::Invalid(format!(
            "Wasm module code section size of {size} exceeds the maximum allowed size of {CODE_SECTION_BYTES_MAX}"
        ))),
        _ => Ok(()),
    }
}

/// Checks everything else, in the IC's order.
///
/// # Errors
/// On the first broken rule.
pub(crate) fn validate(sections: &Sections<'_>) -> Result<Validated, ModuleError> {
    check_imports(sections)?;
    let exports = check_exports(sections)?;
    check_data(sections)?;
    check_globals(sections)?;
    check_functions(sections)?;
    let custom_sections = check_custom_sections(sections)?;
    Ok(Validated {
        exports,
        custom_sections,
    })
}

fn check_imports(sections: &Sections<'_>) -> Result<(), ModuleError> {
    for import in &sections.import_list {
        let section = "import section";
        let type_index = match import.ty {
            TypeRef::Func(index) => index,
            TypeRef::Global(_) => {
                return Err(invalid(section, "Importing globals is not allowed."));
            }
            TypeRef::Tag(_) => return Err(invalid(section, "Importing tags is not allowed.")),
            // The IC's runtime provides neither, so such a module cannot be instantiated there.
            TypeRef::Table(_) => {
                return Err(invalid(
                    section,
                    "Only tables imported from env.table are allowed.",
                ));
            }
            TypeRef::Memory(_) => {
                return Err(invalid(
                    section,
                    "Only memory imported from env.memory is allowed.",
                ));
            }
            TypeRef::FuncExact(index) => index,
        };
        let Some(api) = Api::from_name(import.name) else {
            return Err(invalid(
                section,
                format!(
                    "Module imports function '{}' from '{}' that is not exported by the runtime.",
                    import.name, import.module
                ),
            ));
        };
        if import.module != "ic0" {
            return Err(invalid(
                section,
                format!(
                    "Module imports function {:?} from {:?}, expected to be imported from one of [\"ic0\"] instead.",
                    import.name, import.module
                ),
            ));
        }
        if let Some(ty) = sections.func_types.get(type_index as usize) {
            check_signature(import.name, ty, api.params(), api.results())?;
        }
    }
    Ok(())
}

fn check_signature(
    name: &str,
    ty: &FuncType,
    params: &[ValType],
    results: &[ValType],
) -> Result<(), ModuleError> {
    let section = "function signature";
    if ty.params() != params {
        let detail = format!(
            "Expected input params {params:?} for '{name}', got {:?}.",
            ty.params()
        );
        return Err(invalid(section, detail));
    }
    if ty.results() != results {
        let detail = format!(
            "Expected return type {results:?} for '{name}', got {:?}.",
            ty.results()
        );
        return Err(invalid(section, detail));
    }
    Ok(())
}

fn check_exports(sections: &Sections<'_>) -> Result<Exports, ModuleError> {
    let mut exports = Exports {
        start: sections.start.is_some(),
        ..Exports::default()
    };
    let mut names = BTreeSet::new();
    let mut names_bytes = 0;
    for export in &sections.export_list {
        if RESERVED_SYMBOLS.contains(&export.name) {
            let detail = format!("Exporting reserved symbol {} not allowed.", export.name);
            return Err(invalid("export section", detail));
        }
        if export.kind != ExternalKind::Func || !export.name.starts_with("canister_") {
            continue;
        }
        if let Some(method) = method_name(export.name) {
            if !names.insert(method) {
                let detail = format!(
                    "Duplicate function '{method}' exported multiple times with different call types: update, query, or composite_query."
                );
                return Err(invalid("export section", detail));
            }
            names_bytes += method.len();
        }
        record_export(&mut exports, export.name)?;
        if let Some(ty) = sections.function_type(export.index) {
            check_signature(export.name, ty, &[], &[])?;
        }
    }
    let methods = "functions called `canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>`";
    if names.len() > METHODS_MAX {
        let detail = format!("The number of exported {methods} exceeds {METHODS_MAX}.");
        return Err(invalid("export section", detail));
    }
    if names_bytes > METHOD_NAMES_BYTES_MAX {
        let detail = format!(
            "The sum of `<name>` lengths in exported {methods} exceeds {METHOD_NAMES_BYTES_MAX}."
        );
        return Err(invalid("export section", detail));
    }
    Ok(exports)
}

fn method_name(export: &str) -> Option<&str> {
    [
        "canister_update ",
        "canister_query ",
        "canister_composite_query ",
    ]
    .iter()
    .find_map(|prefix| export.strip_prefix(prefix))
}

fn record_export(exports: &mut Exports, name: &str) -> Result<(), ModuleError> {
    if let Some(method) = name.strip_prefix("canister_update ") {
        exports.updates.insert(method.to_owned());
    } else if let Some(method) = name.strip_prefix("canister_query ") {
        exports.queries.insert(method.to_owned());
    } else if let Some(method) = name.strip_prefix("canister_composite_query ") {
        exports.composite_queries.insert(method.to_owned());
    } else {
        let present = match SYSTEM_METHODS.iter().position(|system| *system == name) {
            Some(0) => &mut exports.init,
            Some(1) => &mut exports.pre_upgrade,
            Some(2) => &mut exports.post_upgrade,
            Some(3) => &mut exports.inspect_message,
            Some(4) => &mut exports.heartbeat,
            Some(5) => &mut exports.global_timer,
            Some(6) => &mut exports.low_wasm_memory,
            _ => {
                let detail =
                    format!("Exporting reserved function '{name}' with \"canister_\" prefix");
                return Err(invalid("export section", detail));
            }
        };
        *present = true;
    }
    Ok(())
}

fn check_data(sections: &Sections<'_>) -> Result<(), ModuleError> {
    let heap_bytes = sections.memory.map_or(0, |memory| memory.initial * 65_536);
    for segment in &sections.data {
        match segment {
            DataSegment::Passive(_) => {}
            DataSegment::Active(None, _) => {
                return Err(invalid(
                    "data section",
                    "Invalid offset expression in data segment.",
                ));
            }
            DataSegment::Active(Some(offset), bytes) => {
                if u64::from(*offset) + bytes.len() as u64 > heap_bytes {
                    return Err(ModuleError::Instrumentation(format!(
                        "Wasm module has invalid data segment of {} bytes at {offset}",
                        bytes.len()
                    )));
                }
            }
        }
    }
    Ok(())
}

fn check_globals(sections: &Sections<'_>) -> Result<(), ModuleError> {
    let defined = sections.global_types.len();
    if defined > GLOBALS_MAX {
        return Err(ModuleError::Invalid(format!(
            "Wasm module defined {defined} globals which exceeds the maximum number allowed {GLOBALS_MAX}."
        )));
    }
    for global in &sections.global_types {
        if matches!(global.content_type, ValType::Ref(_)) {
            let detail = format!("Unsupported global type: {:?}", global.content_type);
            return Err(invalid("global section", detail));
        }
    }
    Ok(())
}

fn check_functions(sections: &Sections<'_>) -> Result<(), ModuleError> {
    let defined = sections.function_types.len();
    if defined > FUNCTIONS_MAX {
        return Err(ModuleError::Invalid(format!(
            "Wasm module defined {defined} functions which exceeds the maximum number allowed {FUNCTIONS_MAX}."
        )));
    }
    for (index, body) in sections.bodies.iter().enumerate() {
        let decoding =
            |error| ModuleError::Invalid(format!("Failed to decode wasm module: {error}"));
        let size = body
            .get_operators_reader()
            .map_err(decoding)?
            .into_iter()
            .count();
        if size > FUNCTION_OPERATORS_MAX {
            return Err(ModuleError::Invalid(format!(
                "Wasm module contains a function at index {index} of size {size} that exceeds the maximum allowed size of {FUNCTION_OPERATORS_MAX}"
            )));
        }
    }
    Ok(())
}

fn check_custom_sections(sections: &Sections<'_>) -> Result<Vec<CustomSection>, ModuleError> {
    let mut found: Vec<CustomSection> = Vec::new();
    let mut total = 0;
    for (full_name, content) in &sections.custom {
        let Some((public, name)) = visibility(full_name)? else {
            continue;
        };
        if found.iter().any(|section| section.name == name) {
            let detail = format!("Invalid custom section: name {name} already exists");
            return Err(invalid("custom section", detail));
        }
        total += name.len() + content.len();
        if total > CUSTOM_SECTIONS_BYTES_MAX {
            let detail = format!(
                "Invalid custom sections: total size of the custom sections exceeds the maximum allowed: size {total} bytes, allowed {CUSTOM_SECTIONS_BYTES_MAX} bytes"
            );
            return Err(invalid("custom section", detail));
        }
        found.push(CustomSection {
            public,
            name: name.to_owned(),
            content: content.to_vec(),
        });
        if found.len() > CUSTOM_SECTIONS_MAX {
            return Err(ModuleError::Invalid(format!(
                "Wasm module defined {} custom sections which exceeds the maximum number allowed {CUSTOM_SECTIONS_MAX}.",
                found.len()
            )));
        }
    }
    Ok(found)
}

/// Returns whether the section is public and its name, or nothing for sections that are not `icp:`.
fn visibility(name: &str) -> Result<Option<(bool, &str)>, ModuleError> {
    if !name.starts_with("icp:") {
        return Ok(None);
    }
    if let Some(name) = name.strip_prefix("icp:public ") {
        return Ok(Some((true, name)));
    }
    if let Some(name) = name.strip_prefix("icp:private ") {
        return Ok(Some((false, name)));
    }
    let detail = if name == "icp:public" || name == "icp:private" {
        "'icp:' section names must have a space after the public/private scope".to_owned()
    } else {
        format!(
            "Invalid custom section: Custom section '{name}' has no public/private scope defined."
        )
    };
    Err(invalid("custom section", detail))
}
