//! A canister's log: the newest lines within a number of bytes.

use ic_management_canister_types::{CanisterLogFilter, CanisterLogRecord};
use millrace_vm::LogRecord;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The newest lines; older ones are dropped as the limit requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CanisterLog {
    records: VecDeque<CanisterLogRecord>,
    bytes: u64,
    next_index: u64,
}

/// Bytes a record occupies besides its text.
const RECORD_OVERHEAD_BYTES: u64 = 16;

impl CanisterLog {
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends lines and drops the oldest above `limit_bytes`; a line alone above it is cut.
    pub(crate) fn append(&mut self, lines: Vec<LogRecord>, limit_bytes: u64) {
        let text_max = usize::try_from(limit_bytes.saturating_sub(RECORD_OVERHEAD_BYTES))
            .unwrap_or(usize::MAX);
        for line in lines {
            let mut content = line.content;
            content.truncate(text_max);
            self.bytes += content.len() as u64 + RECORD_OVERHEAD_BYTES;
            self.records.push_back(CanisterLogRecord {
                idx: self.next_index,
                timestamp_nanos: line.time_ns,
                content,
            });
            self.next_index += 1;
        }
        while self.bytes > limit_bytes {
            let Some(dropped) = self.records.pop_front() else {
                break;
            };
            self.bytes -= dropped.content.len() as u64 + RECORD_OVERHEAD_BYTES;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    /// Returns the lines the filter selects; its ends are inclusive and exclusive.
    pub(crate) fn select(&self, filter: Option<&CanisterLogFilter>) -> Vec<CanisterLogRecord> {
        let selected = |record: &&CanisterLogRecord| match filter {
            None => true,
            Some(CanisterLogFilter::ByIdx { start, end }) => (*start..*end).contains(&record.idx),
            Some(CanisterLogFilter::ByTimestampNanos { start, end }) => {
                (*start..*end).contains(&record.timestamp_nanos)
            }
        };
        self.records.iter().filter(selected).cloned().collect()
    }
}
