//! What to ask a pull source next.
