//! Distinct stable pages written in the last ten minutes.
//!
//! On the Internet Computer, whatever is written counts against a limit that all canisters of a subnet share
//! until the next checkpoint, some minutes later. A canister cannot see how much is left of it, so this one
//! keeps what it writes below a share of its own. On the heap only: an upgrade forgets.

use millrace_core::{Pages, UnixSeconds};

/// Minutes that are looked back.
const MINUTES: u64 = 10;

const SECONDS_PER_MINUTE: u64 = 60;

/// Pages by minute: a slot for each, used again after [`MINUTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriteWindow {
    slots: [Slot; MINUTES as usize],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    minute: u64,
    pages: u64,
}

impl WriteWindow {
    /// Adds what a message wrote.
    pub fn note(&mut self, now: UnixSeconds, pages: Pages) {
        let minute = now.get() / SECONDS_PER_MINUTE;
        let place = usize::try_from(minute % MINUTES).unwrap_or(0);
        if let Some(slot) = self.slots.get_mut(place) {
            if slot.minute != minute {
                *slot = Slot { minute, pages: 0 };
            }
            slot.pages = slot.pages.saturating_add(pages.get());
        }
    }

    /// Returns what was written in the current minute and the nine before it. A page counts once for each
    /// message that wrote it.
    pub fn total(&self, now: UnixSeconds) -> Pages {
        let minute = now.get() / SECONDS_PER_MINUTE;
        let recent = self.slots.iter().filter(|slot| {
            // A clock that was set back does not make older pages disappear for ever.
            slot.minute.saturating_add(MINUTES) > minute && slot.minute <= minute
        });
        Pages::new(recent.map(|slot| slot.pages).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_count_for_ten_minutes() {
        let mut window = WriteWindow::default();
        let at = |minute: u64| UnixSeconds::new(1_700_000_040 + minute * 60);
        assert_eq!(window.total(at(0)), Pages::ZERO);
        window.note(at(0), Pages::new(5));
        window.note(at(0), Pages::new(2));
        window.note(at(4), Pages::new(10));
        assert_eq!(window.total(at(4)), Pages::new(17));
        assert_eq!(window.total(at(9)), Pages::new(17));
        assert_eq!(window.total(at(10)), Pages::new(10));
        window.note(at(10), Pages::new(1));
        assert_eq!(window.total(at(13)), Pages::new(11));
        assert_eq!(window.total(at(14)), Pages::new(1));
        assert_eq!(window.total(at(1_000)), Pages::ZERO);
    }
}
