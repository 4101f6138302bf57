//! The methods that callers see, by kind. Each decodes, calls the state and encodes.

mod admin;
mod feeding;
mod official;
mod reads;
mod sending;
