//! Compares a canister's coins with a node's: by the hash of the set, then by height, then coin by coin.

mod compare;
mod report;
mod search;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};

use bitcoin::BlockHash;
use millrace_core::snapshot::SnapshotCoin;
use millrace_core::{Height, Network};
use tracing::{info, warn};

use crate::engine::BlockRef;
use crate::exit::Exit;
use crate::node::{Dumped, Node, NodeChain, NodeError, SetSummary};
use crate::snapshot::canister::{ReadFailure, SetCanister};
use crate::snapshot::download::{CoinPages, PagesError, patiently};
use crate::snapshot::groups::GroupReader;
use crate::snapshot::meter::Meter;
use crate::snapshot::{FileError, open};

pub use compare::{Differences, Kind, Wanted};
pub use report::{FirstDifference, Verdict};
pub use search::Search;

/// What a node is asked.
pub trait SetNode {
    /// Asks for the node's best block.
    fn chain(&self) -> impl Future<Output = Result<NodeChain, NodeError>>;

    /// Asks for the set at a height.
    fn set_at(&self, height: Height) -> impl Future<Output = Result<SetSummary, NodeError>>;

    /// Asks for the set at the node's best block.
    fn set_at_tip(&self) -> impl Future<Output = Result<SetSummary, NodeError>>;

    /// Lets the node write its set into a file.
    fn dump(&self, path: &Path) -> impl Future<Output = Result<Dumped, NodeError>>;
}

/// A node that must be on a network.
#[derive(Clone, Debug)]
pub struct NodeOf {
    /// The node.
    pub node: Node,
    /// The network.
    pub network: Network,
}

impl SetNode for NodeOf {
    async fn chain(&self) -> Result<NodeChain, NodeError> {
        self.node.chain(self.network).await
    }

    async fn set_at(&self, height: Height) -> Result<SetSummary, NodeError> {
        self.node.set_at(height).await
    }

    async fn set_at_tip(&self) -> Result<SetSummary, NodeError> {
        self.node.set_at_tip().await
    }

    async fn dump(&self, path: &Path) -> Result<Dumped, NodeError> {
        self.node.dump(path).await
    }
}

/// What to compare.
#[derive(Clone, Copy, Debug)]
pub struct Verify<'a> {
    /// The network.
    pub network: Network,
    /// The height; the newest stable one if absent.
    pub height: Option<Height>,
    /// A file to compare coin by coin with.
    pub snapshot: Option<&'a Path>,
    /// Where the node can write such a file, for this machine to read.
    pub dump_folder: Option<&'a Path>,
}

/// Why nothing could be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The canister does not tell.
    #[error(transparent)]
    Canister(#[from] ReadFailure),
    /// The canister's coins cannot be read.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The node does not tell.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The node speaks of its tip only, which is elsewhere.
    #[error(
        "the node cannot tell of height {height} ({reason}): set coinstatsindex=1 in its bitcoin.conf, \
         restart it and wait for the index; or wait until its best block, at height {tip}, is the \
         canister's newest stable one"
    )]
    NoIndex {
        /// The height.
        height: Height,
        /// The node's words.
        reason: String,
        /// The node's height.
        tip: Height,
    },
    /// The file cannot be used.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        error: FileError,
    },
    /// The canister cannot read at the file's block.
    #[error("{path} has the coins after block {base}: {error}. Write one of a block in that range")]
    Base {
        /// The file.
        path: String,
        /// Its base block.
        base: BlockHash,
        /// What the canister says.
        error: ReadFailure,
    },
}

impl VerifyError {
    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Canister(error) => error.exit(),
            Self::Pages(error) => error.exit(),
            Self::Node(_) | Self::NoIndex { .. } | Self::File { .. } | Self::Base { .. } => {
                Exit::Source
            }
        }
    }
}

/// Compares a canister with a node, or with a file where there is no node.
///
/// # Errors
/// [`VerifyError`]: the comparison could not be made.
pub async fn verify(
    what: &Verify<'_>,
    node: Option<&impl SetNode>,
    canister: &impl SetCanister,
    meter: &mut Meter,
) -> Result<Verdict, VerifyError> {
    let Some(node) = node else {
        let path = what.snapshot.unwrap_or(Path::new(""));
        let coins = compare_coins(path, what.network, canister, meter).await?;
        return Ok(Verdict::Coins(coins));
    };
    let chain = node.chain().await?;
    let ours = patiently(|| canister.set_info(what.height)).await?;
    let (theirs, has_index) = node_set(node, &chain, ours.height).await?;
    if ours == theirs {
        return Ok(Verdict::Same(ours));
    }
    let first = if has_index {
        Some(search(node, canister, ours.height).await?)
    } else {
        None
    };
    let is_other_chain = ours.block != theirs.block;
    let coins = match (what.snapshot, what.dump_folder) {
        (Some(path), _) => Some(compare_coins(path, what.network, canister, meter).await?),
        // The coins of two chains differ without anything being wrong.
        (None, Some(folder)) if !is_other_chain => {
            let name = format!("millrace-verify-{}.dat", std::process::id());
            let path = folder.join(name);
            Some(compare_dump(node, &path, what.network, canister, meter).await?)
        }
        (None, _) => None,
    };
    Ok(Verdict::Different {
        ours,
        theirs,
        first,
        coins,
    })
}

/// Asks a node for the set at a height, and returns whether it can tell of any height.
async fn node_set(
    node: &impl SetNode,
    chain: &NodeChain,
    height: Height,
) -> Result<(SetSummary, bool), VerifyError> {
    let error = match node.set_at(height).await {
        Ok(set) => return Ok((set, true)),
        Err(error) if error.is_without_index() => error,
        Err(error) => return Err(error.into()),
    };
    let no_index = |tip| VerifyError::NoIndex {
        height,
        reason: error.to_string(),
        tip,
    };
    if chain.height != height {
        return Err(no_index(chain.height));
    }
    info!(
        "the node has no coinstatsindex: it counts the coins at its best block, which takes minutes"
    );
    let set = node.set_at_tip().await?;
    if set.height != height {
        return Err(no_index(set.height));
    }
    Ok((set, false))
}

/// Finds the first height that differs, of those that the canister keeps.
async fn search(
    node: &impl SetNode,
    canister: &impl SetCanister,
    differs: Height,
) -> Result<FirstDifference, VerifyError> {
    let kept_from = patiently(|| canister.standing()).await?.kept_from;
    let lowest = kept_from.unwrap_or(differs).min(differs);
    let mut search = Search::new(lowest, differs);
    let mut block = None;
    while let Some(height) = search.next() {
        let ours = match patiently(|| canister.set_info(Some(height))).await {
            // The chain went on, and the oldest height was forgotten.
            Err(ReadFailure::HeightNotKept { min_height, .. }) if height.get() < min_height => {
                search.answer(Height::new(min_height - 1).min(differs), false);
                continue;
            }
            other => other?,
        };
        let theirs = node.set_at(height).await?;
        let is_other = ours != theirs;
        if is_other {
            block = Some((ours, theirs));
        }
        search.answer(height, is_other);
    }
    let first = search.first();
    let found = block.filter(|(ours, _)| ours.height == first);
    Ok(FirstDifference {
        height: first,
        lowest,
        is_other_block: found.is_some_and(|(ours, theirs)| ours.block != theirs.block),
    })
}

/// Lets the node write its coins, compares with them, and removes them.
async fn compare_dump(
    node: &impl SetNode,
    path: &Path,
    network: Network,
    canister: &impl SetCanister,
    meter: &mut Meter,
) -> Result<CoinsCompared, VerifyError> {
    info!(
        "the node writes its coins into {}, which takes minutes",
        path.display()
    );
    let dumped = node.dump(path).await?;
    let compared = compare_coins(path, network, canister, meter).await;
    if compared.is_ok() {
        // It was written for this alone; that it cannot be removed changes nothing.
        let _ = fs::remove_file(path);
    } else {
        warn!(
            "the node's {} coins after block {} are left in {}, for --snapshot",
            dumped.coins,
            dumped.base,
            path.display()
        );
    }
    compared
}

/// The outcome of a comparison coin by coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinsCompared {
    /// The file.
    pub path: PathBuf,
    /// The block after which both sets are.
    pub block: BlockRef,
    /// What differs.
    pub differences: Differences,
}

/// Compares a canister's coins with those of a file, after the file's block.
///
/// # Errors
/// [`VerifyError`].
pub async fn compare_coins(
    path: &Path,
    network: Network,
    canister: &impl SetCanister,
    meter: &mut Meter,
) -> Result<CoinsCompared, VerifyError> {
    let name = path.display().to_string();
    let unusable = |error| VerifyError::File {
        path: name.clone(),
        error,
    };
    let file = open(path).map_err(unusable)?;
    let mut groups = GroupReader::new(file, network).map_err(unusable)?;
    let base = groups.metadata().base;
    let mut pages = CoinPages::new(canister, base);
    let mut ours: VecDeque<SnapshotCoin> = VecDeque::new();
    let mut theirs: VecDeque<SnapshotCoin> = VecDeque::new();
    let mut block = None;
    let mut differences = Differences::default();
    loop {
        while ours.is_empty() {
            let page = pages.next_page().await.map_err(|error| match error {
                PagesError::Read(error @ ReadFailure::UnknownTip { .. }) => VerifyError::Base {
                    path: name.clone(),
                    base,
                    error,
                },
                other => other.into(),
            })?;
            let Some(page) = page else { break };
            block = Some(page.tip);
            // Bitcoin Core has no coins of the genesis block.
            let coins = page.coins.into_iter();
            ours.extend(coins.filter(|coin| coin.height != Height::ZERO));
            meter.show("coins compared", pages.read, pages.total);
        }
        if theirs.is_empty()
            && let Some(group) = groups.next_group().map_err(unusable)?
        {
            theirs.extend(group.coins);
        }
        match differences.step(ours.front(), theirs.front()) {
            Wanted::Nothing => break,
            Wanted::Canister => drop(ours.pop_front()),
            Wanted::Other => drop(theirs.pop_front()),
            Wanted::Both => drop((ours.pop_front(), theirs.pop_front())),
        }
    }
    meter.end();
    Ok(CoinsCompared {
        path: path.to_owned(),
        block: block.unwrap_or(BlockRef {
            hash: base,
            height: Height::ZERO,
        }),
        differences,
    })
}
