//! A canister's input: ingress, and one queue per calling canister, taken in turns.

use crate::message::{CanisterMessage, Input, QueuedIngress, Request};
use crate::topology::CanisterId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Messages that wait for one canister.
///
/// Requests are bounded by the callers' outstanding calls, responses by this canister's own; ingress
/// by the limit of its queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputQueues {
    ingress: VecDeque<QueuedIngress>,
    /// Bytes of the users' messages.
    ingress_bytes: u64,
    from_canisters: BTreeMap<CanisterId, VecDeque<CanisterMessage>>,
    /// Senders with waiting messages, in the order of their turns.
    turns: VecDeque<CanisterId>,
    /// Whether the next message is taken from a canister rather than from users.
    canisters_next: bool,
}

impl InputQueues {
    pub(crate) fn is_empty(&self) -> bool {
        self.ingress.is_empty() && self.turns.is_empty()
    }

    /// Returns whether the canister still has messages or answers to process.
    pub(crate) fn has_canister_messages(&self) -> bool {
        !self.turns.is_empty()
    }

    pub(crate) fn ingress_len(&self) -> u64 {
        self.ingress.len() as u64
    }

    pub(crate) const fn ingress_bytes(&self) -> u64 {
        self.ingress_bytes
    }

    pub(crate) fn push_ingress(&mut self, message: QueuedIngress) {
        self.ingress_bytes = self.ingress_bytes.saturating_add(message.bytes());
        self.ingress.push_back(message);
    }

    pub(crate) fn push(&mut self, message: CanisterMessage) {
        let sender = match &message {
            CanisterMessage::Request(request) => request.sender,
            CanisterMessage::Response(response) => response.respondent,
        };
        let queue = self.from_canisters.entry(sender).or_default();
        if queue.is_empty() {
            self.turns.push_back(sender);
        }
        queue.push_back(message);
    }

    /// Removes the next message: users and canisters alternate, canisters take turns.
    pub(crate) fn pop(&mut self) -> Option<Input> {
        let from_canister = self.canisters_next || self.ingress.is_empty();
        self.canisters_next = !from_canister;
        if from_canister {
            self.pop_canister().or_else(|| self.pop_ingress())
        } else {
            self.pop_ingress().or_else(|| self.pop_canister())
        }
    }

    fn pop_ingress(&mut self) -> Option<Input> {
        let message = self.ingress.pop_front()?;
        self.ingress_bytes = self.ingress_bytes.saturating_sub(message.bytes());
        Some(Input::Ingress(message))
    }

    fn pop_canister(&mut self) -> Option<Input> {
        let sender = self.turns.pop_front()?;
        let queue = self.from_canisters.get_mut(&sender)?;
        let message = queue.pop_front()?;
        if queue.is_empty() {
            self.from_canisters.remove(&sender);
        } else {
            self.turns.push_back(sender);
        }
        Some(match message {
            CanisterMessage::Request(request) => Input::Request(request),
            CanisterMessage::Response(response) => Input::Response(response),
        })
    }

    /// Removes and returns ingress messages that expired before `now_ns`.
    pub(crate) fn expire_ingress(&mut self, now_ns: u64) -> Vec<QueuedIngress> {
        if self
            .ingress
            .iter()
            .all(|message| message.expiry_ns >= now_ns)
        {
            return Vec::new();
        }
        let (expired, kept) = std::mem::take(&mut self.ingress)
            .into_iter()
            .partition(|m| m.expiry_ns < now_ns);
        self.ingress = kept;
        self.ingress_bytes = self.ingress.iter().map(QueuedIngress::bytes).sum();
        Vec::from_iter::<VecDeque<QueuedIngress>>(expired)
    }

    /// Removes and returns all ingress messages.
    pub(crate) fn drain_ingress(&mut self) -> Vec<QueuedIngress> {
        self.ingress_bytes = 0;
        std::mem::take(&mut self.ingress).into()
    }

    /// Returns the calls of canisters that wait.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &Request> {
        let messages = self.from_canisters.values().flatten();
        messages.filter_map(|message| match message {
            CanisterMessage::Request(request) => Some(request),
            CanisterMessage::Response(_) => None,
        })
    }

    /// Returns what waits from canisters.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> impl Iterator<Item = &CanisterMessage> {
        self.from_canisters.values().flatten()
    }

    /// Removes and returns best-effort requests whose deadline passed.
    pub(crate) fn expire_requests(&mut self, now_ns: u64) -> Vec<Request> {
        let expired = |message: &CanisterMessage| match message {
            CanisterMessage::Request(request) => request
                .deadline_ns
                .is_some_and(|deadline| deadline < now_ns),
            CanisterMessage::Response(_) => false,
        };
        let mut removed = Vec::new();
        for queue in self.from_canisters.values_mut() {
            if queue.iter().any(expired) {
                let (gone, kept): (VecDeque<_>, VecDeque<_>) =
                    std::mem::take(queue).into_iter().partition(expired);
                *queue = kept;
                removed.extend(gone.into_iter().filter_map(|message| match message {
                    CanisterMessage::Request(request) => Some(request),
                    CanisterMessage::Response(_) => None,
                }));
            }
        }
        if !removed.is_empty() {
            self.from_canisters.retain(|_, queue| !queue.is_empty());
            let from_canisters = &self.from_canisters;
            self.turns
                .retain(|sender| from_canisters.contains_key(sender));
        }
        removed
    }
}
