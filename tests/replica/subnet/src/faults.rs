//! Faults to inject: what goes wrong, with which canister, and when.
//!
//! A fault waits with its canister until something it fits happens: a message is executed, a reply arrives,
//! a round begins. It lets `skip` of these pass and then strikes the next `times`. Whatever its kind, it never
//! strikes before the round `from_round`. Faults are part of the saved state.

use crate::error::RejectCode;
use crate::usage::MessageKind;
use candid::Principal;
use serde::{Deserialize, Serialize};

/// Faults that may wait at one time in a subnet.
pub const FAULTS_MAX: usize = 10_000;

/// Rounds that a reply may be delayed by.
pub const DELAY_ROUNDS_MAX: u64 = 1_000_000;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The n-th system call of a message, counted from 1, traps. A message that makes fewer ends well.
    TrapAtSystemCall(u64),
    /// A message may use this many instructions, if its limit is not lower.
    InstructionLimit(u64),
    /// A message finds that the subnet has no memory left.
    FullMemory,
    /// A reply to the canister's call never arrives.
    DropReply,
    /// A reply arrives this many rounds later.
    DelayReply(u64),
    /// A reply arrives a second time in the next round; the second one carries no cycles.
    DuplicateReply,
    /// A reply is replaced by a rejection; what the callee did stays done.
    RejectReply {
        /// Reject code, by its name.
        code: RejectCode,
        /// Text.
        message: String,
    },
    /// A heartbeat or timer of the canister does not run in a round, as under load; which of them,
    /// `message` says. A timer stays due.
    SkipTask,
    /// In a round the canister is upgraded to the module it has, with this argument.
    Upgrade(#[serde(with = "serde_bytes", default)] Vec<u8>),
    /// In a round the canister is told to stop.
    Stop,
    /// In a round the canister is started.
    Start,
    /// At the beginning of a round the canister's balance becomes this.
    SetCycles(u64),
}

/// What a fault fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    Message,
    Task,
    Reply,
    Round,
}

impl FaultKind {
    const fn occasion(&self) -> Occasion {
        match self {
            Self::TrapAtSystemCall(_) | Self::InstructionLimit(_) | Self::FullMemory => {
                Occasion::Message
            }
            Self::SkipTask => Occasion::Task,
            Self::DropReply
            | Self::DelayReply(_)
            | Self::DuplicateReply
            | Self::RejectReply { .. } => Occasion::Reply,
            Self::Upgrade(_) | Self::Stop | Self::Start | Self::SetCycles(_) => Occasion::Round,
        }
    }
}

/// A fault, and when it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The canister it strikes.
    pub canister: Principal,
    /// What goes wrong.
    pub kind: FaultKind,
    /// The first round it may strike in; 0 for any.
    #[serde(default)]
    pub from_round: u64,
    /// Only messages of this kind; any when absent. For faults of messages and tasks.
    #[serde(default)]
    pub message: Option<MessageKind>,
    /// Only messages of this method; any when absent. For faults of messages.
    #[serde(default)]
    pub method: Option<String>,
    /// Only replies of this canister; any when absent. For faults of replies.
    #[serde(default)]
    pub callee: Option<Principal>,
    /// How many fitting messages, replies or rounds pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// How many it strikes then; at least 1.
    #[serde(default = "once")]
    pub times: u64,
}

const fn once() -> u64 {
    1
}

impl Fault {
    /// Returns a fault that strikes the next fitting message, reply or round of the canister, once.
    #[must_use]
    pub const fn new(canister: Principal, kind: FaultKind) -> Self {
        Self {
            canister,
            kind,
            from_round: 0,
            message: None,
            method: None,
            callee: None,
            skip: 0,
            times: 1,
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    /// [`FaultError`] naming the value.
    pub fn check(&self) -> Result<(), FaultError> {
        let occasion = self.kind.occasion();
        if self.times == 0 {
            return Err(FaultError::NoTimes);
        }
        let has_kind = matches!(occasion, Occasion::Message | Occasion::Task);
        let has_method = occasion == Occasion::Message;
        if (!has_kind && self.message.is_some()) || (!has_method && self.method.is_some()) {
            return Err(FaultError::NotOfMessages);
        }
        if occasion != Occasion::Reply && self.callee.is_some() {
            return Err(FaultError::NotOfReplies);
        }
        match self.kind {
            FaultKind::TrapAtSystemCall(0) => Err(FaultError::SystemCallZero),
            FaultKind::DelayReply(rounds) if rounds == 0 || rounds > DELAY_ROUNDS_MAX => {
                Err(FaultError::Delay { rounds })
            }
            _ => Ok(()),
        }
    }
}

/// Why a fault cannot be injected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// It would never strike.
    #[error("times is 0: a fault strikes at least once")]
    NoTimes,
    /// It asks for a message, and strikes none.
    #[error("message and method choose among messages, and this kind of fault strikes none")]
    NotOfMessages,
    /// It asks for a callee, and strikes no reply.
    #[error("callee chooses among replies, and this kind of fault strikes none")]
    NotOfReplies,
    /// System calls are counted from 1.
    #[error("trap_at_system_call is 0: system calls are counted from 1")]
    SystemCallZero,
    /// The delay is none, or too long.
    #[error("delay_reply is {rounds} rounds, allowed are 1 to {DELAY_ROUNDS_MAX}")]
    Delay {
        /// Given value.
        rounds: u64,
    },
    /// Too many faults wait.
    #[error("{given} faults would wait, at most {FAULTS_MAX} may: clear those that struck")]
    TooMany {
        /// Number with those asked for.
        given: usize,
    },
}

/// A fault with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStatus {
    /// The fault.
    pub fault: Fault,
    /// Fitting messages, replies or rounds seen, struck or not.
    pub seen: u64,
    /// How often it struck.
    pub struck: u64,
}

/// The faults of one canister, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults(Vec<FaultStatus>);

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        self.0.push(FaultStatus {
            fault,
            seen: 0,
            struck: 0,
        });
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FaultStatus> {
        self.0.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns what goes wrong with a message about to be executed: every fault that strikes.
    pub(crate) fn of_message(
        &mut self,
        round: u64,
        kind: MessageKind,
        method: &str,
    ) -> Vec<FaultKind> {
        self.strike(round, Occasion::Message, |fault| {
            fault.message.is_none_or(|wanted| wanted == kind)
                && fault.method.as_ref().is_none_or(|wanted| wanted == method)
        })
    }

    /// Returns whether a due heartbeat or timer is not to run in this round.
    pub(crate) fn of_task(&mut self, round: u64, kind: MessageKind) -> bool {
        let struck = self.strike(round, Occasion::Task, |fault| {
            fault.message.is_none_or(|wanted| wanted == kind)
        });
        !struck.is_empty()
    }

    /// Returns what goes wrong with a reply: the first fault that strikes, because a reply has one fate.
    pub(crate) fn of_reply(&mut self, round: u64, respondent: &Principal) -> Option<FaultKind> {
        let struck = self.strike(round, Occasion::Reply, |fault| {
            fault.callee.is_none_or(|wanted| wanted == *respondent)
        });
        struck.into_iter().next()
    }

    /// Returns what happens to the canister in a round.
    pub(crate) fn of_round(&mut self, round: u64) -> Vec<FaultKind> {
        self.strike(round, Occasion::Round, |_| true)
    }

    fn strike(
        &mut self,
        round: u64,
        occasion: Occasion,
        fits: impl Fn(&Fault) -> bool,
    ) -> Vec<FaultKind> {
        let mut kinds = Vec::new();
        for status in &mut self.0 {
            let fault = &status.fault;
            let is_over = status.struck >= fault.times;
            if is_over
                || round < fault.from_round
                || fault.kind.occasion() != occasion
                || !fits(fault)
            {
                continue;
            }
            status.seen += 1;
            if status.seen > fault.skip {
                status.struck += 1;
                kinds.push(fault.kind.clone());
            }
        }
        kinds
    }
}
