//! Floods of headers and forks: what is shed has least work, the chain that goes on gets in and
//! connects, and a header costs the same at every depth.

use std::cell::Cell;

use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;

use super::*;
use crate::fixtures::{NOW, mine_child};
use crate::header::{ChainWork, SkipList, skip_height};
use crate::units::Height;

/// Nodes of the small trees that most floods here fill.
const CAPACITY: usize = 300;

/// Whose header takes how much work here; made up, so that no test has to find testnet4's hashes.
const MINIMUM_WORK: u8 = 1;
const REAL_WORK: u8 = 200;

fn hash_number(network: u8, salt: u32) -> BlockHash {
    let mut bytes = [network; 32];
    bytes[..4].copy_from_slice(&salt.to_le_bytes());
    BlockHash::from_byte_array(bytes)
}

/// A testnet4 header below `parent` whose proof of work and difficulty were judged elsewhere.
fn judged(parent: &HeaderContext, work: u8, salt: u32) -> HeaderContext {
    let mut header: Header = *parent.header();
    header.prev_blockhash = parent.hash();
    let mut added = [0; 32];
    added[31] = work;
    let total = parent
        .chain_work()
        .saturating_add(ChainWork::from_be_bytes(added));
    let mut bytes = parent.encode();
    bytes[..32].copy_from_slice(hash_number(4, salt).as_byte_array());
    bytes[32..112].copy_from_slice(&serialize(&header));
    bytes[112..116].copy_from_slice(&(parent.height().get() + 1).to_le_bytes());
    bytes[116..148].copy_from_slice(&total.to_be_bytes());
    HeaderContext::decode(&bytes).unwrap()
}

/// A tree of testnet4 and the next unused number.
struct Testnet {
    tree: Tree,
    salt: u32,
}

impl Testnet {
    fn new(capacity: usize) -> Self {
        let genesis = HeaderContext::genesis(Network::Testnet4);
        Self {
            tree: Tree::with_capacity(genesis, Network::Testnet4, capacity),
            salt: 0,
        }
    }

    /// Tries to add a header; checks that what was shed is the end of a branch with least work.
    fn add(&mut self, parent: BlockHash, work: u8) -> Result<BlockHash, TreeError> {
        self.salt += 1;
        self.tree.take_changes();
        let id = self.tree.id(&parent)?;
        let context = judged(self.tree.node(id).unwrap().context(), work, self.salt);
        let before = self.tree.clone();
        self.tree.place(context, id)?;
        let protected = [
            before.best_header_tip(),
            before.best_tip(),
            parent,
            context.hash(),
        ];
        for shed in self.tree.take_changes().removes {
            let shed = before.get(&shed).unwrap().context().chain_work();
            let might_go = before.tips().filter(|tip| !protected.contains(&tip.hash()));
            let least = might_go.map(|tip| tip.context().chain_work()).min();
            assert_eq!(Some(shed), least);
            assert!(shed <= context.chain_work());
        }
        assert!(self.tree.len() <= self.tree.capacity());
        Ok(context.hash())
    }

    /// Adds a block of real difficulty to the chain that ends at `tip`, and connects it.
    fn go_on(&mut self, tip: BlockHash) -> BlockHash {
        let hash = self.add(tip, REAL_WORK).unwrap();
        self.tree.mark_body(&hash).unwrap();
        self.tree.mark_connected(&hash).unwrap();
        assert_eq!(self.tree.best_tip(), hash);
        hash
    }
}

#[test]
fn minimum_difficulty_headers_at_any_depth_never_keep_out_a_chain_of_real_difficulty() {
    let mut testnet = Testnet::new(CAPACITY);
    let root = testnet.tree.root_hash();
    let mut honest = vec![root];
    for _ in 0..10 {
        honest.push(testnet.go_on(*honest.last().unwrap()));
    }
    // Branches of up to seven headers from each block of the chain, twice as many as fit, and one
    // block of the chain after every tenth of them.
    let mut shed_all = 0;
    for round in 0..2 * CAPACITY {
        let mut at = honest[round % honest.len()];
        for _ in 0..round % 7 {
            match testnet.add(at, MINIMUM_WORK) {
                Ok(hash) => at = hash,
                Err(TreeError::Full { .. }) => shed_all += 1,
                Err(error) => panic!("{error}"),
            }
        }
        if round % 10 == 0 {
            honest.push(testnet.go_on(*honest.last().unwrap()));
        }
    }
    assert_eq!(testnet.tree.len(), CAPACITY);
    assert!(shed_all > 0, "headers of least work are refused as such");
    assert!(honest.iter().all(|hash| testnet.tree.get(hash).is_some()));
    // When the chain's older blocks are stable, nothing of the flood below is left.
    for pair in honest.windows(2).take(honest.len() - 2) {
        assert_eq!(pair[0], testnet.tree.root_hash());
        testnet.tree.reroot(&pair[1]).unwrap();
    }
    assert!(testnet.tree.len() < CAPACITY / 10, "{}", testnet.tree.len());
}

#[test]
fn a_chain_of_more_work_replaces_a_tree_full_of_any_shape() {
    // (branches, headers of each, whether their blocks are connected)
    for (branches, length, connected) in [
        (CAPACITY, 1, false),
        (CAPACITY, 1, true),
        (CAPACITY / 10, 10, false),
        (CAPACITY / 10, 10, true),
        (2, CAPACITY / 2, false),
        (2, CAPACITY / 2, true),
    ] {
        let mut testnet = Testnet::new(CAPACITY);
        let root = testnet.tree.root_hash();
        for _ in 0..branches {
            let mut at = root;
            for _ in 0..length {
                let Ok(hash) = testnet.add(at, MINIMUM_WORK) else {
                    break;
                };
                if connected {
                    testnet.tree.mark_body(&hash).unwrap();
                    testnet.tree.mark_connected(&hash).unwrap();
                }
                at = hash;
            }
        }
        assert_eq!(testnet.tree.len(), CAPACITY);
        let mut tip = root;
        for _ in 0..CAPACITY - 3 {
            tip = testnet.go_on(tip);
        }
        assert_eq!(testnet.tree.best_header_tip(), tip);
        assert_eq!(testnet.tree.path(&tip).count(), CAPACITY - 2);
    }
}

#[test]
fn siblings_of_equal_work_that_fill_the_tree_do_not_stop_the_chain() {
    let genesis = HeaderContext::genesis(Network::Regtest);
    let mut tree = Tree::with_capacity(genesis, Network::Regtest, CAPACITY);
    let mut salt = 0;
    let mut add = |tree: &mut Tree, parent: BlockHash, connect: bool| {
        salt += 1;
        let header = mine_child(tree.get(&parent).unwrap().context(), salt);
        assert_eq!(tree.insert_header(&header, NOW), Ok(Inserted::New));
        let hash = header.block_hash();
        if connect {
            tree.mark_body(&hash).unwrap();
            tree.mark_connected(&hash).unwrap();
        }
        hash
    };
    let mut tip = tree.root_hash();
    for height in 0..20 {
        // First come as many siblings as the tree holds, every other time with their blocks.
        for _ in 0..CAPACITY {
            add(&mut tree, tip, height % 2 == 0);
        }
        let next = add(&mut tree, tip, true);
        // While the next block is awaited, more of them come.
        for _ in 0..CAPACITY / 2 {
            add(&mut tree, tip, height % 2 == 0);
        }
        tip = next;
        assert!(tree.len() <= CAPACITY);
    }
    let last = add(&mut tree, tip, true);
    assert_eq!(tree.best_tip(), last);
    assert_eq!(tree.path(&last).count(), 22);
}

/// Counts the records a walk looks at.
struct Counted<'a>(&'a Tree, Cell<u32>);

impl SkipList for Counted<'_> {
    type Id = NodeId;

    fn height(&self, id: NodeId) -> Option<Height> {
        self.1.set(self.1.get() + 1);
        self.0.height(id)
    }

    fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.0.parent(id)
    }

    fn skip(&self, id: NodeId) -> Option<NodeId> {
        self.0.skip(id)
    }
}

/// Judging a header takes its parent's context and nothing else of the tree: that is all that
/// `HeaderContext::accept` is given. Besides, its skip ancestor is looked for.
#[test]
fn a_header_costs_the_same_ten_thousand_deep() {
    let genesis = HeaderContext::genesis(Network::Regtest);
    let mut tree = Tree::new(genesis, Network::Regtest);
    let mut parent = genesis;
    let mut most = [0; 3];
    for height in 1..MAX_TREE_NODES as u32 {
        let header = mine_child(&parent, 0);
        let id = tree.id(&parent.hash()).unwrap();
        let counted = Counted(&tree, Cell::new(0));
        let skip = counted.ancestor(id, skip_height(Height::new(height)));
        let expected = tree.ancestor_at(&parent.hash(), skip_height(Height::new(height)));
        let found = skip.map(|id| tree.node(id).unwrap().hash());
        assert_eq!(found, expected.map(Node::hash));
        let reads = counted.1.get();
        tree.insert_header(&header, NOW).unwrap();
        parent = *tree.get(&header.block_hash()).unwrap().context();
        let place = usize::from(height > 10) + usize::from(height > 1_000);
        most[place] = most[place].max(reads);
    }
    assert_eq!(tree.len(), MAX_TREE_NODES);
    // Logarithmic: a thousand times as deep, a few steps more.
    let [shallow, deep, deepest] = most;
    assert!(shallow <= 6 && deep <= 20 && deepest <= 28, "{most:?}");
}
