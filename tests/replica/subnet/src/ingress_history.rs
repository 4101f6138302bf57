//! The status of ingress messages: of all that are under way, and of the latest that were answered.

use crate::error::{ErrorCode, UserError};
use crate::ingress::{IngressState, IngressStatus, MessageId};
use crate::limits::SubnetLimits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Statuses within a number of entries and of bytes of answers.
///
/// When answers take too much room, the oldest become [`IngressState::Done`]; when there are too many
/// entries, the oldest answered ones are forgotten. Messages under way are never forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IngressHistory {
    entries: BTreeMap<MessageId, IngressStatus>,
    /// Answered messages and when they may be forgotten, oldest first.
    answered: VecDeque<(MessageId, u64)>,
    /// How many of the oldest answered messages have lost their answer.
    done: usize,
    /// Bytes of the answers that are kept.
    answer_bytes: u64,
}

impl IngressHistory {
    pub(crate) fn get(&self, id: &MessageId) -> Option<&IngressStatus> {
        self.entries.get(id)
    }

    /// Adds a message, forgetting the oldest answered ones if there is no room.
    ///
    /// # Errors
    /// `IngressHistoryFull` when as many messages as the limit allows are under way.
    pub(crate) fn insert(
        &mut self,
        id: MessageId,
        status: IngressStatus,
        limits: &SubnetLimits,
    ) -> Result<(), UserError> {
        let limit = limits.ingress_history_entries;
        while self.entries.len() as u64 >= limit {
            if !self.forget_oldest() {
                return Err(UserError::new(
                    ErrorCode::IngressHistoryFull,
                    format!("{limit} messages are under way already; retry when some are answered"),
                ));
            }
        }
        self.entries.insert(id, status);
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
        let Some(status) = self.entries.get_mut(&id) else {
            return;
        };
        if !matches!(
            status.state,
            IngressState::Received | IngressState::Processing
        ) {
            return;
        }
        let is_answer = !matches!(state, IngressState::Received | IngressState::Processing);
        self.answer_bytes += answer_bytes(&state);
        status.state = state;
        if is_answer {
            let forget_ns = now_ns.saturating_add(limits.ingress_history_ttl_ns);
            self.answered.push_back((id, forget_ns));
            self.drop_answers(limits.ingress_history_bytes);
        }
    }

    /// Drops the oldest answers above the limit; the newest is kept whatever its size.
    fn drop_answers(&mut self, bytes_max: u64) {
        while self.answer_bytes > bytes_max && self.done + 1 < self.answered.len() {
            let (id, _) = self.answered[self.done];
            self.done += 1;
            if let Some(status) = self.entries.get_mut(&id) {
                self.answer_bytes -= answer_bytes(&status.state);
                status.state = IngressState::Done;
            }
        }
    }

    /// Forgets answers that nobody may want any more. Costs as much as it forgets.
    pub(crate) fn prune(&mut self, now_ns: u64) {
        while self
            .answered
            .front()
            .is_some_and(|&(_, forget_ns)| forget_ns < now_ns)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((id, _)) = self.answered.pop_front() else {
            return false;
        };
        self.done = self.done.saturating_sub(1);
        if let Some(status) = self.entries.remove(&id) {
            self.answer_bytes -= answer_bytes(&status.state);
        }
        true
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
                .insert(id(number), received(), &limits)
                .expect("room");
        }
        let full = history
            .insert(id(3), received(), &limits)
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
        history
            .insert(id(3), received(), &limits)
            .expect("the oldest answer makes room");
        assert_eq!(history.get(&id(1)), None);
        assert_eq!(
            history.get(&id(0)).expect("under way").state,
            IngressState::Received
        );
        history.prune(106);
        assert!(history.get(&id(2)).is_some());
        history.prune(107);
        assert_eq!(history.get(&id(2)), None);
        assert_eq!((history.answer_bytes, history.done), (0, 0));
    }
}
