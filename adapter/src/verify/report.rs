//! What a comparison found, for people.

use std::fmt;

use millrace_core::Height;

use super::CoinsCompared;
use crate::exit::Exit;
use crate::node::SetSummary;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Canister and node have the same set.
    Same(SetSummary),
    /// They have not.
    Different {
        /// The canister's set.
        ours: SetSummary,
        /// The node's.
        theirs: SetSummary,
        /// Since when, if the node can tell of other heights.
        first: Option<FirstDifference>,
        /// The coins that differ, if there was a file to compare with.
        coins: Option<CoinsCompared>,
    },
    /// Only coins were compared.
    Coins(CoinsCompared),
}

/// Since when two sets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstDifference {
    /// The first height that differs.
    pub height: Height,
    /// The lowest height that could be compared.
    pub lowest: Height,
    /// Whether it is another block.
    pub is_other_block: bool,
}

impl Verdict {
    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Same(_) => Exit::Done,
            Self::Different { .. } => Exit::Differs,
            Self::Coins(compared) if compared.differences.is_empty() => Exit::Done,
            Self::Coins(_) => Exit::Differs,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(set) => {
                row(f, "canister", set)?;
                row(f, "node", set)?;
                writeln!(f, "the sets are the same")
            }
            Self::Coins(compared) => coins(f, compared),
            Self::Different {
                ours,
                theirs,
                first,
                coins: compared,
            } => {
                row(f, "canister", ours)?;
                row(f, "node", theirs)?;
                writeln!(f, "the sets differ")?;
                match first {
                    Some(first) => since(f, first)?,
                    None => writeln!(
                        f,
                        "since when can be found with coinstatsindex=1 in the node's bitcoin.conf"
                    )?,
                }
                match compared {
                    Some(compared) => coins(f, compared),
                    None => writeln!(
                        f,
                        "which coins can be found with --snapshot FILE or --dump-folder FOLDER"
                    ),
                }
            }
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, set: &SetSummary) -> fmt::Result {
    writeln!(f, "{name:<10}height {} block {}", set.height, set.block)?;
    writeln!(
        f,
        "          {} coins, {} satoshi, bogosize {}, muhash {}",
        set.outputs, set.satoshi, set.bogosize, set.muhash
    )
}

fn since(f: &mut fmt::Formatter<'_>, first: &FirstDifference) -> fmt::Result {
    let before = if first.height == first.lowest {
        "or before; the canister keeps nothing older"
    } else {
        "and not before"
    };
    let block = if first.is_other_block {
        ", where they have other blocks: they follow different chains"
    } else {
        ""
    };
    writeln!(
        f,
        "they differ from height {} on, {before}{block}",
        first.height
    )
}

fn coins(f: &mut fmt::Formatter<'_>, compared: &CoinsCompared) -> fmt::Result {
    let block = compared.block;
    writeln!(
        f,
        "compared with {} after block {} at height {}:",
        compared.path.display(),
        block.hash,
        block.height
    )?;
    write!(f, "{}", compared.differences)
}
