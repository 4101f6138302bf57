//! The tree of headers a source has shown, and the best chain in it.
//!
//! Every header is judged by the same rules as in the canister ([`HeaderContext::accept`]), so a
//! file with corrupt or hostile headers cannot lead the adapter to push what would be refused.
//! Headers may come in any order; those whose parent has not come yet wait in a bounded pool.
//! A header takes about 140 bytes of memory.
//!
//! A chain that was judged before comes back through [`HeaderTree::restore`], from a
//! file ([`mod@file`]) whose checksums vouch for it.

pub mod file;
mod index;
mod node;
mod restore;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use bitcoin::BlockHash;
use bitcoin::block::Header;
use millrace_core::header::{ChainWork, HeaderContext, HeaderError};
use millrace_core::{Height, Network, UnixSeconds};

use index::Index;
use node::Node;

/// Headers that may wait for their parent. Block files hold blocks in order of arrival, at most
/// some thousands ahead of their parents; more than this means that the beginning is missing.
pub const MAX_ORPHANS: usize = 200_000;

/// Headers ahead of the clock that are kept to be judged again.
pub const MAX_EARLY: usize = 64;

/// What became of the headers of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Headers that were new and joined the tree, waiting ones included.
    pub joined: u32,
    /// The lowest height at which the best chain changed, if it did.
    pub changed_from: Option<Height>,
    /// Headers that broke a rule. Those that only are ahead of the clock are judged again by the
    /// next call; nothing is remembered of the others.
    pub refused: Vec<HeaderError>,
    /// Headers that were forgotten because [`MAX_ORPHANS`] were waiting already.
    pub dropped: u32,
}

/// The header tree; see the module's documentation.
#[derive(Clone, Debug)]
pub struct HeaderTree {
    network: Network,
    // A parent always has a lower position than its children.
    nodes: Vec<Node>,
    positions: Index,
    /// Positions of blocks that the canister refused, and of all that follow them.
    refused: BTreeSet<u32>,
    /// What the header accepted last must be followed by: the next one most likely follows it.
    latest: (u32, HeaderContext),
    /// Waiting headers by the parent they wait for.
    orphans: HashMap<BlockHash, Vec<Header>>,
    orphan_count: usize,
    /// Headers whose time has not come, at most [`MAX_EARLY`].
    early: Vec<Header>,
    /// Positions of the best chain by height.
    best: Vec<u32>,
    /// The block every candidate must contain, if it is in the tree.
    root: Option<BlockHash>,
}

impl HeaderTree {
    /// Starts with the network's genesis block alone.
    pub fn new(network: Network) -> Self {
        let context = HeaderContext::genesis(network);
        let nodes = vec![Node::genesis(&context)];
        let mut positions = Index::default();
        positions.insert(0, &nodes);
        Self {
            network,
            positions,
            nodes,
            refused: BTreeSet::new(),
            latest: (0, context),
            orphans: HashMap::new(),
            orphan_count: 0,
            early: Vec::new(),
            best: vec![0],
            root: None,
        }
    }

    /// Returns the network.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Returns the number of headers in the tree, the genesis block's included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there is nothing but the genesis block.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    /// Returns how many headers wait for their parent.
    pub const fn orphans(&self) -> usize {
        self.orphan_count
    }

    /// Returns the height of the best chain's last block.
    pub fn tip_height(&self) -> Height {
        Height::new(u32::try_from(self.best.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// Returns the hash of the best chain's last block.
    pub fn tip_hash(&self) -> BlockHash {
        self.hash_at(self.tip_height())
            .unwrap_or_else(|| HeaderContext::genesis(self.network).hash())
    }

    /// Returns the time of the best chain's last block.
    pub fn tip_time(&self) -> UnixSeconds {
        self.best_node(self.tip_height())
            .map_or(UnixSeconds::ZERO, |node| {
                UnixSeconds::new(u64::from(node.time()))
            })
    }

    /// Returns the best chain's block at a height.
    pub fn hash_at(&self, height: Height) -> Option<BlockHash> {
        self.best_node(height).map(Node::hash)
    }

    /// Returns the best chain's header at a height.
    pub fn header_at(&self, height: Height) -> Option<Header> {
        let position = *self.best.get(height.get() as usize)?;
        self.header_of(position)
    }

    /// Returns the height of a block, whichever branch it is on.
    pub fn height_of(&self, hash: BlockHash) -> Option<Height> {
        self.node(hash).map(Node::height)
    }

    /// Returns whether the best chain contains a block.
    pub fn is_on_best_chain(&self, hash: BlockHash) -> bool {
        self.height_of(hash)
            .is_some_and(|height| self.hash_at(height) == Some(hash))
    }

    /// Returns what children of a block are judged by, whichever branch it is on. Costs a hash and ten
    /// steps, and less for the header accepted last.
    pub fn context_of(&self, hash: BlockHash) -> Option<HeaderContext> {
        self.context_at(self.position(hash)?)
    }

    /// Returns whether a block is in the tree.
    pub fn knows(&self, hash: BlockHash) -> bool {
        self.position(hash).is_some()
    }

    /// Returns whether a block was refused, or follows one that was.
    pub fn is_refused(&self, hash: BlockHash) -> bool {
        self.position(hash)
            .is_some_and(|position| self.refused.contains(&position))
    }

    /// Returns the work of the best chain.
    pub fn tip_work(&self) -> ChainWork {
        self.best_work()
    }

    /// Returns the height up to which the chain that ends at a block is the best chain.
    /// Costs O(1) on the best chain, O(depth) on a branch.
    pub fn fork_height(&self, hash: BlockHash) -> Option<Height> {
        let mut current = self.position(hash)?;
        loop {
            let node = self.at(current)?;
            let height = node.height();
            if height == Height::ZERO || self.best.get(height.get() as usize) == Some(&current) {
                return Some(height);
            }
            current = node.parent();
        }
    }

    /// Returns whether the chain that ends at `tip` contains `block`. Costs O(1) if both are on the
    /// best chain, O(depth of the branches) otherwise.
    pub fn contains(&self, tip: BlockHash, block: BlockHash) -> bool {
        let (Some(height), Some(mut current)) = (self.height_of(block), self.position(tip)) else {
            return false;
        };
        if self.is_on_best_chain(block) {
            return self.fork_height(tip).is_some_and(|fork| fork >= height);
        }
        while let Some(node) = self.at(current) {
            if node.height() <= height {
                return node.hash() == block;
            }
            if self.best.get(node.height().get() as usize) == Some(&current) {
                return false;
            }
            current = node.parent();
        }
        false
    }

    /// Takes in headers in any order; see [`Accepted`]. Headers seen before change nothing.
    /// Costs O(1) per header, and O(depth) for each change of branch.
    pub fn accept(&mut self, headers: &[Header], now: UnixSeconds) -> Accepted {
        let mut accepted = Accepted::default();
        let early = std::mem::take(&mut self.early);
        for header in early.iter().chain(headers) {
            self.accept_with_descendants(*header, now, &mut accepted);
        }
        accepted
    }

    /// Marks a block and all that follow it as refused, and returns from which height on the best
    /// chain changed. Costs O(headers).
    pub fn refuse(&mut self, hash: BlockHash) -> Option<Height> {
        let first = self.position(hash)?;
        self.refused.insert(first);
        for position in first..self.end() {
            let follows = self
                .at(position)
                .is_some_and(|node| self.refused.contains(&node.parent()));
            if follows {
                self.refused.insert(position);
            }
        }
        self.rescan()
    }

    /// Restricts the best chain to branches that contain a block, once the block is in the tree.
    /// Returns from which height on the best chain changed. Costs O(headers) if the best chain
    /// does not contain the block.
    pub fn require(&mut self, hash: BlockHash) -> Option<Height> {
        self.root = Some(hash);
        if self.position(hash).is_none() || self.is_on_best_chain(hash) {
            return None;
        }
        self.rescan()
    }

    fn accept_with_descendants(
        &mut self,
        header: Header,
        now: UnixSeconds,
        accepted: &mut Accepted,
    ) {
        let mut ready = vec![header];
        while let Some(header) = ready.pop() {
            let hash = header.block_hash();
            if self.position(hash).is_some() {
                continue;
            }
            let Some(parent) = self.position(header.prev_blockhash) else {
                self.keep_orphan(header, hash, accepted);
                continue;
            };
            match self.join(&header, parent, now) {
                Ok(changed) => {
                    accepted.joined += 1;
                    accepted.changed_from = min_height(accepted.changed_from, changed);
                    if let Some(children) = self.orphans.remove(&hash) {
                        self.orphan_count = self.orphan_count.saturating_sub(children.len());
                        ready.extend(children);
                    }
                }
                Err(error) => {
                    if error.is_transient() && self.early.len() < MAX_EARLY {
                        self.early.push(header);
                    }
                    accepted.refused.push(error);
                }
            }
        }
    }

    fn keep_orphan(&mut self, header: Header, hash: BlockHash, accepted: &mut Accepted) {
        if self.orphan_count >= MAX_ORPHANS {
            accepted.dropped += 1;
            return;
        }
        let siblings = self.orphans.entry(header.prev_blockhash).or_default();
        if siblings.iter().all(|other| other.block_hash() != hash) {
            siblings.push(header);
            self.orphan_count += 1;
        }
    }

    /// Adds a header below its parent; returns from which height on the best chain changed.
    fn join(
        &mut self,
        header: &Header,
        parent: u32,
        now: UnixSeconds,
    ) -> Result<Option<Height>, HeaderError> {
        let Some(above) = self.context_at(parent) else {
            return Ok(None);
        };
        let context = above.accept(header, self.network, now)?;
        let position = self.push(&context, parent);
        self.latest = (position, context);
        let is_refused = self.refused.contains(&parent);
        if is_refused {
            self.refused.insert(position);
        }
        if self.root == Some(context.hash()) {
            return Ok(self.rescan());
        }
        if is_refused || context.chain_work() <= self.best_work() {
            return Ok(None);
        }
        if !self.contains_root(position) {
            return Ok(None);
        }
        Ok(self.switch_to(position))
    }

    /// Finds the best tip anew.
    fn rescan(&mut self) -> Option<Height> {
        let root = self.root.and_then(|hash| self.position(hash));
        // Positions grow from parent to child, so one pass sees every parent first.
        let mut contains_root: Vec<bool> = Vec::with_capacity(self.nodes.len());
        let mut best: Option<(ChainWork, u32)> = None;
        for (position, node) in (0..).zip(&self.nodes) {
            let contains = root.is_none_or(|root| position == root)
                || (position != 0
                    && contains_root.get(node.parent() as usize).copied() == Some(true));
            contains_root.push(contains);
            let work = node.chain_work();
            let is_refused = self.refused.contains(&position);
            if contains && !is_refused && best.is_none_or(|(most, _)| work > most) {
                best = Some((work, position));
            }
        }
        // With a refused root nothing qualifies; what is on the chain already stays.
        best.and_then(|(_, position)| self.switch_to(position))
    }

    fn contains_root(&self, position: u32) -> bool {
        let Some(root) = self.root.and_then(|hash| self.node(hash)) else {
            return true;
        };
        // The common case extends the best chain, which contains the root by construction.
        let mut current = position;
        while let Some(node) = self.at(current) {
            let height = node.height();
            if height <= root.height() {
                return node.hash() == root.hash();
            }
            if self.best.get(height.get() as usize) == Some(&current) {
                return self.is_on_best_chain(root.hash());
            }
            current = node.parent();
        }
        false
    }

    /// Makes the chain that ends at `tip` the best one.
    fn switch_to(&mut self, tip: u32) -> Option<Height> {
        let mut branch = Vec::new();
        let mut current = tip;
        while let Some(node) = self.at(current) {
            let height = node.height().get() as usize;
            if self.best.get(height) == Some(&current) {
                break;
            }
            branch.push(current);
            current = node.parent();
        }
        let fork = self.at(current)?.height().get() as usize;
        if branch.is_empty() && fork + 1 == self.best.len() {
            return None;
        }
        self.best.truncate(fork + 1);
        self.best.extend(branch.iter().rev());
        u32::try_from(fork + 1).ok().map(Height::new)
    }

    fn best_work(&self) -> ChainWork {
        self.best_node(self.tip_height())
            .map_or(ChainWork::ZERO, Node::chain_work)
    }

    fn best_node(&self, height: Height) -> Option<&Node> {
        let position = self.best.get(height.get() as usize)?;
        self.at(*position)
    }

    fn node(&self, hash: BlockHash) -> Option<&Node> {
        self.at(self.position(hash)?)
    }

    fn at(&self, position: u32) -> Option<&Node> {
        self.nodes.get(position as usize)
    }

    fn position(&self, hash: BlockHash) -> Option<u32> {
        self.positions.get(hash, &self.nodes)
    }

    /// Adds a judged header.
    fn push(&mut self, context: &HeaderContext, parent: u32) -> u32 {
        let position = self.end();
        let node = Node::new(context, parent, self.at(parent), position, self.network);
        self.nodes.push(node);
        self.positions.insert(position, &self.nodes);
        position
    }

    fn end(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }
}

fn min_height(one: Option<Height>, other: Option<Height>) -> Option<Height> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
