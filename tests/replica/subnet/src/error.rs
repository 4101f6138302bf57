//! The IC's reject codes and error codes, and the error every user-visible operation returns.

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($name:ident = $value:literal,)*) => {
        /// Reason of a rejection, by the IC's variant names and numbers.
        ///
        /// The hundreds digit is the reject code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "the names are the IC's and explain themselves")]
        pub enum ErrorCode {
            $($name = $value,)*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the IC's variant name, for example `CanisterCalledTrap`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

error_codes! {
    SubnetOversubscribed = 101,
    MaxNumberOfCanistersReached = 102,
    CanisterQueueFull = 201,
    IngressMessageTimeout = 202,
    CanisterQueueNotEmpty = 203,
    IngressHistoryFull = 204,
    CanisterIdAlreadyExists = 205,
    StopCanisterRequestTimeout = 206,
    CanisterOutOfCycles = 207,
    CertifiedStateUnavailable = 208,
    CanisterInstallCodeRateLimited = 209,
    CanisterHeapDeltaRateLimited = 210,
    CanisterNotFound = 301,
    CanisterSnapshotNotFound = 305,
    InsufficientMemoryAllocation = 402,
    InsufficientCyclesForCreateCanister = 403,
    SubnetNotFound = 404,
    CanisterNotHostedBySubnet = 405,
    CanisterRejectedMessage = 406,
    UnknownManagementMessage = 407,
    InvalidManagementPayload = 408,
    CanisterSnapshotImmutable = 409,
    CanisterTrapped = 502,
    CanisterCalledTrap = 503,
    CanisterContractViolation = 504,
    CanisterInvalidWasm = 505,
    CanisterDidNotReply = 506,
    CanisterOutOfMemory = 507,
    CanisterStopped = 508,
    CanisterStopping = 509,
    CanisterNotStopped = 510,
    CanisterStoppingCancelled = 511,
    CanisterInvalidController = 512,
    CanisterFunctionNotFound = 513,
    CanisterNonEmpty = 514,
    QueryCallGraphLoopDetected = 517,
    InsufficientCyclesInCall = 520,
    CanisterWasmEngineError = 521,
    CanisterInstructionLimitExceeded = 522,
    CanisterMemoryAccessLimitExceeded = 524,
    QueryCallGraphTooDeep = 525,
    QueryCallGraphTotalInstructionLimitExceeded = 526,
    CompositeQueryCalledInReplicatedMode = 527,
    QueryTimeLimitExceeded = 528,
    QueryCallGraphInternal = 529,
    InsufficientCyclesInComputeAllocation = 530,
    InsufficientCyclesInMemoryAllocation = 531,
    InsufficientCyclesInMemoryGrow = 532,
    ReservedCyclesLimitExceededInMemoryAllocation = 533,
    ReservedCyclesLimitExceededInMemoryGrow = 534,
    InsufficientCyclesInMessageMemoryGrow = 535,
    CanisterMethodNotFound = 536,
    CanisterWasmModuleNotFound = 537,
    CanisterAlreadyInstalled = 538,
    CanisterWasmMemoryLimitExceeded = 539,
    ReservedCyclesLimitIsTooLow = 540,
    DeadlineExpired = 601,
    ResponseDropped = 602,
}

impl ErrorCode {
    /// Returns the number, 101 to 602.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Returns the class of the error, which canisters see as `msg_reject_code`.
    #[must_use]
    pub const fn reject_code(self) -> RejectCode {
        match self.number() / 100 {
            1 => RejectCode::SysFatal,
            2 => RejectCode::SysTransient,
            3 => RejectCode::DestinationInvalid,
            4 => RejectCode::CanisterReject,
            5 => RejectCode::CanisterError,
            _ => RejectCode::SysUnknown,
        }
    }

    /// Returns the code with this variant name, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

/// Class of a rejection (interface specification, "Reject codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RejectCode {
    /// Fatal system error; a retry is unlikely to help.
    SysFatal = 1,
    /// Transient system error; a retry may help.
    SysTransient = 2,
    /// The destination does not exist.
    DestinationInvalid = 3,
    /// The callee rejected the call.
    CanisterReject = 4,
    /// The callee failed.
    CanisterError = 5,
    /// The outcome is unknown: a best-effort call passed its deadline or its response was dropped.
    SysUnknown = 6,
}

impl RejectCode {
    /// Returns the number that canisters and agents see, 1 to 6.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the class with this number, or `None`.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::SysFatal,
            2 => Self::SysTransient,
            3 => Self::DestinationInvalid,
            4 => Self::CanisterReject,
            5 => Self::CanisterError,
            6 => Self::SysUnknown,
            _ => return None,
        })
    }

    /// Returns the IC's variant name, for example `CanisterError`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SysFatal => "SysFatal",
            Self::SysTransient => "SysTransient",
            Self::DestinationInvalid => "DestinationInvalid",
            Self::CanisterReject => "CanisterReject",
            Self::CanisterError => "CanisterError",
            Self::SysUnknown => "SysUnknown",
        }
    }
}

/// A rejection as users see it: code and the IC's wording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}: {message}", .code.name())]
pub struct UserError {
    /// Reason; the reject code derives from it.
    pub code: ErrorCode,
    /// The IC's wording, naming the offending value.
    pub message: String,
}

impl UserError {
    /// Returns an error with this code and wording.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// Returns the class of the error.
    #[must_use]
    pub const fn reject_code(&self) -> RejectCode {
        self.code.reject_code()
    }
}

/// Why an administrative operation on the network failed (nothing changed).
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No canister has this id.
    #[error("canister {0} not found")]
    CanisterNotFound(candid::Principal),
    /// The canister exists but holds no module, so it has no stable memory.
    #[error("canister {0} has no code installed")]
    CanisterIsEmpty(candid::Principal),
    /// No subnet has this id.
    #[error("subnet {0} not found")]
    SubnetNotFound(candid::Principal),
    /// Time only moves forward.
    #[error(
        "cannot set the time to {requested_ns} ns, which is before the current time {current_ns} ns"
    )]
    TimeInPast {
        /// What was asked for.
        requested_ns: u64,
        /// The network's time.
        current_ns: u64,
    },
    /// Times that far in the future do not leave room for deadlines.
    #[error(
        "cannot set the time to {requested_ns} ns, which is after the latest time {limit_ns} ns"
    )]
    TimeTooLate {
        /// What was asked for.
        requested_ns: u64,
        /// The latest time.
        limit_ns: u64,
    },
    /// A subnet specification cannot be used.
    #[error("invalid subnet specification: {0}")]
    InvalidSubnet(String),
    /// Stable memory does not fit the canister, or is too large to be read in one piece.
    #[error("stable memory of {bytes} bytes exceeds the limit of {limit} bytes")]
    StableMemoryTooLarge {
        /// Size asked for.
        bytes: u64,
        /// Largest size.
        limit: u64,
    },
    /// The host could not provide or read memory.
    #[error("memory of canister {canister}: {source}")]
    Host {
        /// Canister in question.
        canister: candid::Principal,
        /// What went wrong.
        source: millrace_vm::StateError,
    },
    /// The message was not answered within the given number of rounds.
    #[error("failed to answer to ingress {message} after {rounds} rounds")]
    NotAnswered {
        /// Message in question.
        message: String,
        /// Rounds executed.
        rounds: u32,
    },
    /// No such message was submitted.
    #[error("no ingress message {0}")]
    UnknownIngress(String),
    /// No management call waits under this callback id.
    #[error("no management call waits for a consensus response under callback {0}")]
    UnknownConsensusCall(u64),
    /// The call that waits asks for something else than blocks.
    #[error(
        "the management call under callback {0} does not ask for blocks: answer it with a plain reply"
    )]
    NotAskedForBlocks(u64),
    /// The replicas of a subnet crashed: no round is executed there any more.
    #[error("{0}")]
    Crashed(Box<crate::crash::Crash>),
    /// A fault cannot be injected.
    #[error("invalid fault: {0}")]
    Fault(#[from] crate::faults::FaultError),
    /// The responses to an outcall are neither one for all nodes nor one for each. The variant's name in
    /// PocketIC is part of the text, because tests expect it.
    #[error(
        "{given} responses for the {nodes} nodes of the subnet: give one for all or one for each (InvalidMockCanisterHttpResponses(({given}, {nodes})))"
    )]
    OutcallResponses {
        /// Number of responses.
        given: usize,
        /// Nodes of the subnet.
        nodes: u64,
    },
    /// An answer for all nodes was given to an outcall that wants one of each node of its committee.
    #[error(
        "outcall {0} is flexible: answer it with mock_flexible_canister_http_response, one response per node"
    )]
    OutcallIsFlexible(u64),
    /// Responses of a committee were given to an outcall that has none.
    #[error("outcall {0} is not flexible: answer it with mock_canister_http_response")]
    OutcallIsNotFlexible(u64),
    /// More responses than nodes of the committee.
    #[error(
        "{given} responses of a committee of {committee} nodes: give at most one response per node"
    )]
    CommitteeResponses {
        /// Number of responses.
        given: usize,
        /// Nodes of the committee.
        committee: u32,
    },
    /// The operation is refused as the same management call would be.
    #[error(transparent)]
    Refused(#[from] UserError),
    /// A snapshot could not be written into or read from a folder.
    #[error("snapshot folder: {path}: {reason}")]
    SnapshotFolder {
        /// File or folder.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Saved state could not be written or read.
    #[error("saved state in {path}: {reason}")]
    SavedState {
        /// File or folder.
        path: std::path::PathBuf,
        /// What went wrong and what to do.
        reason: String,
    },
}
