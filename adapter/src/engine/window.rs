//! How many pushes may be in flight.
//!
//! Messages to a subnet may overtake one another, and the canister refuses a block that comes
//! before its parent. More in flight hides latency, but where messages are reordered it only makes
//! work: so the window starts at one, grows while all goes well, and after each setback is halved
//! and takes twice as long to grow again.

/// Receipts without trouble after which the window first grows.
const FIRST_STEP: u32 = 8;

/// Most receipts it takes to grow, after many setbacks.
const LONGEST_STEP: u32 = 512;

/// The window; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Window {
    allowed: u32,
    max: u32,
    good_receipts: u32,
    step: u32,
}

impl Window {
    /// Starts at one, to grow up to `max`.
    pub const fn new(max: u32) -> Self {
        Self {
            allowed: 1,
            max,
            good_receipts: 0,
            step: FIRST_STEP,
        }
    }

    /// Returns whether another push may join those in flight.
    pub fn admits(&self, in_flight: usize) -> bool {
        (in_flight as u64) < u64::from(self.allowed)
    }

    /// Counts a receipt without trouble.
    pub fn receipt_was_good(&mut self) {
        self.good_receipts += 1;
        if self.good_receipts >= self.step {
            self.good_receipts = 0;
            self.allowed = (self.allowed + 1).min(self.max.max(1));
        }
    }

    /// Sends less at a time: the canister has no room for more.
    pub fn narrow(&mut self) {
        self.allowed = (self.allowed / 2).max(1);
        self.good_receipts = 0;
    }

    /// Sends less at a time and is slower to send more: something had to be pushed again.
    pub fn set_back(&mut self) {
        self.narrow();
        self.step = self.step.saturating_mul(2).min(LONGEST_STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipts_to_grow(window: &mut Window) -> u32 {
        let before = window.allowed;
        (1..=10_000)
            .find(|_| {
                window.receipt_was_good();
                window.allowed > before
            })
            .expect("it grows in the end")
    }

    #[test]
    fn it_grows_from_one_to_the_limit_and_no_further() {
        let mut window = Window::new(3);
        assert!(window.admits(0) && !window.admits(1));
        assert_eq!(receipts_to_grow(&mut window), FIRST_STEP);
        assert_eq!(receipts_to_grow(&mut window), FIRST_STEP);
        for _ in 0..1_000 {
            window.receipt_was_good();
        }
        assert!(window.admits(2) && !window.admits(3));
    }

    #[test]
    fn each_setback_halves_it_and_slows_its_growth_up_to_a_bound() {
        let mut window = Window::new(8);
        let mut expected = FIRST_STEP;
        for _ in 0..10 {
            window.set_back();
            assert!(window.admits(0) && !window.admits(1));
            expected = (expected * 2).min(LONGEST_STEP);
            assert_eq!(receipts_to_grow(&mut window), expected);
        }
    }
}
