//! What happens to a module's bytes before wasmtime compiles them: parse, validate, instrument.

pub(crate) mod cost;
pub(crate) mod instrument;
pub(crate) mod metering;
pub(crate) mod parse;
pub(crate) mod validate;
