//! What every source of blocks keeps to, whatever it reads: one suite over a source and a handle on the
//! chain behind it.

use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_adapter::engine::thinning;
use millrace_adapter::headers::HeaderTree;
use millrace_adapter::source::{BlockSource, SourceErrorReach};
use millrace_core::{Height, Network, UnixSeconds};
use tokio::task::JoinSet;

/// How long a source may take to show what its network has: a safety net.
const PATIENCE: Duration = Duration::from_secs(120);

/// The chain behind a source, on regtest.
pub trait Handle {
    /// Mines blocks on the best chain.
    async fn mine(&mut self, blocks: u32);

    /// Replaces the last `depth` blocks of the best chain by `blocks` others, which are more.
    async fn reorganise(&mut self, depth: u32, blocks: u32);

    /// Stops what the source reads from and starts it again.
    async fn restart(&mut self);

    /// Returns the best chain's blocks from genesis on.
    async fn chain(&self) -> Vec<Vec<u8>>;
}

/// A source and the headers it has shown.
pub struct Reader<S> {
    pub source: S,
    pub tree: HeaderTree,
    /// What it remarked.
    pub remarks: Vec<String>,
}

impl<S: BlockSource> Reader<S> {
    pub fn new(source: S) -> Self {
        Self {
            source,
            tree: HeaderTree::new(Network::Regtest),
            remarks: Vec::new(),
        }
    }

    /// Takes in headers until there are no more; what fails for now is tried again.
    pub async fn discover(&mut self) {
        let start = Instant::now();
        loop {
            let heights = thinning(self.tree.tip_height());
            let hashes = heights
                .iter()
                .filter_map(|height| self.tree.hash_at(*height));
            match self.source.discover(hashes.collect()).await {
                Ok(discovery) => {
                    self.tree.accept(&discovery.headers, now());
                    self.remarks.extend(discovery.remarks);
                    if !discovery.has_more {
                        return;
                    }
                }
                Err(error) => {
                    assert_eq!(error.reach(), SourceErrorReach::Moment, "{error}");
                    assert!(start.elapsed() < PATIENCE, "{error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Takes in headers until the best chain is the handle's, and compares it.
    pub async fn follow(&mut self, handle: &impl Handle) {
        let chain = handle.chain().await;
        let tip = hash_of(chain.last().expect("genesis at least"));
        let start = Instant::now();
        loop {
            self.discover().await;
            if self.tree.tip_hash() == tip {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "the source does not show {tip}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (height, block) in (0..).zip(&chain) {
            assert_eq!(self.tree.hash_at(Height::new(height)), Some(hash_of(block)));
        }
    }

    /// Reads blocks at once, as many as the source takes, and compares them.
    pub async fn read_all(&self, blocks: impl Iterator<Item = &Vec<u8>>) {
        let mut reads = JoinSet::new();
        for block in blocks {
            if reads.len() >= self.source.reads_max() {
                reads
                    .join_next()
                    .await
                    .expect("some are there")
                    .expect("no panic");
            }
            let (read, expected) = (self.source.read(hash_of(block)), block.clone());
            reads.spawn(async move {
                assert_eq!(read.await.expect("it can be read"), expected);
            });
        }
        reads.join_all().await;
    }
}

fn now() -> UnixSeconds {
    UnixSeconds::new(4_000_000_000)
}

pub fn hash_of(block: &[u8]) -> BlockHash {
    let header = millrace_core::block::decode_header(block).expect("a header");
    header.block_hash()
}

/// Checks a source from its first header to its restart.
pub async fn keep_to_the_contract<S: BlockSource, H: Handle>(
    open: impl Fn(&H) -> S,
    mut handle: H,
) {
    handle.mine(25).await;
    let source = open(&handle);
    assert!(source.reads_max() >= 1);
    let mut reader = Reader::new(source);
    reader.follow(&handle).await;
    // Genesis comes first in every chain and is never read by anybody.
    let first = handle.chain().await;
    reader.read_all(first.iter().skip(1).rev()).await;
    reader.read_all(first.iter().skip(1).step_by(7)).await;

    // It grows.
    handle.mine(5).await;
    reader.follow(&handle).await;
    assert_eq!(reader.tree.tip_height(), Height::new(30));

    // The chain changes, at the tip and deeper.
    for (depth, blocks, height) in [(1, 2, 31), (12, 14, 33)] {
        handle.reorganise(depth, blocks).await;
        reader.follow(&handle).await;
        assert_eq!(reader.tree.tip_height(), Height::new(height));
        reader.read_all(handle.chain().await.iter().skip(15)).await;
    }

    // What nobody has is an error of that block alone.
    let unknown = BlockHash::from_byte_array([7; 32]);
    let error = reader.source.read(unknown).await;
    let error = error.expect_err("there is no such block");
    assert_eq!(error.reach(), SourceErrorReach::Block, "{error}");
    assert!(error.to_string().contains(&unknown.to_string()), "{error}");

    // What it reads from is restarted, under its eyes and with a new source.
    handle.restart().await;
    handle.mine(3).await;
    reader.follow(&handle).await;
    let mut again = Reader::new(open(&handle));
    again.follow(&handle).await;
    let chain = handle.chain().await;
    again.read_all(chain.iter().skip(1)).await;
    reader.read_all(chain.iter().skip(30)).await;
}
