//! Runs one message.

use crate::engine::Engine;
use crate::input::Input;
use crate::output::Output;
use crate::state::CanisterState;

/// Runs one message and commits heap, globals and stable memory when it succeeds.
///
/// After a trap the state is exactly as before.
pub fn execute(_engine: &Engine, _state: &mut CanisterState, _input: Input) -> Output {
    unimplemented!()
}
