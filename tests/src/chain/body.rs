//! How large a block is: how many transactions, with how many inputs and outputs each, and how many bytes.

use super::random::Random;

/// Inputs of one transaction, at most: consolidations of services.
const INPUTS_MAX: usize = 400;

/// Outputs of one transaction, at most: payouts of services.
const OUTPUTS_MAX: usize = 600;

/// Doublings that a single addition to a transaction's inputs or outputs may have.
const TAIL: u32 = 7;

/// How far a block's bytes may be from the plan's, per mille.
const BYTES_PERMILLE: std::ops::RangeInclusive<u64> = 860..=1_140;

/// What a block holds besides its coinbase. All are means, which transaction counts meet exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// Transactions.
    pub transactions: u32,
    /// Inputs of a thousand transactions.
    pub inputs_per_thousand: u32,
    /// Outputs of a thousand transactions.
    pub outputs_per_thousand: u32,
    /// Bytes of a transaction, witness data included.
    pub transaction_bytes: u32,
}

impl Body {
    /// A block of mainnet's size: 2,919 transactions, 2.3 inputs and 2.5 outputs each, 1.57 MB.
    pub const MAINNET: Self = Self::of(2_919);

    /// A block of transactions like mainnet's, of any number.
    pub const fn of(transactions: u32) -> Self {
        Self {
            transactions,
            inputs_per_thousand: 2_300,
            outputs_per_thousand: 2_500,
            transaction_bytes: 538,
        }
    }

    /// A block of transactions that split coins, one into six: each leaves five more, less what
    /// carries data.
    pub const fn splitting(transactions: u32) -> Self {
        Self {
            transactions,
            inputs_per_thousand: 1_000,
            outputs_per_thousand: 6_000,
            transaction_bytes: 380,
        }
    }

    /// Numbers of inputs and outputs, transaction by transaction: mostly one and two, and a long tail.
    pub(super) fn shapes(&self, random: &mut Random) -> Vec<Shape> {
        let count = self.transactions as usize;
        let mut shapes = vec![
            Shape {
                inputs: 1,
                outputs: 1
            };
            count
        ];
        let extra =
            |per_thousand: u32| (count * per_thousand as usize / 1_000).saturating_sub(count);
        let (mut inputs, mut outputs) = (
            extra(self.inputs_per_thousand),
            extra(self.outputs_per_thousand),
        );
        // Most payments have change.
        for shape in shapes.iter_mut().take(outputs / 2) {
            shape.outputs += 1;
            outputs -= 1;
        }
        while inputs > 0 && count > 0 {
            let shape = &mut shapes[random.index(count)];
            let more = random.tail(TAIL).min(inputs).min(INPUTS_MAX - shape.inputs);
            shape.inputs += more;
            inputs -= more;
        }
        while outputs > 0 && count > 0 {
            let shape = &mut shapes[random.index(count)];
            let more = random
                .tail(TAIL)
                .min(outputs)
                .min(OUTPUTS_MAX - shape.outputs);
            shape.outputs += more;
            outputs -= more;
        }
        for index in (1..count).rev() {
            shapes.swap(index, random.index(index + 1));
        }
        shapes
    }

    /// Bytes that a block's transactions are to have together.
    pub(super) fn bytes(&self, random: &mut Random) -> usize {
        let (low, high) = (*BYTES_PERMILLE.start(), *BYTES_PERMILLE.end());
        let permille = low + random.below(high - low + 1);
        let mean = u64::from(self.transactions) * u64::from(self.transaction_bytes);
        usize::try_from(mean * permille / 1_000).expect("a block has at most 4 MB")
    }
}

/// Blocks by which a chain's set grows between those that fund it and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Their number.
    pub blocks: u32,
    /// What each holds.
    pub body: Body,
}

/// Numbers of inputs and outputs of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_meet_the_means_and_have_a_tail() {
        let body = Body::MAINNET;
        let shapes = body.shapes(&mut Random::new(3));
        assert_eq!(shapes.len(), 2_919);
        let inputs: usize = shapes.iter().map(|shape| shape.inputs).sum();
        let outputs: usize = shapes.iter().map(|shape| shape.outputs).sum();
        assert_eq!(inputs, 2_919 * 2_300 / 1_000);
        assert_eq!(outputs, 2_919 * 2_500 / 1_000);
        let ones = shapes.iter().filter(|shape| shape.inputs == 1).count();
        assert!((1_800..2_500).contains(&ones), "{ones}");
        assert!(shapes.iter().any(|shape| shape.inputs > 60), "inputs");
        assert!(shapes.iter().any(|shape| shape.outputs > 60), "outputs");
    }
}
