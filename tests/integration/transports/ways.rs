//! The ways into a canister, and what must come of a call on each.

use candid::Principal;
use ic_agent::{Agent, AgentError};
use millrace_client_canister::wire::{Failure, Forwarded};
use millrace_tests::setup::{Client, Setup};
use pocket_ic::RejectResponse;

use super::question::{Argument, Contract, Names, Outcome, Row};

/// Reject codes of the IC: the canister rejects, and the canister traps.
const REJECTED: u64 = 4;
const TRAPPED: u64 = 5;

/// A way into a canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A user's update call, through PocketIC's protocol.
    Update,
    /// A user's query call, through PocketIC's protocol.
    Query,
    /// Another canister's call, in replicated mode.
    Canister,
    /// Another canister's composite query.
    CompositeQuery,
    /// A user's update call through the IC's HTTP interface, with a certified answer.
    HttpUpdate,
    /// A user's query call through the IC's HTTP interface, with a signed answer.
    HttpQuery,
}

impl Way {
    /// Whether only queries can be asked so.
    const fn is_for_queries(self) -> bool {
        matches!(self, Self::Query | Self::CompositeQuery | Self::HttpQuery)
    }
}

/// A call of one method: a row's question with all names filled in.
pub struct Call {
    pub about: &'static str,
    pub method: String,
    pub is_query: bool,
    pub argument: Vec<u8>,
    outcome: Outcome,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub enum Observed {
    Reply(Vec<u8>),
    Reject { code: u64, text: String },
}

/// What must come.
enum Expected {
    Reply(String),
    Reject(String),
    Trap(String),
    Undecodable,
    /// `inspect_message` keeps it out.
    KeptOut,
}

/// The calls the rows stand for: each method and its query twin.
pub fn calls(contract: &Contract, names: &Names, rows: &[&Row]) -> Vec<Call> {
    let questions = rows.iter().copied().flat_map(|row| {
        let both = [&row.official, &row.typed];
        let questions = both.into_iter().flatten();
        questions.map(move |question| (row.about, question))
    });
    let mut calls = Vec::new();
    for (about, question) in questions {
        for method in contract.variants(question.method) {
            calls.push(Call {
                about,
                is_query: contract.is_query(&method),
                argument: match question.argument {
                    Argument::Text(text) => contract.encoded(&method, &names.fill(text)),
                    Argument::Bytes(bytes) => bytes.to_vec(),
                },
                outcome: question.outcome,
                method,
            });
        }
    }
    calls
}

impl Call {
    /// Whether it can be made so at all.
    pub fn can_go(&self, way: Way) -> bool {
        self.is_query || !way.is_for_queries()
    }

    /// Describes how what came differs from what must come; nothing if it does not.
    pub fn difference(
        &self,
        contract: &Contract,
        names: &Names,
        (way, caller): (Way, Principal),
        observed: &Observed,
    ) -> Option<String> {
        let caller = format!("principal \"{caller}\"");
        let expected = self.expected(names, &caller, way);
        let is_as_expected = match (&expected, observed) {
            (Expected::Reply(text), Observed::Reply(bytes)) => {
                contract.decoded(&self.method, bytes) == Ok(contract.expected(&self.method, text))
            }
            (Expected::Reject(wanted), Observed::Reject { code, text }) => {
                *code == REJECTED && text == wanted
            }
            (Expected::Trap(wanted), Observed::Reject { code, text }) => {
                *code == TRAPPED && text.contains(&format!("`ic0.trap` with message: '{wanted}'"))
            }
            (Expected::Undecodable, Observed::Reject { code, text }) => {
                *code == TRAPPED
                    && text.contains("`ic0.trap` with message: 'cannot decode the argument: ")
                    && text.contains("; see this canister's candid:service'")
            }
            (Expected::KeptOut, Observed::Reject { code, text }) => {
                *code == REJECTED && text.contains("rejected the message")
            }
            _ => false,
        };
        (!is_as_expected).then(|| {
            let found = match observed {
                Observed::Reply(bytes) => format!("{:?}", contract.decoded(&self.method, bytes)),
                Observed::Reject { code, text } => format!("reject {code}: {text}"),
            };
            format!(
                "{} ({} as {way:?}): {}",
                self.about,
                self.method,
                cut(&found)
            )
        })
    }

    /// What must come on this way. The official queries are for users alone: who asks them so that
    /// the answer is agreed upon is sent away.
    fn expected(&self, names: &Names, caller: &str, way: Way) -> Expected {
        let name = self.method.strip_prefix("bitcoin_").unwrap_or(&self.method);
        let filled = |text| names.fill_with(text, &[("caller", caller), ("method", name)]);
        let is_for_users = self.is_query && self.method.starts_with("bitcoin_");
        match way {
            Way::Update | Way::HttpUpdate if is_for_users => Expected::KeptOut,
            Way::Canister | Way::CompositeQuery if is_for_users && !self.is_undecodable() => {
                Expected::Reject(format!("{name} cannot be called in replicated mode"))
            }
            _ => match self.outcome {
                Outcome::Reply(text) => Expected::Reply(filled(text)),
                Outcome::Reject(text) => Expected::Reject(filled(text)),
                Outcome::Trap(text) => Expected::Trap(filled(text)),
                Outcome::Undecodable => Expected::Undecodable,
            },
        }
    }

    /// Arguments are decoded before anything else is looked at.
    fn is_undecodable(&self) -> bool {
        matches!(self.outcome, Outcome::Undecodable)
    }

    /// Makes the call through PocketIC's protocol.
    pub fn make(&self, setup: &Setup, client: &Client, way: Way) -> Observed {
        let anybody = Principal::anonymous();
        let (pic, canister) = (&setup.pic, setup.canister);
        let argument = self.argument.clone();
        match way {
            Way::Update => pic
                .update_call(canister, anybody, &self.method, argument)
                .into(),
            Way::Query => pic
                .query_call(canister, anybody, &self.method, argument)
                .into(),
            Way::Canister => client.forward(setup, &self.method, &argument, 0).into(),
            Way::CompositeQuery => client.forward_query(setup, &self.method, &argument).into(),
            Way::HttpUpdate | Way::HttpQuery => panic!("{way:?} needs an agent"),
        }
    }

    /// Makes the call through the IC's HTTP interface.
    pub async fn make_with(&self, agent: &Agent, canister: Principal, way: Way) -> Observed {
        let argument = self.argument.clone();
        let answer = if way == Way::HttpQuery {
            let query = agent.query(&canister, &self.method).with_arg(argument);
            query.call().await
        } else {
            let update = agent.update(&canister, &self.method).with_arg(argument);
            update.call_and_wait().await
        };
        match answer {
            Ok(reply) => Observed::Reply(reply),
            Err(
                AgentError::CertifiedReject { reject, .. }
                | AgentError::UncertifiedReject { reject, .. },
            ) => Observed::Reject {
                code: reject.reject_code as u64,
                text: reject.reject_message,
            },
            Err(error) => panic!("{} ({}): {error}", self.about, self.method),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(1_500).collect()
}

impl From<Result<Vec<u8>, RejectResponse>> for Observed {
    fn from(answer: Result<Vec<u8>, RejectResponse>) -> Self {
        match answer {
            Ok(reply) => Self::Reply(reply),
            Err(reject) => Self::Reject {
                code: reject.reject_code as u64,
                text: reject.reject_message,
            },
        }
    }
}

impl From<Forwarded> for Observed {
    fn from(forwarded: Forwarded) -> Self {
        match forwarded.result {
            Ok(reply) => Self::Reply(reply.into_vec()),
            Err(Failure::Rejected { code, message }) => Self::Reject {
                code: code.into(),
                text: message,
            },
            Err(Failure::Other(text)) => panic!("the client could not call: {text}"),
        }
    }
}
