//! Named cases of the tree, then random operations against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::fixtures::{NOW, framed_blocks, mine, mine_child};
use crate::units::{Height, UnixSeconds};

fn tree_with_capacity(capacity: usize) -> Tree {
    let genesis = HeaderContext::genesis(Network::Regtest);
    Tree::with_capacity(genesis, Network::Regtest, capacity)
}

fn tree() -> Tree {
    tree_with_capacity(MAX_TREE_NODES)
}

/// Adds a child of `parent` by header only.
fn add(tree: &mut Tree, parent: BlockHash, salt: u64) -> BlockHash {
    let header = mine_child(tree.get(&parent).unwrap().context(), salt);
    assert_eq!(tree.insert_header(&header, NOW), Ok(Inserted::New));
    header.block_hash()
}

/// Adds a connected child of `parent`.
fn connect(tree: &mut Tree, parent: BlockHash, salt: u64) -> BlockHash {
    let hash = add(tree, parent, salt);
    tree.mark_body(&hash).unwrap();
    tree.mark_connected(&hash).unwrap();
    hash
}

fn chain(tree: &mut Tree, mut parent: BlockHash, salt: u64, length: usize) -> Vec<BlockHash> {
    (0..length)
        .map(|_| {
            parent = connect(tree, parent, salt);
            parent
        })
        .collect()
}

#[test]
fn a_new_tree_is_its_connected_root() {
    let tree = tree();
    let root = tree.root_hash();
    assert_eq!(tree.len(), 1);
    assert_eq!(tree.best_tip(), root);
    assert_eq!(tree.best_header_tip(), root);
    assert_eq!(tree.next_to_connect(), None);
    assert_eq!(tree.get(&root).unwrap().status(), BlockStatus::Connected);
}

#[test]
fn headers_arrive_once_and_need_their_parent() {
    let mut tree = tree();
    let root = tree.root_hash();
    let first = mine_child(tree.root().unwrap().context(), 0);
    let second = mine(first.block_hash(), first.time + 600, 0);
    let unknown = TreeError::UnknownParent {
        hash: second.block_hash(),
        parent: first.block_hash(),
    };
    assert_eq!(tree.insert_header(&second, NOW), Err(unknown.clone()));
    assert!(unknown.is_transient());
    // Adapters know by these words that the block is to be pushed again.
    assert!(unknown.to_string().starts_with("unknown parent: "));
    assert_eq!(tree.insert_header(&first, NOW), Ok(Inserted::New));
    assert_eq!(tree.insert_header(&second, NOW), Ok(Inserted::New));
    assert_eq!(
        tree.insert_header(&first, NOW),
        Ok(Inserted::Known(BlockStatus::HeaderOnly))
    );
    let root_header = *tree.get(&root).unwrap().context().header();
    assert_eq!(
        tree.insert_header(&root_header, NOW),
        Ok(Inserted::Known(BlockStatus::Connected))
    );
}

#[test]
fn a_header_that_breaks_a_rule_leaves_the_tree_unchanged() {
    let mut tree = tree();
    let header = mine(tree.root_hash(), 1, 0);
    let error = tree.insert_header(&header, NOW).unwrap_err();
    assert!(
        matches!(error, TreeError::Header(HeaderError::TimeTooOld { .. })),
        "{error}"
    );
    assert!(!error.is_transient());
    let early = mine_child(tree.root().unwrap().context(), 0);
    let error = tree.insert_header(&early, UnixSeconds::ZERO).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(tree.len(), 1);
}

#[test]
fn blocks_connect_parents_first_and_most_work_first() {
    let mut tree = tree();
    let root = tree.root_hash();
    let a1 = add(&mut tree, root, 1);
    let a2 = add(&mut tree, a1, 1);
    let b1 = add(&mut tree, root, 2);
    tree.mark_body(&a2).unwrap();
    assert_eq!(tree.next_to_connect(), None, "its parent has no body");
    assert_eq!(
        tree.mark_connected(&a2),
        Err(TreeError::ParentNotConnected {
            hash: a2,
            parent: a1
        })
    );
    assert_eq!(tree.mark_body(&b1), Ok(true));
    assert_eq!(tree.mark_body(&b1), Ok(false));
    tree.mark_body(&a1).unwrap();
    assert_eq!(tree.next_to_connect(), Some(b1), "first received of equals");
    tree.mark_connected(&b1).unwrap();
    assert_eq!(tree.best_tip(), b1);
    tree.mark_connected(&a1).unwrap();
    assert_eq!(tree.best_tip(), b1, "a tie goes to the body received first");
    assert_eq!(tree.next_to_connect(), Some(a2));
    tree.mark_connected(&a2).unwrap();
    assert_eq!(tree.best_tip(), a2);
    assert_eq!(tree.next_to_connect(), None);
}

#[test]
fn operations_out_of_order_name_the_status() {
    let mut tree = tree();
    let root = tree.root_hash();
    let child = add(&mut tree, root, 0);
    let wrong = |operation, status| TreeError::WrongStatus {
        hash: child,
        status,
        operation,
    };
    assert_eq!(
        tree.mark_connected(&child),
        Err(wrong("connected", BlockStatus::HeaderOnly))
    );
    assert_eq!(
        tree.drop_body(&child),
        Err(wrong("stripped of its body", BlockStatus::HeaderOnly))
    );
    assert_eq!(
        tree.reroot(&child),
        Err(wrong("made the root", BlockStatus::HeaderOnly))
    );
    tree.mark_invalid(&child, InvalidReason::Coins).unwrap();
    assert_eq!(
        tree.mark_body(&child),
        Err(wrong(
            "given a body",
            BlockStatus::Invalid(InvalidReason::Coins)
        ))
    );
    assert_eq!(
        tree.mark_invalid(&root, InvalidReason::Coins),
        Err(TreeError::Root {
            hash: root,
            operation: "marked invalid"
        })
    );
    let unknown = mine(root, 1, 9).block_hash();
    assert_eq!(
        tree.mark_body(&unknown),
        Err(TreeError::UnknownBlock { hash: unknown })
    );
}

#[test]
fn a_dropped_body_is_wanted_again() {
    let mut tree = tree();
    let root = tree.root_hash();
    let child = add(&mut tree, root, 0);
    let status = |tree: &Tree| tree.get(&child).unwrap().status();
    tree.mark_body(&child).unwrap();
    assert_eq!(status(&tree), BlockStatus::BodyHeld);
    assert_eq!(tree.next_to_connect(), Some(child));
    tree.drop_body(&child).unwrap();
    assert_eq!(status(&tree), BlockStatus::HeaderOnly);
    assert_eq!(tree.next_to_connect(), None);
}

#[test]
fn invalid_blocks_take_descendants_along_and_refuse_children() {
    let mut tree = tree();
    let root = tree.root_hash();
    let good = connect(&mut tree, root, 1);
    let bad = connect(&mut tree, root, 2);
    let bad_tip = chain(&mut tree, bad, 2, 3);
    assert_eq!(tree.best_tip(), bad_tip[2]);
    let marked = tree.mark_invalid(&bad, InvalidReason::Structure).unwrap();
    assert_eq!(marked.len(), 4);
    assert_eq!(marked[0], bad);
    assert_eq!(tree.best_tip(), good);
    assert_eq!(tree.best_header_tip(), good);
    assert_eq!(tree.invalid_count(), 4);
    assert_eq!(
        tree.get(&bad_tip[2]).unwrap().status(),
        BlockStatus::Invalid(InvalidReason::Ancestor)
    );
    let child = mine_child(tree.get(&bad).unwrap().context(), 7);
    assert_eq!(
        tree.insert_header(&child, NOW),
        Err(TreeError::InvalidParent {
            hash: child.block_hash(),
            parent: bad,
            reason: InvalidReason::Structure
        })
    );
    assert!(
        tree.processed_blocks(&BTreeSet::new())
            .contains(&bad_tip[2])
    );
}

#[test]
fn invalid_blocks_are_remembered_within_a_bound() {
    let mut tree = tree();
    let root = tree.root_hash();
    let mut last = root;
    for salt in 0..=MAX_INVALID_NODES as u64 {
        last = add(&mut tree, root, salt);
        tree.mark_invalid(&last, InvalidReason::Coins).unwrap();
    }
    assert_eq!(tree.invalid_count(), MAX_INVALID_NODES);
    assert_eq!(tree.len(), MAX_INVALID_NODES + 1);
    assert!(
        tree.get(&last).is_some(),
        "the first seen of equal work goes first"
    );
}

#[test]
fn a_full_tree_sheds_the_branch_with_least_work() {
    let mut tree = tree_with_capacity(6);
    let root = tree.root_hash();
    let main = chain(&mut tree, root, 1, 3);
    let side1 = add(&mut tree, root, 2);
    let side2 = add(&mut tree, side1, 2);
    let main4 = add(&mut tree, main[2], 1);
    assert!(tree.get(&side2).is_none(), "the side branch's leaf went");
    let main5 = add(&mut tree, main4, 1);
    assert!(tree.get(&side1).is_none(), "then the rest of it");
    assert_eq!(tree.best_header_tip(), main5);
    assert_eq!(tree.best_tip(), main[2]);

    let late = mine_child(tree.get(&main[0]).unwrap().context(), 3);
    assert_eq!(
        tree.insert_header(&late, NOW),
        Err(TreeError::Full {
            hash: late.block_hash(),
            capacity: 6
        })
    );
    let extension = mine_child(tree.get(&main5).unwrap().context(), 1);
    let error = tree.insert_header(&extension, NOW).unwrap_err();
    assert!(
        error.is_transient(),
        "the best chain fills the tree: {error}"
    );
    tree.reroot(&main[0]).unwrap();
    assert_eq!(tree.insert_header(&extension, NOW), Ok(Inserted::New));
}

#[test]
fn a_header_of_equal_work_takes_the_place_of_the_first_seen_one_without_a_body() {
    let mut tree = tree_with_capacity(6);
    let root = tree.root_hash();
    let best = add(&mut tree, root, 1);
    let best = add(&mut tree, best, 1);
    let with_body = connect(&mut tree, root, 2);
    let first_seen = add(&mut tree, root, 3);
    let second_seen = add(&mut tree, root, 4);
    let equal = add(&mut tree, root, 5);
    assert!(tree.get(&first_seen).is_none());
    for kept in [best, with_body, second_seen, equal] {
        assert!(tree.get(&kept).is_some());
    }
    // A body goes only when nothing without one has as little work.
    let equal_too = add(&mut tree, root, 6);
    assert!(tree.get(&second_seen).is_none());
    tree.mark_body(&equal).unwrap();
    tree.mark_body(&equal_too).unwrap();
    tree.mark_connected(&equal).unwrap();
    let last = add(&mut tree, root, 7);
    // The best block is not shed, so that the next one in order is.
    assert_eq!(tree.best_tip(), with_body);
    assert!(tree.get(&equal).is_none() && tree.get(&last).is_some());
}

#[test]
fn a_block_that_was_shed_and_came_back_is_reported_as_both() {
    let mut tree = tree_with_capacity(4);
    let root = tree.root_hash();
    connect(&mut tree, root, 1);
    let shed = connect(&mut tree, root, 2);
    let other = connect(&mut tree, root, 3);
    tree.take_changes();
    let newcomer = add(&mut tree, root, 4);
    assert!(tree.get(&shed).is_none());
    assert_eq!(add(&mut tree, root, 2), shed);
    assert!(tree.get(&newcomer).is_none() && tree.get(&other).is_some());
    let changes = tree.take_changes();
    let back: Vec<BlockHash> = changes.puts.iter().map(NodeRecord::hash).collect();
    assert_eq!(back, [shed]);
    assert!(changes.removes.contains(&shed) && changes.removes.contains(&newcomer));
}

#[test]
fn invalid_leaves_are_shed_before_valid_ones() {
    let mut tree = tree_with_capacity(4);
    let root = tree.root_hash();
    let a = add(&mut tree, root, 1);
    let b1 = add(&mut tree, root, 2);
    let b2 = add(&mut tree, b1, 2);
    tree.mark_invalid(&b1, InvalidReason::Structure).unwrap();
    let c = add(&mut tree, root, 3);
    assert!(tree.get(&b2).is_none());
    assert!(tree.get(&a).is_some() && tree.get(&b1).is_some() && tree.get(&c).is_some());
}

#[test]
fn pruning_removes_other_branches_from_their_ends_a_few_blocks_at_a_time() {
    let mut tree = tree();
    let root = tree.root_hash();
    let main = chain(&mut tree, root, 1, 3);
    let side = chain(&mut tree, root, 2, 4);
    let fork = connect(&mut tree, side[1], 3);
    let kept = connect(&mut tree, main[0], 4);
    tree.take_changes();
    assert_eq!(
        tree.prune(&main[1], 9),
        Err(TreeError::NotChildOfRoot { hash: main[1] })
    );
    assert_eq!(tree.prune(&main[0], 2), Ok(2));
    let left: Vec<bool> = side
        .iter()
        .chain([&fork])
        .map(|hash| tree.get(hash).is_some())
        .collect();
    // The newest child first, then the end of the branch before it.
    assert_eq!(left, [true, true, true, false, false]);
    assert_eq!(tree.take_changes().removes.len(), 2);
    assert_eq!(tree.prune(&main[0], 0), Ok(0));
    assert_eq!(tree.prune(&main[0], 9), Ok(3), "none is left");
    assert_eq!(tree.prune(&main[0], 9), Ok(0));
    assert_eq!((tree.len(), tree.root_hash()), (5, root));
    assert_eq!(tree.best_tip(), main[2]);
    let rerooted = tree.reroot(&main[0]).unwrap();
    assert_eq!(rerooted.removed, []);
    assert!(tree.get(&kept).is_some());
}

#[test]
fn rerooting_drops_all_other_branches() {
    let mut tree = tree();
    let root = tree.root_hash();
    let main = chain(&mut tree, root, 1, 3);
    let side = chain(&mut tree, root, 2, 2);
    let fork = connect(&mut tree, main[0], 3);
    tree.take_changes();
    assert_eq!(
        tree.reroot(&main[1]),
        Err(TreeError::NotChildOfRoot { hash: main[1] })
    );
    let rerooted = tree.reroot(&main[0]).unwrap();
    assert_eq!(
        rerooted,
        Rerooted {
            old_root: root,
            removed: vec![
                (side[0], BlockStatus::Connected),
                (side[1], BlockStatus::Connected)
            ]
        }
    );
    assert_eq!(tree.root_hash(), main[0]);
    assert_eq!(tree.len(), 4);
    assert_eq!(
        tree.children(&main[0]).map(Node::hash).collect::<Vec<_>>(),
        [main[1], fork]
    );
    let changes = tree.take_changes();
    assert_eq!(changes.root, main[0]);
    let mut gone = vec![root, side[0], side[1]];
    gone.sort();
    assert_eq!(changes.removes, gone);
    assert!(changes.puts.is_empty());
    // Slots are reused; stale skip pointers into them must not be followed.
    let more = chain(&mut tree, main[2], 1, 40);
    assert!(tree.is_ancestor(&main[1], &more[39]));
    assert!(!tree.is_ancestor(&fork, &more[39]));
    assert!(!tree.is_ancestor(&root, &more[39]));
}

#[test]
fn processed_blocks_come_in_pre_order_without_the_root() {
    let mut tree = tree();
    let root = tree.root_hash();
    let a = chain(&mut tree, root, 1, 2);
    let b = chain(&mut tree, root, 2, 1);
    let a_fork = chain(&mut tree, a[0], 3, 1);
    add(&mut tree, b[0], 2);
    let none = BTreeSet::new();
    assert_eq!(tree.processed_blocks(&none), [a[0], a[1], a_fork[0], b[0]]);
    let known = add(&mut tree, a[0], 4);
    let held_off = BTreeSet::from([known]);
    let processed = [a[0], a[1], a_fork[0], known, b[0]];
    assert_eq!(tree.processed_blocks(&held_off), processed);
}

#[test]
fn a_real_fork_between_two_mainnet_branches_is_decided_by_work() {
    let header = |bytes: &Vec<u8>| crate::block::decode_header(bytes).unwrap();
    let real = framed_blocks("blocktools/1M.dat");
    let alternate = framed_blocks("bitcoin-core/mainnet_alt_blocks_1_2016.dat");
    let mut tree = Tree::new(HeaderContext::genesis(Network::Mainnet), Network::Mainnet);
    for bytes in &real[1..=2016] {
        tree.insert_header(&header(bytes), NOW).unwrap();
    }
    let real_2016 = tree.best_header_tip();
    for bytes in &alternate[..2015] {
        tree.insert_header(&header(bytes), NOW).unwrap();
        assert_eq!(tree.best_header_tip(), real_2016);
    }
    // The alternate branch's 2016th block is four times as hard.
    tree.insert_header(&header(&alternate[2015]), NOW).unwrap();
    assert_eq!(
        tree.best_header_tip().to_string(),
        "000000000c806553811fd3e6c40bc9c279db53643da7d3b401a9882c074c24b2"
    );
    for bytes in &real[2017..=2019] {
        tree.insert_header(&header(bytes), NOW).unwrap();
    }
    let real_2019 = header(&real[2019]).block_hash();
    assert_ne!(tree.best_header_tip(), real_2019, "equal work, seen later");
    tree.insert_header(&header(&real[2020]), NOW).unwrap();
    assert_eq!(tree.best_header_tip(), header(&real[2020]).block_hash());
}

#[test]
fn restoring_reports_records_that_fit_nowhere() {
    let mut tree = tree();
    let root = tree.root_hash();
    let main = chain(&mut tree, root, 1, 3);
    let records = tree.take_changes().puts;
    let without = |hash: BlockHash| -> Vec<NodeRecord> {
        records
            .iter()
            .filter(|record| record.hash() != hash)
            .cloned()
            .collect()
    };
    assert_eq!(
        Tree::restore(&root, without(root), Network::Regtest, 9).unwrap_err(),
        RestoreError::NoRoot { root, records: 3 }
    );
    let restored = Tree::restore(&root, without(main[1]), Network::Regtest, 9).unwrap();
    assert_eq!(restored.dropped, [main[2]]);
    assert_eq!(restored.tree.best_tip(), main[0]);

    let mut twice = records.clone();
    twice.extend(records.clone());
    let restored = Tree::restore(&root, twice, Network::Regtest, 9).unwrap();
    assert_eq!(restored.dropped.len(), 4);
    assert_eq!(restored.tree.best_tip(), main[2]);

    let mut unsound = records.clone();
    for record in &mut unsound {
        if record.hash() == main[0] {
            record.status = BlockStatus::BodyHeld;
        }
    }
    let restored = Tree::restore(&root, unsound, Network::Regtest, 9).unwrap();
    assert_eq!(restored.dropped, [main[1], main[2]]);
    assert_eq!(restored.tree.next_to_connect(), Some(main[0]));
}

#[test]
fn records_with_unknown_codes_are_refused() {
    let record = NodeRecord::of(tree().root().unwrap());
    let bytes = record.encode();
    assert_eq!(NodeRecord::decode(&bytes), Ok(record));
    for (status, reason, field) in [
        (4, 0, "block status"),
        (0, 1, "block status"),
        (3, 0, "invalid reason"),
        (3, 6, "invalid reason"),
    ] {
        let mut damaged = bytes;
        damaged[224] = status;
        damaged[225] = reason;
        let error = NodeRecord::decode(&damaged).unwrap_err();
        assert!(
            matches!(error, crate::header::RecordError::Field { field: f, .. } if f == field),
            "{error}"
        );
    }
    assert!(NodeRecord::decode(&bytes[1..]).is_err());
}

/// The tree as a plain list in arrival order; every answer is a scan.
#[derive(Clone, Default)]
struct Model {
    nodes: Vec<ModelNode>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct ModelNode {
    hash: BlockHash,
    parent: BlockHash,
    height: u32,
    status: BlockStatus,
    body_arrival: u64,
}

impl Model {
    fn get(&self, hash: &BlockHash) -> Option<&ModelNode> {
        self.nodes.iter().find(|node| node.hash == *hash)
    }

    fn get_mut(&mut self, hash: &BlockHash) -> Option<&mut ModelNode> {
        self.nodes.iter_mut().find(|node| node.hash == *hash)
    }

    fn is_connected(&self, hash: &BlockHash) -> bool {
        self.get(hash)
            .is_some_and(|node| node.status == BlockStatus::Connected)
    }

    fn is_below(&self, node: &ModelNode, ancestor: &BlockHash) -> bool {
        let mut walk = Some(node);
        while let Some(node) = walk {
            if node.hash == *ancestor {
                return true;
            }
            walk = self.get(&node.parent);
        }
        false
    }

    /// On regtest all blocks are equally hard, so height stands for work.
    fn best<K: Ord>(
        &self,
        keep: impl Fn(&ModelNode) -> bool,
        arrival: impl Fn(&ModelNode) -> K,
    ) -> Option<BlockHash> {
        self.nodes
            .iter()
            .filter(|node| keep(node))
            .max_by_key(|node| (node.height, std::cmp::Reverse(arrival(node))))
            .map(|node| node.hash)
    }

    fn header_arrival(&self, hash: &BlockHash) -> usize {
        self.nodes
            .iter()
            .position(|node| node.hash == *hash)
            .unwrap()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(prop::sample::Index),
    Body(prop::sample::Index),
    ConnectNext,
    Invalid(prop::sample::Index),
    DropBody(prop::sample::Index),
    Reroot(prop::sample::Index),
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        6 => index().prop_map(Step::Insert),
        6 => index().prop_map(Step::Body),
        6 => Just(Step::ConnectNext),
        1 => index().prop_map(Step::Invalid),
        1 => index().prop_map(Step::DropBody),
        1 => index().prop_map(Step::Reroot),
        1 => Just(Step::Restore),
    ];
    proptest::collection::vec(step, 1..80)
}

fn check(tree: &Tree, model: &Model) {
    let valid = |node: &ModelNode| !matches!(node.status, BlockStatus::Invalid(_));
    let connected = |node: &ModelNode| node.status == BlockStatus::Connected;
    let connectable =
        |node: &ModelNode| node.status == BlockStatus::BodyHeld && model.is_connected(&node.parent);
    assert_eq!(tree.len(), model.nodes.len());
    assert_eq!(
        Some(tree.best_tip()),
        model.best(connected, |node| node.body_arrival)
    );
    assert_eq!(
        tree.next_to_connect(),
        model.best(connectable, |node| node.body_arrival)
    );
    assert_eq!(
        Some(tree.best_header_tip()),
        model.best(valid, |node| model.header_arrival(&node.hash))
    );
    for node in &model.nodes {
        let held = tree.get(&node.hash).unwrap();
        assert_eq!(held.status(), node.status);
        for other in &model.nodes {
            assert_eq!(
                tree.is_ancestor(&other.hash, &node.hash),
                model.is_below(node, &other.hash)
            );
        }
        let path: Vec<BlockHash> = tree.path(&node.hash).map(Node::hash).collect();
        assert_eq!(path.first(), Some(&node.hash));
        assert_eq!(path.last(), Some(&tree.root_hash()));
        let at = tree.ancestor_at(&node.hash, Height::new(node.height));
        assert_eq!(at.map(Node::hash), Some(node.hash));
    }
}

fn apply(tree: &mut Tree, model: &mut Model, step: &Step, salt: u64) {
    let pick = |index: &prop::sample::Index| index.get(&model.nodes).clone();
    match step {
        Step::Insert(index) => {
            let parent = pick(index);
            let header = mine_child(tree.get(&parent.hash).unwrap().context(), salt);
            let result = tree.insert_header(&header, NOW);
            if matches!(parent.status, BlockStatus::Invalid(_)) {
                assert!(matches!(result, Err(TreeError::InvalidParent { .. })));
                return;
            }
            assert_eq!(result, Ok(Inserted::New));
            model.nodes.push(ModelNode {
                hash: header.block_hash(),
                parent: parent.hash,
                height: parent.height + 1,
                status: BlockStatus::HeaderOnly,
                body_arrival: 0,
            });
        }
        Step::Body(index) => {
            let node = pick(index);
            let result = tree.mark_body(&node.hash);
            match node.status {
                BlockStatus::HeaderOnly => {
                    assert_eq!(result, Ok(true));
                    model.arrivals += 1;
                    let arrival = model.arrivals;
                    let node = model.get_mut(&node.hash).unwrap();
                    node.status = BlockStatus::BodyHeld;
                    node.body_arrival = arrival;
                }
                BlockStatus::Invalid(_) => assert!(result.is_err()),
                _ => assert_eq!(result, Ok(false)),
            }
        }
        Step::ConnectNext => {
            if let Some(next) = tree.next_to_connect() {
                tree.mark_connected(&next).unwrap();
                model.get_mut(&next).unwrap().status = BlockStatus::Connected;
            }
        }
        Step::Invalid(index) => {
            let node = pick(index);
            if tree.mark_invalid(&node.hash, InvalidReason::Coins).is_err() {
                assert_eq!(node.hash, tree.root_hash());
                return;
            }
            let below: Vec<BlockHash> = model
                .nodes
                .iter()
                .filter(|other| model.is_below(other, &node.hash))
                .map(|other| other.hash)
                .collect();
            for hash in below {
                let entry = model.get_mut(&hash).unwrap();
                if !matches!(entry.status, BlockStatus::Invalid(_)) {
                    entry.status = BlockStatus::Invalid(if hash == node.hash {
                        InvalidReason::Coins
                    } else {
                        InvalidReason::Ancestor
                    });
                }
            }
        }
        Step::DropBody(index) => {
            let node = pick(index);
            let result = tree.drop_body(&node.hash);
            assert_eq!(result.is_ok(), node.status == BlockStatus::BodyHeld);
            if result.is_ok() {
                let node = model.get_mut(&node.hash).unwrap();
                node.status = BlockStatus::HeaderOnly;
                node.body_arrival = 0;
            }
        }
        Step::Reroot(index) => {
            let node = pick(index);
            let is_child = node.parent == tree.root_hash();
            let result = tree.reroot(&node.hash);
            assert_eq!(
                result.is_ok(),
                is_child && node.status == BlockStatus::Connected
            );
            if let Ok(rerooted) = result {
                let kept: Vec<ModelNode> = model
                    .nodes
                    .iter()
                    .filter(|other| model.is_below(other, &node.hash))
                    .cloned()
                    .collect();
                assert_eq!(rerooted.removed.len() + 1, model.nodes.len() - kept.len());
                model.nodes = kept;
            }
        }
        Step::Restore => {}
    }
}

proptest! {
    #[test]
    fn the_tree_answers_as_a_plain_list_does_and_survives_its_records(steps in steps()) {
        let mut tree = tree();
        let root = tree.root_hash();
        let mut model = Model::default();
        model.nodes.push(ModelNode {
            hash: root,
            parent: root,
            height: 0,
            status: BlockStatus::Connected,
            body_arrival: 0,
        });
        // What a store would hold, kept from the changes alone.
        let mut stored: BTreeMap<BlockHash, [u8; NODE_RECORD_BYTES]> = BTreeMap::new();
        for (salt, step) in (0u64..).zip(&steps) {
            // A root that is its own parent would make the model's walks endless.
            if let Some(first) = model.nodes.iter().position(|node| node.hash == tree.root_hash()) {
                model.nodes[first].parent = bitcoin::hashes::Hash::all_zeros();
            }
            apply(&mut tree, &mut model, step, salt);
            let changes = tree.take_changes();
            for hash in &changes.removes {
                stored.remove(hash);
            }
            for record in &changes.puts {
                stored.insert(record.hash(), record.encode());
            }
            prop_assert_eq!(changes.root, tree.root_hash());
            if matches!(step, Step::Restore) {
                let records = stored.values().map(|bytes| NodeRecord::decode(bytes).unwrap()).collect();
                let restored = Tree::restore(&changes.root, records, Network::Regtest, MAX_TREE_NODES).unwrap();
                prop_assert!(restored.dropped.is_empty());
                tree = restored.tree;
            }
            check(&tree, &model);
        }
    }

    #[test]
    fn a_small_tree_keeps_its_bound_and_its_best_tips(parents in proptest::collection::vec(any::<prop::sample::Index>(), 1..120)) {
        let mut tree = tree_with_capacity(12);
        for (salt, parent) in (0u64..).zip(&parents) {
            let hashes: Vec<BlockHash> = tree.hashes().copied().collect();
            let parent = *parent.get(&hashes);
            let best = (tree.best_header_tip(), tree.best_tip());
            let header = mine_child(tree.get(&parent).unwrap().context(), salt);
            let result = tree.insert_header(&header, NOW);
            prop_assert!(tree.len() <= 12);
            prop_assert!(tree.get(&best.0).is_some() && tree.get(&best.1).is_some());
            if result.is_ok() {
                prop_assert_eq!(tree.path(&header.block_hash()).last().unwrap().hash(), tree.root_hash());
                if tree.mark_body(&header.block_hash()).is_ok() {
                    let _ = tree.mark_connected(&header.block_hash());
                }
            } else {
                prop_assert!(tree.get(&header.block_hash()).is_none());
            }
        }
    }
}
