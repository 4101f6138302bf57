//! The shell around the engine: a real file on one side, a canister made of a list on the other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use indicatif::ProgressBar;
use millrace_adapter::engine::{
    BlockRef, EngineConfig, FeedView, Outcome, Part, PartOutcome, Receipt, Until,
};
use millrace_adapter::progress::Reporter;
use millrace_adapter::run::run;
use millrace_adapter::sink::{Sink, SinkError};
use millrace_adapter::source::file::FileSource;
use millrace_adapter::source::{BlockSource, Discovery, SourceError};
use millrace_adapter::status;
use millrace_core::scan::ScannedBlock;
use millrace_core::{Height, Network, UnixSeconds};

/// A canister that takes every block at once.
#[derive(Clone)]
struct List {
    blocks: Arc<Mutex<HashMap<BlockHash, Height>>>,
    tip: Arc<Mutex<BlockRef>>,
    /// How many of the next pushes end in a panic instead of an answer.
    panics: Arc<Mutex<u32>>,
}

impl List {
    fn new() -> Self {
        let genesis = BlockRef {
            hash: Network::Mainnet.genesis_block().block_hash(),
            height: Height::ZERO,
        };
        Self {
            blocks: Arc::new(Mutex::new(HashMap::from([(genesis.hash, genesis.height)]))),
            tip: Arc::new(Mutex::new(genesis)),
            panics: Arc::new(Mutex::new(0)),
        }
    }

    fn panics_next(&self) -> bool {
        let mut left = self.panics.lock().expect("no test panics with the lock");
        let panics = *left > 0;
        *left = left.saturating_sub(1);
        panics
    }

    fn tip(&self) -> BlockRef {
        *self.tip.lock().expect("no test panics with the lock")
    }

    fn take(&self, part: &Part) -> PartOutcome {
        let block = ScannedBlock::of(&part.bytes).expect("whole blocks of the fixture");
        assert_eq!(block.hash(), part.hash);
        let mut blocks = self.blocks.lock().expect("no test panics with the lock");
        let parent = blocks.get(&block.header().prev_blockhash);
        let height = parent.expect("blocks come in order").next();
        let known = blocks.insert(part.hash, height);
        assert_eq!(known, None, "no block comes twice");
        let mut tip = self.tip.lock().expect("no test panics with the lock");
        *tip = BlockRef {
            hash: part.hash,
            height,
        };
        PartOutcome::Queued
    }
}

impl Sink for List {
    async fn feed_state(&self, locator: Vec<BlockHash>) -> Result<FeedView, SinkError> {
        let blocks = self.blocks.lock().expect("no test panics with the lock");
        let common = locator.iter().find_map(|hash| {
            let height = *blocks.get(hash)?;
            Some(BlockRef {
                hash: *hash,
                height,
            })
        });
        Ok(FeedView {
            network: Network::Mainnet,
            is_syncing: true,
            anchor: BlockRef {
                hash: Network::Mainnet.genesis_block().block_hash(),
                height: Height::ZERO,
            },
            tip: self.tip(),
            best_header: self.tip(),
            common,
            free_bytes: 10_000_000,
            free_blocks: 100_000,
            message_bytes_max: 300_000,
            parts_max: 700,
            block_bytes_max: 4_000_000,
            half_received: vec![],
            pending_blocks: 0,
            rejections: vec![millrace_adapter::engine::Rejection {
                hash: BlockHash::from_byte_array([7; 32]),
                height: None,
                kind: millrace_adapter::engine::RejectionKind::InvalidHeader,
                reason: "an example".to_owned(),
            }],
        })
    }

    async fn push(&self, parts: Vec<Part>) -> Result<Receipt, SinkError> {
        assert!(!self.panics_next(), "a defect of the sink");
        Ok(Receipt {
            outcomes: parts.iter().map(|part| self.take(part)).collect(),
            free_bytes: 10_000_000,
            free_blocks: 100_000,
            tip: self.tip(),
        })
    }

    fn argument_bytes_max(&self) -> u32 {
        2_000_000
    }
}

fn source() -> FileSource {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/blocktools/1M.dat");
    FileSource::new(&path, Network::Mainnet)
}

fn config(until: Until) -> EngineConfig {
    EngineConfig {
        network: Network::Mainnet,
        until,
        // One at a time keeps the order that the list insists on.
        pushes_max: 1,
        message_bytes_max: 2_000_000,
        read_ahead_bytes: 64_000_000,
        give_up_after: None,
        witness: None,
        seed: 1,
    }
}

fn reporter() -> Reporter {
    Reporter::new(ProgressBar::hidden())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_real_block_arrives_once_and_in_order() {
    let list = List::new();
    let stop = std::future::pending();
    let outcome = run(
        config(Until::Synced),
        source(),
        list.clone(),
        reporter(),
        stop,
    )
    .await;
    assert!(
        matches!(outcome, Outcome::Synced { tip, refused_blocks: 0 }
            if tip.height == Height::new(4_521)),
        "{outcome:?}"
    );
    assert_eq!(list.tip().height, Height::new(4_521));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_run_that_follows() {
    let list = List::new();
    let watched = list.clone();
    let stop = async move {
        while watched.tip().height < Height::new(4_521) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = run(
        config(Until::Stopped),
        source(),
        list.clone(),
        reporter(),
        stop,
    )
    .await;
    assert_eq!(outcome, Outcome::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_far_behind_the_source_the_canister_is() {
    let mut status = status::gather(
        "aaaaa-aa".to_owned(),
        "http://replica".to_owned(),
        Network::Mainnet,
        &List::new(),
        Some(source()),
        UnixSeconds::new(1_700_000_000),
    )
    .await
    .expect("both sides answer");
    assert_eq!(status.lag(), Some(4_521));
    let text = status.to_string();
    for expected in [
        "canister      aaaaa-aa at http://replica",
        "chain         mainnet",
        "lag           4521 blocks",
        "0 000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        "refused       ? 0707070707070707070707070707070707070707070707070707070707070707: an example",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing: {text}");
    }
    let json = status.to_json();
    assert_eq!(json["lag_blocks"], 4_521);
    assert_eq!(json["chain"], "mainnet");
    assert_eq!(json["tip"]["height"], 0);
    assert_eq!(
        json["source_tip"]["hash"],
        "00000000ac08f7d984f6b36027395e654a5f1e3bb006cd9df9c60b9897ea4c40"
    );
    assert_eq!(json["recent_rejections"][0]["kind"], "invalid_header");
    assert_eq!(json["recent_rejections"][0]["reason"], "an example");
    assert_eq!(json["adapter"], serde_json::Value::Null);
    status.running = Some(Ok(serde_json::json!({
        "source": "p2p", "uptime_seconds": 7_300, "pushed_height": 5, "source_height": 9,
        "lag_blocks": 8, "seconds_left": 61, "megabytes_per_second": 1.25, "peers": 3,
        "waiting": "the canister's queue is full", "waiting_seconds": 4,
    })));
    let text = status.to_string();
    for expected in [
        "adapter       reads from p2p, running for 2h 1m\n",
        "pushed        5 of 9\n",
        "behind        8 blocks, 1m 1s left\n",
        "pace          1.25 MB/s\n",
        "peers         3\n",
        "waiting       the canister's queue is full, for 4s\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing: {text}");
    }
    assert_eq!(status.to_json()["adapter"]["peers"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_panics_is_tried_again() {
    let list = List::new();
    *list.panics.lock().expect("no test panics with the lock") = 2;
    let stop = std::future::pending();
    let config = config(Until::Synced);
    let outcome = run(config, source(), list.clone(), reporter(), stop).await;
    assert!(matches!(outcome, Outcome::Synced { .. }), "{outcome:?}");
    assert_eq!(list.tip().height, Height::new(4521));
    assert!(!list.panics_next(), "both panics happened");
}

async fn fail<T>() -> Result<T, SourceError> {
    panic!("a defect of the source");
}

/// A source with a defect.
struct Panicking;

impl BlockSource for Panicking {
    fn reads_max(&self) -> usize {
        1
    }

    fn discover(
        &self,
        _: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send + 'static {
        fail()
    }

    fn read(
        &self,
        _: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static {
        fail()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_panics_ends_the_run_with_its_words() {
    let stop = std::future::pending();
    let config = config(Until::Synced);
    let outcome = run(config, Panicking, List::new(), reporter(), stop).await;
    assert!(
        matches!(&outcome, Outcome::SourceFailed(SourceError::Stopped { reason }) if reason.contains("panicked")),
        "{outcome:?}"
    );
}
