//! Events on their way to the driver: few, and few bytes. A connection whose event finds no room waits,
//! and stops reading meanwhile.

use std::sync::Arc;

use millrace_p2p::message::Message;
use millrace_p2p::node::Event;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Events that wait, at most.
const EVENTS_MAX: usize = 256;

/// Bytes of blocks and other large messages that wait, at most, in [`UNIT_BYTES`]: 32 MiB.
const UNITS_MAX: usize = 32 * 1024;

/// The unit in which waiting bytes are counted.
const UNIT_BYTES: usize = 1024;

/// The sending side.
#[derive(Clone)]
pub(super) struct Inbox {
    events: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
}

/// An event that waits, and the room it takes.
pub(super) struct Waiting {
    event: Event,
    _room: Option<OwnedSemaphorePermit>,
}

/// Room for one event.
pub(super) struct Room<'a> {
    slot: mpsc::Permit<'a, Waiting>,
    room: Option<OwnedSemaphorePermit>,
}

/// The driver is gone.
#[derive(Debug)]
pub(super) struct Gone;

/// Returns both sides.
pub(super) fn inbox() -> (Inbox, mpsc::Receiver<Waiting>) {
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let bytes = Arc::new(Semaphore::new(UNITS_MAX));
    (Inbox { events, bytes }, receiver)
}

impl Inbox {
    /// Waits for room for an event that holds so many bytes. Dropping the future loses nothing.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<Room<'_>, Gone> {
        let units = u32::try_from((bytes / UNIT_BYTES).min(UNITS_MAX)).unwrap_or(0);
        let room = match units {
            0 => None,
            units => {
                let room = Arc::clone(&self.bytes).acquire_many_owned(units).await;
                Some(room.map_err(|_| Gone)?)
            }
        };
        let slot = self.events.reserve().await.map_err(|_| Gone)?;
        Ok(Room { slot, room })
    }

    /// Waits for room and sends an event without bytes worth counting.
    pub(super) async fn send(&self, event: Event) -> Result<(), Gone> {
        self.reserve(0).await?.send(event);
        Ok(())
    }
}

impl Room<'_> {
    pub(super) fn send(self, event: Event) {
        self.slot.send(Waiting {
            event,
            _room: self.room,
        });
    }
}

impl Waiting {
    /// Gives the event to the driver, and its room to the next.
    pub(super) fn take(self) -> Event {
        self.event
    }
}

/// Returns about how many bytes a message holds.
pub(super) fn bytes_of(message: &Message) -> usize {
    match message {
        Message::Block(block) => block.bytes.len(),
        Message::Tx(transaction) => transaction.bytes.len(),
        Message::Headers(headers) => headers.len().saturating_mul(80),
        Message::Inv(entries) | Message::GetData(entries) | Message::NotFound(entries) => {
            entries.len().saturating_mul(36)
        }
        Message::Addr(known) => known.len().saturating_mul(48),
        _ => 0,
    }
}
