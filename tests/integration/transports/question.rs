//! A row of the table: what is asked of one interface or of both, and what must come, as Candid text.

use std::collections::BTreeMap;
use std::fmt::Write;

use candid::idl_hash;
use candid::types::value::{IDLValue, VariantValue};
use candid::types::{Function, Type};
use candid::{IDLArgs, TypeEnv};
use candid_parser::parse_idl_args;
use candid_parser::utils::CandidSource;
use millrace_candid::BTC_DID;

/// One question to the official interface, to the typed one, or to both.
pub struct Row {
    /// What the row is about.
    pub about: &'static str,
    /// Asked of the official interface.
    pub official: Option<Question>,
    /// Asked of the typed interface.
    pub typed: Option<Question>,
}

/// A call and its outcome. A `$name` in the texts stands for what the chain says it is.
pub struct Question {
    /// The method; where the contract also has `<method>_query`, that is asked the same.
    pub method: &'static str,
    pub argument: Argument,
    pub outcome: Outcome,
}

pub enum Argument {
    /// A value of the method's type.
    Text(&'static str),
    /// Bytes that are none.
    Bytes(&'static [u8]),
}

/// What must come of a call. `$method` is the method's name without `bitcoin_`.
#[derive(Clone, Copy)]
pub enum Outcome {
    /// Exactly this value.
    Reply(&'static str),
    /// A rejection by the canister with exactly this text.
    Reject(&'static str),
    /// A trap of the canister with exactly this text.
    Trap(&'static str),
    /// A trap that says that the argument cannot be decoded, in the decoder's words.
    Undecodable,
}

/// What the names in the table's texts stand for.
#[derive(Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    pub fn set(&mut self, name: &str, text: impl Into<String>) {
        self.0.insert(name.to_owned(), text.into());
    }

    pub fn set_blob(&mut self, name: &str, bytes: &[u8]) {
        self.set(name, blob(bytes));
    }

    /// Puts what they stand for in place of all names.
    pub fn fill(&self, text: &str) -> String {
        self.fill_with(text, &[])
    }

    /// The same with some more names, of one call only.
    pub fn fill_with(&self, text: &str, more: &[(&str, &str)]) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = after.find(|c| !is_of_name(c)).unwrap_or(after.len());
            let (name, following) = after.split_at(end);
            let mut own = more.iter().filter(|(own, _)| *own == name);
            let value = match own.next() {
                Some((_, value)) => Some(*value),
                None => self.0.get(name).map(String::as_str),
            };
            filled.push_str(value.unwrap_or_else(|| panic!("nothing is called ${name}: {text}")));
            rest = following;
        }
        filled + rest
    }
}

/// Bytes as Candid text.
pub fn blob(bytes: &[u8]) -> String {
    let mut text = String::from("blob \"");
    for byte in bytes {
        write!(text, "\\{byte:02x}").expect("writing to a string succeeds");
    }
    text + "\""
}

/// The contract: its methods and their types.
pub struct Contract {
    types: TypeEnv,
    service: Type,
}

impl Contract {
    pub fn load() -> Self {
        let (types, service) = CandidSource::Text(BTC_DID)
            .load()
            .expect("a valid contract");
        Self {
            types,
            service: service.expect("the contract is a service"),
        }
    }

    /// The method and its query twin, those of both that there are.
    pub fn variants(&self, method: &str) -> Vec<String> {
        let names = [method.to_owned(), format!("{method}_query")];
        let known = self.types.as_service(&self.service).expect("a service");
        let variants: Vec<String> = names
            .into_iter()
            .filter(|name| known.iter().any(|(method, _)| method == name))
            .collect();
        assert!(!variants.is_empty(), "the contract has no method {method}");
        variants
    }

    fn function<'a>(&'a self, method: &'a str) -> &'a Function {
        self.types
            .get_method(&self.service, method)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub fn is_query(&self, method: &str) -> bool {
        self.function(method).is_query()
    }

    /// The bytes of an argument.
    pub fn encoded(&self, method: &str, text: &str) -> Vec<u8> {
        self.bytes(text, &self.function(method).args)
    }

    /// A reply as a value of the method's type.
    pub fn decoded(&self, method: &str, reply: &[u8]) -> Result<IDLArgs, String> {
        IDLArgs::from_bytes_with_types(reply, &self.types, &self.function(method).rets)
            .map(without_limits)
            .map_err(|error| format!("not of the contract's type: {error}"))
    }

    /// The reply that the text stands for, written and read again so that it compares with another.
    pub fn expected(&self, method: &str, text: &str) -> IDLArgs {
        let bytes = self.bytes(text, &self.function(method).rets);
        self.decoded(method, &bytes).expect("written with its type")
    }

    fn bytes(&self, text: &str, types: &[Type]) -> Vec<u8> {
        let shown = &text[..text.len().min(2_000)];
        parse_idl_args(text)
            .unwrap_or_else(|error| panic!("{shown}: {error}"))
            .to_bytes_with_types(&self.types, types)
            .unwrap_or_else(|error| panic!("{shown}: {error}"))
    }
}

/// Leaves out the figures of `get_status` that tell what the last heartbeats did: they differ between two
/// calls, and their type is checked by then.
fn without_limits(mut args: IDLArgs) -> IDLArgs {
    args.args.iter_mut().for_each(leave_out_limits);
    args
}

fn leave_out_limits(value: &mut IDLValue) {
    match value {
        IDLValue::Record(fields) => {
            fields.retain(|field| field.id.get_id() != idl_hash("limits"));
            for field in fields {
                leave_out_limits(&mut field.val);
            }
        }
        IDLValue::Variant(VariantValue(field, _)) => leave_out_limits(&mut field.val),
        _ => {}
    }
}
