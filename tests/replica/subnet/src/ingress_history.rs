//! The status of ingress messages: of all that are under way, and of the latest that were answered.

use crate::error::{ErrorCode, UserError};
use crate::ingress::{IngressState, IngressStatus, MessageId};
use crate::limits::SubnetLimits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Statuses within a number of entries and of bytes of answers.
///
/// When answers take too much room, the oldest become [`IngressState::Done`]. A message is forgotten only
/// when its expiry has passed, too: until then its id is what keeps it from being executed again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IngressHistory {
    entries: BTreeMap<MessageId, Entry>,
    /// Messages whose answer is kept, by the order of the answers.
    answers: BTreeMap<u64, MessageId>,
    /// Answered messages by when they are forgotten, in ns.
    forgotten_at: BTreeSet<(u64, MessageId)>,
    /// Answered messages by their expiry in ns; after it they may make room for others.
    expiring_at: BTreeSet<(u64, MessageId)>,
    /// Answers so far, which orders them.
    answered: u64,
    /// Bytes of the answers that are kept.
    answer_bytes: u64,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    status: IngressStatus,
    /// Until when, in ns, the same message would be let in again.
    expiry_ns: u64,
    answer: Option<AnswerRecord>,
}

/// When a message was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AnswerRecord {
    order: u64,
    forget_ns: u64,
}

impl IngressHistory {
    pub(crate) fn get(&self, id: &MessageId) -> Option<&IngressStatus> {
        self.entries.get(id).map(|entry| &entry.status)
    }

    /// Adds a message, forgetting answered ones that have expired if there is no room.
    ///
    /// # Errors
    /// `IngressHistoryFull` when as many messages as the limit allows are under way or not yet expired.
    pub(crate) fn insert(
        &mut self,
        id: MessageId,
        status: IngressStatus,
        expiry_ns: u64,
        now_ns: u64,
        limits: &SubnetLimits,
    ) -> Result<(), UserError> {
        let limit = limits.ingress_history_entries;
        while self.entries.len() as u64 >= limit {
            match self.expiring_at.first() {
                Some(&(expiry_ns, id)) if expiry_ns < now_ns => self.forget(&id),
                _ => {
                    return Err(UserError::new(
                        ErrorCode::IngressHistoryFull,
                        format!(
                            "{limit} messages are under way or not yet expired; retry when some have expired"
                        ),
                    ));
                }
            }
        }
        let entry = Entry {
            status,
            expiry_ns,
            answer: None,
        };
        self.entries.insert(id, entry);
        Ok(())
    }

    /// Records progress; what is answered stays as it is.
    pub(crate) fn set(
        &mut self,
        id: MessageId,
        state: IngressState,
        now_ns: u64,
        limits: &SubnetLimits,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.answer.is_some() {
            return;
        }
        let is_answer = !matches!(state, IngressState::Received | IngressState::Processing);
        self.answer_bytes += answer_bytes(&state);
        entry.status.state = state;
        if is_answer {
            let kept_until_ns = now_ns.saturating_add(limits.ingress_history_ttl_ns);
            let answer = AnswerRecord {
                order: self.answered,
                forget_ns: kept_until_ns.max(entry.expiry_ns),
            };
            entry.answer = Some(answer);
            self.answered += 1;
            self.answers.insert(answer.order, id);
            self.forgotten_at.insert((answer.forget_ns, id));
            self.expiring_at.insert((entry.expiry_ns, id));
            self.drop_answers(limits.ingress_history_bytes);
        }
    }

    /// Drops the oldest answers above the limit; the newest is kept whatever its size.
    fn drop_answers(&mut self, bytes_max: u64) {
        while self.answer_bytes > bytes_max && self.answers.len() > 1 {
            let Some((_, id)) = self.answers.pop_first() else {
                return;
            };
            if let Some(entry) = self.entries.get_mut(&id) {
                self.answer_bytes -= answer_bytes(&entry.status.state);
                entry.status.state = IngressState::Done;
            }
        }
    }

    /// Forgets messages that nobody asks about any more and that have expired. Costs as much as it forgets.
    pub(crate) fn prune(&mut self, now_ns: u64) {
        while let Some(&(forget_ns, id)) = self.forgotten_at.first() {
            if forget_ns >= now_ns {
                return;
            }
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &MessageId) {
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        self.answer_bytes -= answer_bytes(&entry.status.state);
        self.expiring_at.remove(&(entry.expiry_ns, *id));
        if let Some(answer) = entry.answer {
            self.answers.remove(&answer.order);
            self.forgotten_at.remove(&(answer.forget_ns, *id));
        }
    }
}

fn answer_bytes(state: &IngressState) -> u64 {
    match state {
        IngressState::Replied(bytes) => bytes.len() as u64,
        IngressState::Rejected(error) => error.message.len() as u64,
        IngressState::Received | IngressState::Processing | IngressState::Done => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::Principal;

    fn limits(entries: u64, bytes: u64) -> SubnetLimits {
        SubnetLimits {
            ingress_history_entries: entries,
            ingress_history_bytes: bytes,
            ingress_history_ttl_ns: 100,
            ..SubnetLimits::application()
        }
    }

    fn received() -> IngressStatus {
        IngressStatus {
            sender: Principal::anonymous(),
            receiver: Principal::anonymous(),
            subnet: Principal::anonymous(),
            state: IngressState::Received,
        }
    }

    fn id(number: u8) -> MessageId {
        MessageId([number; 32])
    }

    #[test]
    fn answers_are_dropped_then_forgotten_and_messages_under_way_kept() {
        let limits = limits(3, 10);
        let mut history = IngressHistory::default();
        for number in 0..3 {
            history
                .insert(id(number), received(), 50, 0, &limits)
                .expect("room");
        }
        let full = history
            .insert(id(3), received(), 50, 0, &limits)
            .expect_err("all under way");
        assert_eq!(full.code, ErrorCode::IngressHistoryFull);
        history.set(id(1), IngressState::Replied(vec![1; 8]), 5, &limits);
        history.set(id(1), IngressState::Replied(vec![2; 8]), 5, &limits);
        history.set(id(2), IngressState::Replied(vec![3; 8]), 6, &limits);
        assert_eq!(history.get(&id(1)).expect("kept").state, IngressState::Done);
        assert_eq!(
            history.get(&id(2)).expect("kept").state,
            IngressState::Replied(vec![3; 8])
        );
        let full = history
            .insert(id(3), received(), 50, 50, &limits)
            .expect_err("the answered ones could still be sent again");
        assert_eq!(full.code, ErrorCode::IngressHistoryFull);
        history
            .insert(id(3), received(), 90, 51, &limits)
            .expect("an answered one that expired makes room");
        assert_eq!(history.get(&id(1)), None);
        assert_eq!(
            history.get(&id(0)).expect("under way").state,
            IngressState::Received
        );
        history.prune(106);
        assert!(history.get(&id(2)).is_some());
        history.prune(107);
        assert_eq!(history.get(&id(2)), None);
        assert_eq!(history.answer_bytes, 0);
        assert!(history.answers.is_empty() && history.expiring_at.is_empty());
    }

    #[test]
    fn an_answered_message_is_known_until_it_expires() {
        let limits = limits(3, 10);
        let mut history = IngressHistory::default();
        history
            .insert(id(0), received(), 330, 0, &limits)
            .expect("room");
        history.set(id(0), IngressState::Replied(vec![1]), 0, &limits);
        history.prune(330);
        assert!(history.get(&id(0)).is_some());
        history.prune(331);
        assert_eq!(history.get(&id(0)), None);
    }
}
