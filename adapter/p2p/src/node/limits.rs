//! How much a peer may send that nobody asked for.

use std::time::Duration;

use crate::message::Message;

/// Messages a peer may send at once without being asked.
const MESSAGES_BURST: u64 = 5_000;
/// Messages a second that a peer may send without being asked. Transactions are announced in
/// batches every few seconds, blocks every few minutes.
const MESSAGES_PER_SECOND: u64 = 50;
/// Bytes a peer may send at once without being asked.
const BYTES_BURST: u64 = 32_000_000;
/// Bytes a second that a peer may send without being asked.
const BYTES_PER_SECOND: u64 = 1_000_000;
/// Addresses taken at once from a peer: the answer to one `getaddr`.
const ADDRESSES_BURST: u64 = 1_000;
/// Thousandths of an address a second taken from a peer, as in Bitcoin Core.
const ADDRESSES_PER_1000_SECONDS: u64 = 100;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Tokens that come back with time, up to a burst.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// In tokens x nanoseconds x 1,000, so that no refill is rounded away.
    level: u128,
    burst: u128,
    per_1000_seconds: u128,
    at: Duration,
}

impl Bucket {
    const TOKEN: u128 = NANOS_PER_SECOND * 1_000;

    /// Starts full.
    pub fn new(burst: u64, per_1000_seconds: u64, now: Duration) -> Self {
        let burst = u128::from(burst) * Self::TOKEN;
        Self {
            level: burst,
            burst,
            per_1000_seconds: u128::from(per_1000_seconds),
            at: now,
        }
    }

    /// Takes up to `wanted` tokens and returns how many there were.
    pub fn take(&mut self, now: Duration, wanted: u64) -> u64 {
        let passed = now.saturating_sub(self.at).as_nanos();
        self.at = self.at.max(now);
        let refill = passed.saturating_mul(self.per_1000_seconds);
        self.level = self.level.saturating_add(refill).min(self.burst);
        let there = u64::try_from(self.level / Self::TOKEN).unwrap_or(u64::MAX);
        let taken = there.min(wanted);
        self.level = self.level.saturating_sub(u128::from(taken) * Self::TOKEN);
        taken
    }
}

/// The bounds on what one peer makes us do.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    messages: Bucket,
    bytes: Bucket,
    addresses: Bucket,
}

impl Traffic {
    pub fn new(now: Duration) -> Self {
        Self {
            messages: Bucket::new(MESSAGES_BURST, MESSAGES_PER_SECOND * 1_000, now),
            bytes: Bucket::new(BYTES_BURST, BYTES_PER_SECOND * 1_000, now),
            addresses: Bucket::new(ADDRESSES_BURST, ADDRESSES_PER_1000_SECONDS, now),
        }
    }

    /// Counts a message that was not asked for.
    ///
    /// # Errors
    /// Says which bound is exceeded.
    pub fn unasked(&mut self, now: Duration, message: &Message) -> Result<(), String> {
        if self.messages.take(now, 1) < 1 {
            return Err(format!(
                "sends more than {MESSAGES_PER_SECOND} messages a second that nobody asked for"
            ));
        }
        let bytes = payload_bytes(message);
        if self.bytes.take(now, bytes) < bytes {
            return Err(format!(
                "sends more than {BYTES_PER_SECOND} bytes a second that nobody asked for"
            ));
        }
        Ok(())
    }

    /// Returns how many of `offered` addresses may be taken in.
    pub fn addresses(&mut self, now: Duration, offered: usize) -> usize {
        let offered = u64::try_from(offered).unwrap_or(u64::MAX);
        usize::try_from(self.addresses.take(now, offered)).unwrap_or(0)
    }
}

/// Returns roughly how many bytes a message's payload has.
fn payload_bytes(message: &Message) -> u64 {
    let bytes = match message {
        Message::Headers(headers) => headers.len() * 81,
        Message::Inv(list) | Message::GetData(list) | Message::NotFound(list) => list.len() * 36,
        Message::GetHeaders { locator, .. } => locator.len() * 32,
        Message::Block(block) => block.bytes.len(),
        Message::Tx(transaction) => transaction.bytes.len(),
        Message::Addr(addresses) => addresses.len() * 30,
        Message::Other { bytes, .. } => *bytes,
        _ => 0,
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
