//! The coins a chain may still spend, by age.

use std::collections::VecDeque;

use bitcoin::OutPoint;

use super::owners::Owner;
use super::random::Random;

/// Blocks after which a coinbase's outputs may be spent.
pub(super) const MATURITY: u32 = 100;

/// A spendable coin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coin {
    pub(super) outpoint: OutPoint,
    pub(super) satoshi: u64,
    pub(super) owner: Owner,
}

/// Coins by the height they were made at.
#[derive(Debug, Default)]
pub(super) struct Spendable {
    /// Coins of height 1 and up; the buckets at the front may be empty.
    by_height: Vec<Vec<Coin>>,
    /// Outputs of coinbases that are not mature, oldest first, with their height.
    immature: VecDeque<(u32, Vec<Coin>)>,
    /// Coins in `by_height`.
    count: usize,
}

impl Spendable {
    /// Coins that can be spent now.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Takes in what the block at `height` made, and forgets the oldest coins above `max`: their keys
    /// are lost, so to speak.
    pub(super) fn add_block(
        &mut self,
        height: u32,
        coinbase: Vec<Coin>,
        coins: Vec<Coin>,
        max: usize,
    ) {
        self.bucket(height).extend(&coins);
        self.count += coins.len();
        self.immature.push_back((height, coinbase));
        while let Some((made, _)) = self.immature.front()
            && made + MATURITY <= height + 1
        {
            let (made, coins) = self.immature.pop_front().expect("there is a front");
            self.count += coins.len();
            self.bucket(made).extend(coins);
        }
        let mut oldest = 0;
        while self.count > max {
            match self.by_height[oldest].pop() {
                Some(_) => self.count -= 1,
                None => oldest += 1,
            }
        }
    }

    fn bucket(&mut self, height: u32) -> &mut Vec<Coin> {
        let index = height as usize - 1;
        if self.by_height.len() <= index {
            self.by_height.resize_with(index + 1, Vec::new);
        }
        &mut self.by_height[index]
    }

    /// Takes a coin out for a block at `height`: as likely from the last 2 blocks as from the 2 to 4
    /// before, the 4 to 8 before those, and so on. Where those blocks have none left, the next older
    /// one counts, then the next younger one.
    pub(super) fn take(&mut self, height: u32, random: &mut Random) -> Option<Coin> {
        if self.count == 0 {
            return None;
        }
        let age = random.spread(u64::from(height - 1));
        let start = usize::try_from(u64::from(height - 1) - age).expect("a height fits");
        let start = start.min(self.by_height.len() - 1);
        let older = (0..=start).rev();
        let younger = start + 1..self.by_height.len();
        let index = older
            .chain(younger)
            .find(|index| !self.by_height[*index].is_empty())?;
        let bucket = &mut self.by_height[index];
        let coin = bucket.swap_remove(random.index(bucket.len()));
        self.count -= 1;
        Some(coin)
    }

    /// Puts back a coin taken out for the same block: among the oldest, where it will hardly be found again.
    pub(super) fn put_back(&mut self, coin: Coin) {
        self.bucket(1).push(coin);
        self.count += 1;
    }
}
