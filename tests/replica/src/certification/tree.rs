//! Builds hash trees (interface spec, "Certification") from path/value pairs.
//!
//! A tree holds exactly what was inserted, so a label that is not there is provably absent and
//! nothing needs pruning: each response carries a freshly signed small tree of its own.

use ic_certification::{HashTree, fork, label, leaf};
use std::collections::BTreeMap;

/// A labelled tree under construction.
#[derive(Debug, Default)]
pub struct TreeBuilder {
    children: BTreeMap<Vec<u8>, Node>,
}

#[derive(Debug)]
enum Node {
    Leaf(Vec<u8>),
    Subtree(TreeBuilder),
}

impl TreeBuilder {
    /// Returns an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `value` at `path`. A later insertion at the same path wins; a path that runs through an
    /// existing leaf replaces that leaf by a subtree. An empty path is ignored.
    pub fn insert(&mut self, path: &[&[u8]], value: impl Into<Vec<u8>>) {
        match path {
            [] => {}
            [last] => {
                self.children
                    .insert(last.to_vec(), Node::Leaf(value.into()));
            }
            [first, rest @ ..] => {
                let child = self
                    .children
                    .entry(first.to_vec())
                    .or_insert_with(|| Node::Subtree(Self::new()));
                if let Node::Leaf(_) = child {
                    *child = Node::Subtree(Self::new());
                }
                if let Node::Subtree(subtree) = child {
                    subtree.insert(rest, value);
                }
            }
        }
    }

    /// Returns the hash tree: labels in order, forks balanced.
    pub fn build(self) -> HashTree {
        let mut nodes: Vec<HashTree> = self
            .children
            .into_iter()
            .map(|(name, node)| match node {
                Node::Leaf(value) => label(name, leaf(value)),
                Node::Subtree(subtree) => label(name, subtree.build()),
            })
            .collect();
        while nodes.len() > 1 {
            let mut pairs = nodes.into_iter();
            let mut next = Vec::new();
            while let Some(left) = pairs.next() {
                next.push(match pairs.next() {
                    Some(right) => fork(left, right),
                    None => left,
                });
            }
            nodes = next;
        }
        nodes.pop().unwrap_or_else(ic_certification::empty)
    }
}

/// Returns the LEB128 form of `value`, as the state tree stores numbers.
pub fn leb128(value: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(10);
    leb128::write::unsigned(&mut bytes, value).expect("writing to a vector cannot fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_certification::LookupResult;

    #[test]
    fn every_inserted_path_is_found_and_the_others_are_proven_absent() {
        for count in 0u8..9 {
            let mut tree = TreeBuilder::new();
            for i in 0..count {
                tree.insert(&[b"canister", &[2 * i], b"module_hash"], vec![i]);
            }
            tree.insert(&[b"time"], leb128(300));
            let tree = tree.build();
            assert_eq!(tree.lookup_path([b"time"]), LookupResult::Found(&[0xac, 2]));
            for i in 0..count {
                let path: [&[u8]; 3] = [b"canister", &[2 * i], b"module_hash"];
                assert_eq!(tree.lookup_path(path), LookupResult::Found(&[i]));
                let neighbour: [&[u8]; 3] = [b"canister", &[2 * i + 1], b"module_hash"];
                assert_eq!(tree.lookup_path(neighbour), LookupResult::Absent);
            }
        }
    }
}
