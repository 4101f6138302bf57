//! The sections of a module, as readers, and what validation and instrumentation ask of them.

use std::ops::Range;

use wasmparser::{
    CompositeInnerType, ConstExpr, DataKind, DataSectionReader, ElementSectionReader, Export,
    ExportSectionReader, ExternalKind, FuncType, FunctionBody, FunctionSectionReader,
    GlobalSectionReader, GlobalType, Import, ImportSectionReader, MemorySectionReader, MemoryType,
    Operator, Parser, Payload, Result, TableSectionReader, TypeRef, TypeSectionReader,
};

/// An active data segment of the heap: applied when a canister is installed, not by wasmtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActiveData {
    /// First byte in the heap.
    pub offset: u32,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A data segment as declared.
#[derive(Clone, Debug)]
pub(crate) enum DataSegment<'a> {
    /// Used by `memory.init`.
    Passive(&'a [u8]),
    /// Written at a constant offset; `None` when the offset is not a plain `i32.const`.
    Active(Option<u32>, &'a [u8]),
}

/// A module's sections. Holds for modules wasmtime has validated.
#[derive(Default)]
pub(crate) struct Sections<'a> {
    pub types: Option<TypeSectionReader<'a>>,
    pub imports: Option<ImportSectionReader<'a>>,
    pub functions: Option<FunctionSectionReader<'a>>,
    pub tables: Option<TableSectionReader<'a>>,
    pub memories: Option<MemorySectionReader<'a>>,
    pub globals: Option<GlobalSectionReader<'a>>,
    pub exports: Option<ExportSectionReader<'a>>,
    pub elements: Option<ElementSectionReader<'a>>,
    pub start: Option<u32>,
    pub bodies: Vec<FunctionBody<'a>>,
    pub data: Vec<DataSegment<'a>>,
    pub has_data_count: bool,
    pub custom: Vec<(&'a str, &'a [u8])>,
    /// Function types by type index.
    pub func_types: Vec<FuncType>,
    /// Imports in order.
    pub import_list: Vec<Import<'a>>,
    /// Type index per defined function.
    pub function_types: Vec<u32>,
    pub global_types: Vec<GlobalType>,
    pub memory: Option<MemoryType>,
    pub table_count: u32,
    pub export_list: Vec<Export<'a>>,
}

impl<'a> Sections<'a> {
    /// Reads the sections of `wasm`.
    ///
    /// # Errors
    /// When a section cannot be decoded.
    pub(crate) fn parse(wasm: &'a [u8]) -> Result<Self> {
        let mut sections = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            sections.take(payload?)?;
        }
        Ok(sections)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(reader) => self.take_types(reader)?,
            Payload::ImportSection(reader) => {
                self.import_list = reader.clone().into_imports().collect::<Result<_>>()?;
                self.imports = Some(reader);
            }
            Payload::FunctionSection(reader) => {
                self.function_types = reader.clone().into_iter().collect::<Result<_>>()?;
                self.functions = Some(reader);
            }
            Payload::TableSection(reader) => {
                self.table_count = reader.count();
                self.tables = Some(reader);
            }
            Payload::MemorySection(reader) => {
                self.memory = reader.clone().into_iter().next().transpose()?;
                self.memories = Some(reader);
            }
            Payload::GlobalSection(reader) => {
                for global in reader.clone() {
                    self.global_types.push(global?.ty);
                }
                self.globals = Some(reader);
            }
            Payload::ExportSection(reader) => {
                self.export_list = reader.clone().into_iter().collect::<Result<_>>()?;
                self.exports = Some(reader);
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(reader) => self.elements = Some(reader),
            Payload::DataCountSection { .. } => self.has_data_count = true,
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::DataSection(reader) => self.take_data(reader)?,
            Payload::CustomSection(reader) => self.custom.push((reader.name(), reader.data())),
            _ => {}
        }
        Ok(())
    }

    fn take_types(&mut self, reader: TypeSectionReader<'a>) -> Result<()> {
        for group in reader.clone() {
            for ty in group?.into_types() {
                // wasmtime has refused everything but function types already.
                if let CompositeInnerType::Func(func) = ty.composite_type.inner {
                    self.func_types.push(func);
                }
            }
        }
        self.types = Some(reader);
        Ok(())
    }

    fn take_data(&mut self, reader: DataSectionReader<'a>) -> Result<()> {
        for segment in reader {
            let segment = segment?;
            self.data.push(match segment.kind {
                DataKind::Passive => DataSegment::Passive(segment.data),
                DataKind::Active { offset_expr, .. } => {
                    DataSegment::Active(constant_offset(&offset_expr)?, segment.data)
                }
            });
        }
        Ok(())
    }

    /// Returns the number of imported functions.
    pub(crate) fn imported_functions(&self) -> u32 {
        let count = self
            .import_list
            .iter()
            .filter(|i| matches!(i.ty, TypeRef::Func(_)))
            .count();
        u32::try_from(count).expect("wasmtime bounds the number of imports")
    }

    /// Returns the type of a function by its index, imported ones first.
    pub(crate) fn function_type(&self, index: u32) -> Option<&FuncType> {
        let imported = self
            .import_list
            .iter()
            .filter_map(|import| match import.ty {
                TypeRef::Func(ty) => Some(ty),
                _ => None,
            });
        let type_index = imported
            .chain(self.function_types.iter().copied())
            .nth(index as usize)?;
        self.func_types.get(type_index as usize)
    }

    /// Returns the table callbacks are looked up in: the exported one, or the first.
    pub(crate) fn callback_table(&self) -> Option<u32> {
        let exported = self
            .export_list
            .iter()
            .rev()
            .find(|e| e.kind == ExternalKind::Table);
        exported
            .map(|e| e.index)
            .or((self.table_count > 0).then_some(0))
    }
}

fn constant_offset(expression: &ConstExpr<'_>) -> Result<Option<u32>> {
    let mut operators = expression.get_operators_reader();
    Ok(match (operators.read()?, operators.read()?) {
        (Operator::I32Const { value }, Operator::End) => Some(value.cast_unsigned()),
        _ => None,
    })
}

/// Returns the byte range of the code section, for its size limit.
///
/// # Errors
/// When a section before it cannot be decoded.
pub(crate) fn code_section(wasm: &[u8]) -> Result<Option<Range<usize>>> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionStart { range, .. } = payload? {
            return Ok(Some(range));
        }
    }
    Ok(None)
}
