//! Checks every invariant of the UTXO set; reads all of it.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bitcoin::hashes::{HashEngine, sha256};
use ic_stable_structures::Memory;

use super::Coins;
use super::index::{Index, Node, group_blocks};
use crate::StoreError;
use crate::runs::allocator::Allocator;
use crate::runs::audit::{ChainAudit, audit_manifest, audit_merge};
use crate::runs::change::ChangeRuns;
use crate::runs::extent::Extent;
use crate::runs::manifest::State;

/// Bytes read at once for a digest.
const DIGEST_CHUNK: usize = 65_536;

impl<M: Memory> Coins<M> {
    /// Checks the invariants of `DESIGN.md` for every chain, and that the heap says what stable
    /// memory does.
    pub(crate) fn audit(&self) -> Result<(), StoreError> {
        audit_manifest(&self.region, &self.manifest)?;
        self.audit_heap()?;
        self.audit_chains()?;
        self.audit_imported()?;
        for node in self.index.stable().iter().chain(self.index.unstable()) {
            for ahead in &node.aheads {
                self.audit_ahead(node, ahead)?;
            }
        }
        Ok(())
    }

    /// Checks that a merge made ahead has a whole group's blocks, of one chain and not all of them
    /// merged yet, and does what they do.
    fn audit_ahead(&self, end: &Node, ahead: &Node) -> Result<(), StoreError> {
        let blocks = self.index.down_from(end.id);
        let blocks = blocks.take_while(|block| block.first >= ahead.first);
        let mut blocks: Vec<&Node> = blocks.collect();
        blocks.reverse();
        let next = u64::from(ahead.last.get()) + 1;
        let group = ahead.level.checked_sub(1).map(group_blocks);
        let is_whole = group == Some(next - u64::from(ahead.first.get()))
            && next.is_multiple_of(group.unwrap_or(1))
            && blocks
                .first()
                .is_some_and(|oldest| oldest.first == ahead.first);
        let is_its =
            (ahead.block, ahead.last, ahead.utxo_count) == (end.block, end.last, end.utxo_count);
        if !is_whole || !is_its || blocks.len() < 2 {
            return broken(format!("{ahead:?} ends with {end:?}"));
        }
        let blocks: Vec<ChangeRuns> = blocks.iter().map(|block| block.runs).collect();
        audit_merge(&self.region, &ahead.runs, &blocks)
    }

    /// Checks the pieces of a set that is being imported: they follow each other, and put coins only.
    fn audit_imported(&self) -> Result<(), StoreError> {
        let mut chain = ChainAudit::default();
        let mut next = 0;
        for node in self.index.imported() {
            if node.first.get() != next || node.runs.coins.header().spends > 0 {
                return broken(format!("{node:?} is piece {next}"));
            }
            next = node.last.get() + 1;
            chain.apply(&self.region, &node.runs)?;
        }
        Ok(())
    }

    /// Checks the stable changes, and every chain of unstable ones on top.
    fn audit_chains(&self) -> Result<(), StoreError> {
        let mut chain = ChainAudit::default();
        for node in self.index.stable() {
            self.audit_node(node, &mut chain)?;
        }
        let mut children: BTreeMap<BlockHash, Vec<&Node>> = BTreeMap::new();
        for node in self.index.unstable() {
            let parent = self.manifest.get(node.id)?.parent;
            children.entry(parent).or_default().push(node);
        }
        let mut found = 0;
        let mut tips: Vec<(BlockHash, ChainAudit)> = Vec::new();
        tips.extend(self.index.stable_tip().map(|tip| (tip, chain)));
        while let Some((tip, chain)) = tips.pop() {
            let Some((last, others)) = children.get(&tip).and_then(|nodes| nodes.split_last())
            else {
                continue;
            };
            // Forks are rare, and the whole set is large: the last child takes its parent's.
            let copies = others.iter().map(|node| (*node, chain.clone()));
            let copies: Vec<_> = copies.collect();
            for (node, mut chain) in copies.into_iter().chain([(*last, chain)]) {
                self.audit_node(node, &mut chain)?;
                tips.push((node.block, chain));
                found += 1;
            }
        }
        if found != self.index.unstable_len() {
            return broken("an unstable change is on no chain".to_owned());
        }
        Ok(())
    }

    fn audit_node(&self, node: &Node, chain: &mut ChainAudit) -> Result<(), StoreError> {
        chain.apply(&self.region, &node.runs)?;
        if chain.coins() != node.utxo_count {
            return broken(format!(
                "{} coins after {}, {} counted",
                chain.coins(),
                node.block,
                node.utxo_count
            ));
        }
        Ok(())
    }

    fn audit_heap(&self) -> Result<(), StoreError> {
        let (opened, useless) = Index::open(&self.region, &self.manifest)?;
        if !useless.is_empty() || !opened.is_like(&self.index) {
            return broken("the heap's list of changes is not the manifest's".to_owned());
        }
        let named = self.manifest.extents();
        let private = self.writing.as_ref().map(|writing| writing.ranges());
        let private = private
            .into_iter()
            .flat_map(|(coins, scripts)| [coins, scripts]);
        let taken: Vec<Extent> = named.chain(private).collect();
        if Allocator::of(taken)? != self.allocator {
            return broken("what is free is not what is between the ranges taken".to_owned());
        }
        for merge in self.merges.values() {
            if self.index.inputs_of(&merge.record).as_ref() != Some(&merge.inputs) {
                return broken(format!("{merge:?} has other inputs"));
            }
        }
        let building = self.manifest.records();
        let building = building.filter(|(_, record)| record.state == State::Building);
        if building.count() != self.merges.len() {
            return broken("a merge under way is not known".to_owned());
        }
        let importing = self.importing.iter().map(|merge| merge.output);
        let records = self.manifest.records();
        let begun = records.filter(|(_, record)| record.state == State::Importing);
        if !begun.map(|(id, _)| id).eq(importing) {
            return broken("a merge of pieces is not known".to_owned());
        }
        Ok(())
    }

    pub(crate) fn digest(&self, engine: &mut sha256::HashEngine) {
        let mut bytes = vec![0; DIGEST_CHUNK];
        for (id, record) in self.manifest.records() {
            engine.input(&id.0.to_le_bytes());
            engine.input(&record.encode());
            let is_read = !matches!(record.state, State::Building | State::Importing);
            for extent in [record.coins, record.scripts].iter().filter(|_| is_read) {
                let mut at = 0;
                while at < extent.length {
                    let length = (extent.length - at).min(DIGEST_CHUNK as u64) as usize;
                    let part = bytes.get_mut(..length).unwrap_or_default();
                    if extent.read(&self.region, at, part).is_ok() {
                        engine.input(part);
                    }
                    at += length as u64;
                }
            }
        }
    }
}

fn broken(detail: String) -> Result<(), StoreError> {
    Err(StoreError::damaged("coins", detail))
}
