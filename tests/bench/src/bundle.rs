//! A stable memory, made natively, and the blocks to push on top of it; kept in files, because making a
//! large one takes minutes.
//!
//! ```text
//! <cache>/<name>-<hash>/image.bin    stable memory
//!                      /blocks.bin   blocks, each after its length (u32 LE)
//!                      /about.json   what to ask for, and numbers
//! ```
//!
//! The hash covers what the bundle is made from, and the stable memory that a small chain leaves: not the
//! module, so that another module with the same layout is measured on the same
//! bytes at once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bitcoin::Block;
use bitcoin::consensus::{deserialize, serialize};
use millrace_candid::{BlockValidation, InitConfig, SetConfigRequest};
use millrace_tests::chain::{Body, MainnetLike, Plan};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::Place;
use crate::canister::Canister;
use crate::mark;
use crate::native;
use crate::sample::Sample;
use crate::workload::Bench;

const IMAGE: &str = "image.bin";
const BLOCKS: &str = "blocks.bin";
const ABOUT: &str = "about.json";

/// Bytes of a page that is compared.
const PAGE: usize = 4_096;

/// Changes when bundles hold something else.
const FORMAT: u32 = 1;

/// What besides bytes belongs to a bundle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct About {
    /// What to ask for.
    pub sample: Sample,
    /// Coins after the last block.
    pub utxos: u64,
    /// Keys of the merge that waits, if one does.
    pub keys: u64,
}

/// See the module's documentation.
pub struct Bundle {
    /// Stable memory.
    pub image: Vec<u8>,
    /// Blocks to push, lowest first.
    pub blocks: Vec<Block>,
    /// The rest.
    pub about: About,
}

impl Bundle {
    /// Reads back the bundle made from `source`, or makes and keeps it.
    ///
    /// # Errors
    /// It cannot be made, or files cannot be read or written.
    pub fn prepare(
        bench: &Bench,
        name: &str,
        source: &str,
        make: impl FnOnce() -> Result<Self>,
    ) -> Result<Self> {
        let mut hash = Sha256::new();
        hash.update(FORMAT.to_le_bytes());
        hash.update(fingerprint()?);
        hash.update(source.as_bytes());
        let place = Place::new(bench.cache.as_deref(), name, &hash.finalize());
        if let Some(kept) = place.read(Self::read)? {
            return Ok(kept);
        }
        let made = make()?;
        place.keep(|folder| made.write(folder))?;
        Ok(made)
    }

    /// A canister of this module on the image, as after an upgrade.
    ///
    /// # Errors
    /// The module refuses the image.
    pub fn canister(&self, bench: &Bench, config: InitConfig) -> Result<Canister> {
        Canister::install_on_image(&bench.module, config, &self.image, None)
    }

    /// As [`Self::canister`], with another configuration from its first heartbeat on.
    ///
    /// # Errors
    /// As [`Self::canister`].
    pub fn canister_with(
        &self,
        bench: &Bench,
        config: InitConfig,
        change: SetConfigRequest,
    ) -> Result<Canister> {
        Canister::install_on_image(&bench.module, config, &self.image, Some(change))
    }

    fn read(folder: &Path) -> Result<Self> {
        let about = fs::read(folder.join(ABOUT))?;
        Ok(Self {
            about: serde_json::from_slice(&about)?,
            blocks: split(&fs::read(folder.join(BLOCKS))?)?,
            image: fs::read(folder.join(IMAGE))?,
        })
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let blocks: Vec<u8> = self.blocks.iter().flat_map(framed).collect();
        fs::write(folder.join(BLOCKS), blocks)?;
        fs::write(folder.join(ABOUT), serde_json::to_vec(&self.about)?)?;
        Ok(fs::write(folder.join(IMAGE), &self.image)?)
    }
}

fn framed(block: &Block) -> Vec<u8> {
    let bytes = serialize(block);
    let length = u32::try_from(bytes.len()).expect("a block has at most 4 MB");
    [&length.to_le_bytes(), bytes.as_slice()].concat()
}

fn split(mut bytes: &[u8]) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let block = rest.split_at_checked(length);
        let (block, rest) = block.with_context(|| format!("{BLOCKS} is cut off"))?;
        blocks.push(deserialize(block)?);
        bytes = rest;
    }
    Ok(blocks)
}

/// A small chain of more than 64 stable blocks: blocks, and merges of two levels.
fn small_chain() -> impl Iterator<Item = Block> {
    let plan = Plan {
        seed: 1,
        funding_blocks: 110,
        funding_outputs: 10,
        growth: None,
        blocks: 30,
        body: Body::of(5),
        named: Vec::new(),
        spendable_max: 10_000,
    };
    MainnetLike::new(plan).map(|made| made.block)
}

fn small_settings() -> InitConfig {
    mark::config(10, BlockValidation::Consensus)
}

/// Takes the small chain in both natively and with the module, and returns how many 4 KiB pages of the
/// stable memories differ: one, which counts heartbeats and calls.
///
/// # Errors
/// A block is refused.
pub fn differing_pages(bench: &Bench) -> Result<u64> {
    let mut canister = Canister::install(&bench.module, small_settings())?;
    for block in small_chain() {
        canister.take_in(&block)?;
    }
    let by_module = canister.stable_memory()?;
    let natively = native::image(small_settings(), small_chain())?;
    let length = by_module.len().max(natively.len());
    let page = |image: &[u8], at: usize| {
        let mut page = vec![0; PAGE];
        let bytes = image.get(at..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(PAGE)];
        page[..bytes.len()].copy_from_slice(bytes);
        page
    };
    let pages = (0..length).step_by(PAGE);
    let differing = pages.filter(|at| page(&by_module, *at) != page(&natively, *at));
    Ok(differing.count() as u64)
}

/// What of the canister's own making decides an image: it changes when the bytes that are written for the
/// small chain do, whatever the reason, so that images kept from before are made anew.
fn fingerprint() -> Result<[u8; 32]> {
    let image = native::image(small_settings(), small_chain())?;
    Ok(Sha256::digest(image).into())
}

#[cfg(test)]
mod tests {
    use bitcoin::constants::genesis_block;

    use super::*;

    #[test]
    fn a_bundle_is_made_once_and_again_when_its_source_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Bench {
            module: std::sync::Arc::from([]),
            cache: Some(folder.path().to_owned()),
            data: None,
            talks: false,
        };
        let prepared = |source: &str, image: &[u8]| {
            let make = || {
                Ok(Bundle {
                    image: image.to_vec(),
                    blocks: vec![genesis_block(bitcoin::Network::Regtest); 2],
                    about: About {
                        utxos: 7,
                        ..About::default()
                    },
                })
            };
            Bundle::prepare(&bench, "base", source, make).expect("prepared")
        };
        assert_eq!(prepared("one", b"first").image, b"first");
        let again = prepared("one", b"second");
        assert_eq!(
            (again.image.as_slice(), again.about.utxos),
            (&b"first"[..], 7)
        );
        assert_eq!(
            again.blocks,
            vec![genesis_block(bitcoin::Network::Regtest); 2]
        );
        assert_eq!(prepared("two", b"third").image, b"third");
        let kept = fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(kept, 1, "what was made from the other source is deleted");
    }

    #[test]
    fn blocks_that_are_cut_off_are_an_error() {
        let block = genesis_block(bitcoin::Network::Regtest);
        let bytes = framed(&block);
        assert_eq!(split(&bytes).expect("whole"), [block]);
        let error = split(&bytes[..bytes.len() - 1]).expect_err("a byte is missing");
        assert!(error.to_string().contains("cut off"), "{error}");
    }
}
