//! Rewrites a valid module so that it counts instructions and asks before its heap grows.
//!
//! The result imports two functions of module `__` ahead of all others, counts in an exported
//! global, exports what the host needs under names of its own, and has neither a start function
//! nor active data: both belong to installation, while an instance lives for one message.

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection,
    Instruction, MemorySection, Module, TableSection, TypeSection, ValType,
};
use wasmparser::{ExternalKind, FunctionBody, Operator, TypeRef};

use super::metering::{Injected, charge_amount_body, charge_points, emit_charge};
use super::parse::{ActiveData, DataSegment, Sections};

/// Module name of the injected imports.
pub(crate) const HOST_MODULE: &str = "__";
/// Called when the counter is below the watermark; traps below zero.
pub(crate) const OUT_OF_INSTRUCTIONS: &str = "out_of_instructions";
/// Replaces `memory.grow`.
pub(crate) const GROW_HEAP: &str = "grow_heap";
/// Export of the instruction counter.
pub(crate) const COUNTER: &str = "__counter";
/// Export of the global that the counter is compared with.
pub(crate) const WATERMARK: &str = "__watermark";
/// Export of the heap.
pub(crate) const HEAP: &str = "__heap";
/// Export of the table callbacks are looked up in.
pub(crate) const TABLE: &str = "__table";
/// Export of the start function.
pub(crate) const START: &str = "__start";

const OUT_OF_INSTRUCTIONS_INDEX: u32 = 0;
const GROW_HEAP_INDEX: u32 = 1;
/// Imports ahead of the module's own, by which its function indices are shifted.
pub(crate) const INJECTED_IMPORTS: u32 = 2;

/// Returns the export name of the mutable global with this index.
pub(crate) fn global_export(index: u32) -> String {
    format!("__global_{index}")
}

/// An instrumented module.
pub(crate) struct Instrumented {
    /// The module for wasmtime.
    pub wasm: Vec<u8>,
    /// Indices of the mutable globals, each exported as [`global_export`].
    pub mutable_globals: Vec<u32>,
    /// The heap's initial content.
    pub data: Vec<ActiveData>,
    /// Operators of all functions and global initialisers, as the IC charges compilation.
    pub operators: u64,
}

/// Rewrites a module that passed validation.
///
/// # Errors
/// When a section cannot be decoded.
pub(crate) fn instrument(sections: &Sections<'_>) -> Result<Instrumented, Error> {
    Rewriter::new(sections).run()
}

struct ShiftFunctions;

impl Reencode for ShiftFunctions {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(index + INJECTED_IMPORTS)
    }
}

struct Rewriter<'s, 'a> {
    sections: &'s Sections<'a>,
    injected: Injected,
    operators: u64,
}

impl<'s, 'a> Rewriter<'s, 'a> {
    fn new(sections: &'s Sections<'a>) -> Self {
        let globals = u32::try_from(sections.global_types.len()).expect("bounded by validation");
        let defined = u32::try_from(sections.function_types.len()).expect("bounded by validation");
        let injected = Injected {
            counter: globals,
            watermark: globals + 1,
            out_of_instructions: OUT_OF_INSTRUCTIONS_INDEX,
            charge_amount: INJECTED_IMPORTS + sections.imported_functions() + defined,
        };
        Self {
            sections,
            injected,
            operators: 2 * u64::from(globals),
        }
    }

    fn run(mut self) -> Result<Instrumented, Error> {
        let mut module = Module::new();
        self.types_imports_and_functions(&mut module)?;
        self.tables_and_memories(&mut module)?;
        self.globals(&mut module)?;
        let mutable_globals = self.exports(&mut module)?;
        self.elements(&mut module)?;
        if self.sections.has_data_count {
            let count = u32::try_from(self.sections.data.len()).expect("bounded by validation");
            module.section(&DataCountSection { count });
        }
        self.code(&mut module)?;
        let data = self.data(&mut module);
        Ok(Instrumented {
            wasm: module.finish(),
            mutable_globals,
            data,
            operators: self.operators,
        })
    }

    fn types_imports_and_functions(&self, module: &mut Module) -> Result<(), Error> {
        let mut types = TypeSection::new();
        if let Some(reader) = &self.sections.types {
            ShiftFunctions.parse_type_section(&mut types, reader.clone())?;
        }
        let first = types.len();
        types.ty().function([], []);
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([ValType::I64], [ValType::I64]);
        module.section(&types);

        let mut imports = ImportSection::new();
        imports.import(
            HOST_MODULE,
            OUT_OF_INSTRUCTIONS,
            EntityType::Function(first),
        );
        imports.import(HOST_MODULE, GROW_HEAP, EntityType::Function(first + 1));
        for import in &self.sections.import_list {
            if let TypeRef::Func(ty) = import.ty {
                imports.import(import.module, import.name, EntityType::Function(ty));
            }
        }
        module.section(&imports);

        let mut functions = FunctionSection::new();
        if let Some(reader) = &self.sections.functions {
            ShiftFunctions.parse_function_section(&mut functions, reader.clone())?;
        }
        functions.function(first + 2);
        module.section(&functions);
        Ok(())
    }

    fn tables_and_memories(&self, module: &mut Module) -> Result<(), Error> {
        if let Some(reader) = &self.sections.tables {
            let mut tables = TableSection::new();
            ShiftFunctions.parse_table_section(&mut tables, reader.clone())?;
            module.section(&tables);
        }
        if let Some(reader) = &self.sections.memories {
            let mut memories = MemorySection::new();
            ShiftFunctions.parse_memory_section(&mut memories, reader.clone())?;
            module.section(&memories);
        }
        Ok(())
    }

    fn globals(&self, module: &mut Module) -> Result<(), Error> {
        let mut globals = GlobalSection::new();
        if let Some(reader) = &self.sections.globals {
            ShiftFunctions.parse_global_section(&mut globals, reader.clone())?;
        }
        let counter = GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        };
        globals.global(counter, &ConstExpr::i64_const(0));
        globals.global(counter, &ConstExpr::i64_const(0));
        module.section(&globals);
        Ok(())
    }

    /// Exports the IC's entry points and what the host reads; nothing else is reachable anyway.
    fn exports(&self, module: &mut Module) -> Result<Vec<u32>, Error> {
        let mut exports = ExportSection::new();
        for export in &self.sections.export_list {
            if export.kind == ExternalKind::Func && export.name.starts_with("canister_") {
                let index = ShiftFunctions.function_index(export.index)?;
                exports.export(export.name, ExportKind::Func, index);
            }
        }
        exports.export(COUNTER, ExportKind::Global, self.injected.counter);
        exports.export(WATERMARK, ExportKind::Global, self.injected.watermark);
        if self.sections.memory.is_some() {
            exports.export(HEAP, ExportKind::Memory, 0);
        }
        if let Some(table) = self.sections.callback_table() {
            exports.export(TABLE, ExportKind::Table, table);
        }
        if let Some(start) = self.sections.start {
            exports.export(
                START,
                ExportKind::Func,
                ShiftFunctions.function_index(start)?,
            );
        }
        let mutable: Vec<u32> = (0_u32..)
            .zip(&self.sections.global_types)
            .filter_map(|(index, ty)| ty.mutable.then_some(index))
            .collect();
        for index in &mutable {
            exports.export(&global_export(*index), ExportKind::Global, *index);
        }
        module.section(&exports);
        Ok(mutable)
    }

    fn elements(&self, module: &mut Module) -> Result<(), Error> {
        if let Some(reader) = &self.sections.elements {
            let mut elements = ElementSection::new();
            ShiftFunctions.parse_element_section(&mut elements, reader.clone())?;
            module.section(&elements);
        }
        Ok(())
    }

    fn code(&mut self, module: &mut Module) -> Result<(), Error> {
        let mut code = CodeSection::new();
        for body in &self.sections.bodies {
            code.function(&self.body(body)?);
        }
        code.function(&charge_amount_body(&self.injected));
        module.section(&code);
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<Function, Error> {
        let operators: Vec<Operator<'_>> = body
            .get_operators_reader()?
            .into_iter()
            .collect::<Result<_, _>>()?;
        self.operators += operators.len() as u64;
        let mut function = ShiftFunctions.new_function_with_parsed_locals(body)?;
        let mut points = charge_points(&operators).into_iter().peekable();
        for (position, operator) in operators.into_iter().enumerate() {
            while let Some(point) = points.next_if(|point| point.position == position) {
                emit_charge(&mut function, point.charge, &self.injected);
            }
            if matches!(operator, Operator::MemoryGrow { .. }) {
                function.instruction(&Instruction::Call(GROW_HEAP_INDEX));
            } else {
                function.instruction(&ShiftFunctions.instruction(operator)?);
            }
        }
        debug_assert!(points.next().is_none(), "every charge precedes an operator");
        Ok(function)
    }

    /// Keeps passive segments; active ones stay as empty segments so that indices do not move.
    fn data(&self, module: &mut Module) -> Vec<ActiveData> {
        let mut active = Vec::new();
        let mut data = DataSection::new();
        for segment in &self.sections.data {
            match segment {
                DataSegment::Passive(bytes) => {
                    data.passive(bytes.iter().copied());
                }
                DataSegment::Active(offset, bytes) => {
                    let offset = offset.expect("validation refuses other offsets");
                    active.push(ActiveData {
                        offset,
                        bytes: bytes.to_vec(),
                    });
                    data.passive([]);
                }
            }
        }
        if !self.sections.data.is_empty() {
            module.section(&data);
        }
        active
    }
}
