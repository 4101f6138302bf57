//! Calls of the canister's methods, and what their failures mean.

use candid::{CandidType, Principal};
use millrace_sim::subject::Trap;
use millrace_subnet::{ErrorCode, UserError};
use serde::de::DeserializeOwned;

use crate::replica::{Ran, Trouble, controller, decode_reply};
use crate::subject::Wasm;

impl Wasm {
    /// Makes an update call. A rejection is the inner error; that the method trapped is one only where
    /// `may_trap` says so.
    pub(crate) fn update(
        &mut self,
        sender: Principal,
        method: &'static str,
        argument: &impl CandidType,
        may_trap: bool,
    ) -> Result<Result<Vec<u8>, UserError>, Trap> {
        let trouble = self.trouble();
        let heap = self.replica.heap_bytes();
        let called = self.replica.update(sender, method, argument, &trouble);
        let (mut answer, mut ran) = called.map_err(Trap::Own)?;
        if ran.as_ref().is_some_and(Ran::is_lost_to_full) {
            let trouble = Trouble::default();
            let again = self.replica.update(sender, method, argument, &trouble);
            let again = again.map_err(Trap::Own)?;
            if self.replica.heap_bytes() > heap {
                self.notes.push(("fault", "HeapHeld"));
                (answer, ran) = again;
            }
        }
        let Some(ran) = ran else {
            // The ingress filter refused it.
            return Ok(answer);
        };
        let text = || format!("{method}: {:?}", answer.as_ref().err());
        match self.judge(&ran, text) {
            Err(Trap::Own(_)) if may_trap => Ok(answer),
            Err(trap) => Err(trap),
            Ok(()) => Ok(answer),
        }
    }

    /// Makes an update call that replies.
    pub(crate) fn call<R: CandidType + DeserializeOwned>(
        &mut self,
        sender: Principal,
        method: &'static str,
        argument: &impl CandidType,
    ) -> Result<Option<R>, Trap> {
        match self.update(sender, method, argument, false)? {
            Ok(reply) => decode_reply(method, &reply).map(Some).map_err(Trap::Own),
            Err(error) if is_refused(&error) => {
                self.notes.push(("ingress filter", method));
                Ok(None)
            }
            Err(error) => Err(Trap::Own(format!("{method}: {error}"))),
        }
    }

    /// Makes a query call that replies.
    ///
    /// # Panics
    /// When it traps, or replies with another type: nothing in a simulation reaches a query.
    pub(crate) fn ask<R: CandidType + DeserializeOwned>(
        &mut self,
        sender: Principal,
        method: &str,
        argument: &impl CandidType,
    ) -> R {
        let reply = self.replica.query(sender, method, argument);
        let reply = reply.map_err(|error| format!("{method}: {error}"));
        let reply = reply.and_then(|reply| decode_reply(method, &reply));
        reply.unwrap_or_else(|error| panic!("a query failed: {error}"))
    }

    pub(crate) fn read<R: CandidType + DeserializeOwned>(
        &mut self,
        method: &str,
        argument: &impl CandidType,
    ) -> R {
        self.ask(controller(), method, argument)
    }

    /// Makes a query call of the official interface, which rejects or traps with a text.
    pub(crate) fn official<R: CandidType + DeserializeOwned>(
        &mut self,
        method: &str,
        argument: &impl CandidType,
    ) -> Result<R, String> {
        let reply = self.replica.query(controller(), method, argument);
        let reply = reply.map_err(|error| own_text(&error.message))?;
        decode_reply(method, &reply)
    }
}

/// Whether the ingress filter refused a message.
fn is_refused(error: &UserError) -> bool {
    error.code == ErrorCode::CanisterRejectedMessage
}

/// Returns what the canister itself said, without the system's words around it.
fn own_text(message: &str) -> String {
    let said = message
        .split_once("with message: '")
        .and_then(|(_, rest)| rest.split_once('\''));
    said.map_or(message, |(said, _)| said).to_owned()
}
