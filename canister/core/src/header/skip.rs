//! Finds ancestors in O(log n): each height has one far-back ancestor worth remembering.

use crate::units::Height;

/// Returns the height of the one earlier ancestor that a record at `height` should point to,
/// besides its parent.
///
/// Following these pointers (or the parent) reaches any ancestor in O(log n) steps: even heights
/// clear their lowest set bit, odd ones clear the two lowest set bits of their predecessor, so
/// short and long jumps alternate. The rule is that of Bitcoin Core's block index.
pub const fn skip_height(height: Height) -> Height {
    const fn clear_lowest_bit(n: u32) -> u32 {
        n & n.wrapping_sub(1)
    }
    let n = height.get();
    Height::new(if n < 2 {
        0
    } else if n & 1 == 1 {
        clear_lowest_bit(clear_lowest_bit(n - 1)) + 1
    } else {
        clear_lowest_bit(n)
    })
}

/// Records that know their parent and, where it is still held, their skip ancestor.
pub trait SkipList {
    /// Names one record.
    type Id: Copy;

    /// Returns the record's height.
    fn height(&self, id: Self::Id) -> Option<Height>;

    /// Returns the record's parent.
    fn parent(&self, id: Self::Id) -> Option<Self::Id>;

    /// Returns the record's ancestor at [`skip_height`], or `None` when it is not held.
    fn skip(&self, id: Self::Id) -> Option<Self::Id>;

    /// Returns the ancestor of `id` at `height`, or `None` when it is higher than `id` or no
    /// longer held. Costs O(log n) look-ups while skip ancestors are held.
    fn ancestor(&self, id: Self::Id, height: Height) -> Option<Self::Id> {
        let mut walk = id;
        let mut walk_height = self.height(id)?;
        if height > walk_height {
            return None;
        }
        while walk_height > height {
            let skip = if skip_is_better(walk_height, height) {
                self.skip(walk)
            } else {
                None
            };
            walk = match skip {
                Some(skip) => skip,
                None => self.parent(walk)?,
            };
            let next_height = self.height(walk)?;
            if next_height >= walk_height {
                // Only a damaged store links upwards; stopping keeps the walk finite.
                return None;
            }
            walk_height = next_height;
        }
        Some(walk)
    }
}

/// Returns whether jumping from `from` beats stepping to the parent on the way to `to`.
///
/// A jump that lands at or above the goal is taken unless the parent's own jump would land
/// closer while still not passing the goal.
fn skip_is_better(from: Height, to: Height) -> bool {
    let here = skip_height(from);
    let from_parent = skip_height(from.saturating_sub(Height::new(1)));
    here == to
        || (here > to && !(from_parent.get() < here.get().saturating_sub(2) && from_parent >= to))
}
