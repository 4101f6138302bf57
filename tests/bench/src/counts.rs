//! Counts of messages, and sums of them.

use std::collections::BTreeMap;

use millrace_subnet::{MessageKind, UsageRecord};

/// Bytes of a page that is counted.
pub const PAGE_BYTES: u64 = 4_096;

/// A heartbeat below this did nothing but look whether there is work.
const IDLE_INSTRUCTIONS: u64 = 1_000_000;

/// Named counts of one row. Fewer is better for each.
pub type Row = BTreeMap<String, u64>;

/// Sums over messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages.
    pub messages: u64,
    /// Instructions, with 1,000 for each stable page dirtied: the replica's price list has that.
    pub instructions: u64,
    /// Heap pages dirtied, distinct within a message.
    pub heap_dirtied: u64,
    /// Stable pages dirtied, distinct within a message.
    pub stable_dirtied: u64,
    /// Stable pages read, distinct within a message.
    pub stable_read: u64,
    /// Instructions of the longest message.
    pub longest: u64,
}

/// Whether a message only found that there is nothing to do.
pub fn is_idle(record: &UsageRecord) -> bool {
    record.kind == MessageKind::Heartbeat && record.instructions < IDLE_INSTRUCTIONS
}

/// Whether a message is part of taking blocks in: all that nodes execute together.
fn is_replicated(record: &UsageRecord) -> bool {
    !matches!(
        record.kind,
        MessageKind::Query | MessageKind::CompositeQuery | MessageKind::InspectMessage
    )
}

impl Counts {
    /// Adds a message.
    pub fn add(&mut self, record: &UsageRecord) {
        self.messages += 1;
        self.instructions += record.instructions;
        self.heap_dirtied += record.heap_pages_dirtied;
        self.stable_dirtied += record.stable_pages_dirtied;
        self.stable_read += record.stable_pages_read;
        self.longest = self.longest.max(record.instructions);
    }

    /// Those of one message.
    pub fn of(record: &UsageRecord) -> Self {
        let mut counts = Self::default();
        counts.add(record);
        counts
    }

    /// Sums what nodes execute together, idle heartbeats left out.
    pub fn of_work(records: &[UsageRecord]) -> Self {
        let mut counts = Self::default();
        for record in records {
            if is_replicated(record) && !is_idle(record) {
                counts.add(record);
            }
        }
        counts
    }

    /// Adds another sum.
    pub fn join(&mut self, other: &Self) {
        self.messages += other.messages;
        self.instructions += other.instructions;
        self.heap_dirtied += other.heap_dirtied;
        self.stable_dirtied += other.stable_dirtied;
        self.stable_read += other.stable_read;
        self.longest = self.longest.max(other.longest);
    }

    /// Bytes of the subnet's heap delta.
    pub const fn heap_delta(&self) -> u64 {
        (self.heap_dirtied + self.stable_dirtied) * PAGE_BYTES
    }

    /// A row of one message or one operation.
    pub fn row(&self) -> Row {
        row(&[
            ("instructions", self.instructions),
            ("heap_pages", self.heap_dirtied),
            ("stable_pages_dirtied", self.stable_dirtied),
            ("stable_pages_read", self.stable_read),
        ])
    }
}

/// A row from names and counts.
pub fn row(counts: &[(&str, u64)]) -> Row {
    let named = counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count));
    named.collect()
}

/// A quotient in thousandths, rounded up; 0 of nothing.
pub const fn per(total: u64, of: u64) -> u64 {
    if of == 0 {
        0
    } else {
        (total * 1_000).div_ceil(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: MessageKind, instructions: u64) -> UsageRecord {
        UsageRecord {
            sequence: 0,
            round: 0,
            time_ns: 0,
            kind,
            method: String::new(),
            instructions,
            heap_pages_dirtied: 2,
            stable_pages_dirtied: 3,
            stable_pages_read: 5,
            system_calls: 0,
            succeeded: true,
        }
    }

    #[test]
    fn work_is_what_nodes_execute_together_and_idle_heartbeats_are_none() {
        let records = [
            record(MessageKind::Update, 100),
            record(MessageKind::InspectMessage, 7),
            record(MessageKind::Heartbeat, IDLE_INSTRUCTIONS),
            record(MessageKind::Heartbeat, IDLE_INSTRUCTIONS - 1),
            record(MessageKind::ReplyCallback, 50),
            record(MessageKind::Query, 9),
        ];
        let counts = Counts::of_work(&records);
        assert_eq!(counts.messages, 3);
        assert_eq!(counts.instructions, IDLE_INSTRUCTIONS + 150);
        assert_eq!(counts.longest, IDLE_INSTRUCTIONS);
        assert_eq!(counts.heap_delta(), 3 * (2 + 3) * PAGE_BYTES);
        assert_eq!(counts.row()["stable_pages_read"], 15);
    }

    #[test]
    fn quotients_are_rounded_up() {
        assert_eq!(per(1, 3_000), 1);
        assert_eq!(per(5, 2), 2_500);
        assert_eq!(per(5, 0), 0);
    }
}
