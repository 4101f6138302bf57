//! A whole import through the shell: real headers, a file, a canister that answers when it likes.

use std::cell::RefCell;
use std::io::Cursor;
use std::path::Path;

use bitcoin::BlockHash;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use indicatif::ProgressBar;
use millrace_candid::{
    BeginSnapshotImportArgs, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs, SnapshotError,
    SnapshotImport, SnapshotImportResult,
};
use millrace_core::{Height, Network, UnixSeconds};

use super::fake::{BASE_HEIGHT, Fake};
use super::sets::{Chance, file_after, random_coins};
use crate::headers::HeaderTree;
use crate::sink::SinkError;
use crate::snapshot::canister::ImportCanister;
use crate::snapshot::headers::{HeaderSource, HeadersError};
use crate::snapshot::import::{ImportError, Plan};
use crate::snapshot::meter::Meter;
use crate::snapshot::pieces::Pieces;
use crate::snapshot::upload::upload;
use crate::source::file::FileSource;
use crate::status::read_headers;

struct Canister {
    fake: RefCell<Fake>,
    chance: RefCell<Chance>,
}

impl Canister {
    fn new(seed: u64) -> Self {
        let mut fake = Fake::new(Network::Mainnet, seed);
        fake.is_choosy = true;
        Self {
            fake: RefCell::new(fake),
            chance: RefCell::new(Chance::new(seed)),
        }
    }

    /// Answers, says that it is busy, or says nothing.
    fn answer(
        &self,
        call: impl FnOnce(&mut Fake) -> SnapshotImportResult,
    ) -> Result<SnapshotImportResult, SinkError> {
        let mut chance = self.chance.borrow_mut();
        if chance.percent(10) {
            return Ok(Err(SnapshotError::Busy {
                reason: "memory".to_owned(),
            }));
        }
        let result = call(&mut self.fake.borrow_mut());
        if chance.percent(10) {
            return Err(SinkError::Interrupted {
                reason: "lost".to_owned(),
            });
        }
        Ok(result)
    }
}

impl ImportCanister for Canister {
    async fn import(&self) -> Result<SnapshotImport, SinkError> {
        Ok(self.fake.borrow_mut().asked())
    }

    async fn begin(
        &self,
        args: BeginSnapshotImportArgs,
    ) -> Result<SnapshotImportResult, SinkError> {
        self.answer(|fake| fake.begin(&args))
    }

    async fn push_headers(
        &self,
        args: PushSnapshotHeadersArgs,
    ) -> Result<SnapshotImportResult, SinkError> {
        self.answer(|fake| fake.push_headers(&args))
    }

    async fn push_coins(
        &self,
        args: PushSnapshotCoinsArgs,
    ) -> Result<SnapshotImportResult, SinkError> {
        self.answer(|fake| fake.push_coins(&args))
    }
}

async fn real_headers() -> HeaderTree {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/blocktools/1M.dat");
    let now = UnixSeconds::new(1_700_000_000);
    let source = FileSource::new(&path, Network::Mainnet);
    read_headers(source, Network::Mainnet, now).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_file_and_block_files_make_a_canister_complete() {
    let tree = real_headers().await;
    let base = tree.hash_at(Height::new(BASE_HEIGHT)).unwrap();
    let headers = HeaderSource::Files {
        tree: Box::new(tree.clone()),
        name: "1M.dat".to_owned(),
    };
    for seed in 0..5 {
        let coins = random_coins(seed, 60);
        let (file, hash) = file_after(Network::Mainnet, base, &coins);
        let pieces = Pieces::new(Cursor::new(file), Network::Mainnet).unwrap();
        let plan = Plan {
            metadata: *pieces.metadata(),
            hash_serialized: Some(hash.0),
            give_up_after: None,
            seed,
        };
        let canister = Canister::new(seed);
        let mut meter = Meter::new(ProgressBar::hidden());
        let block = upload(plan, pieces, &headers, &canister, &mut meter).await;
        assert_eq!(block.unwrap().hash, base, "seed {seed}");
        let fake = canister.fake.into_inner();
        assert_eq!(fake.coins, coins, "seed {seed}");
        let heights = 1..=BASE_HEIGHT;
        let expected: Vec<u8> = heights
            .flat_map(|height| serialize(&tree.header_at(Height::new(height)).unwrap()))
            .collect();
        assert_eq!(fake.headers, expected, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn block_files_without_the_base_block_say_so() {
    let headers = HeaderSource::Files {
        tree: Box::new(real_headers().await),
        name: "1M.dat".to_owned(),
    };
    let base = BlockHash::from_byte_array([3; 32]);
    let (file, hash) = file_after(Network::Mainnet, base, &random_coins(1, 3));
    let pieces = Pieces::new(Cursor::new(file), Network::Mainnet).unwrap();
    let plan = Plan {
        metadata: *pieces.metadata(),
        hash_serialized: Some(hash.0),
        give_up_after: None,
        seed: 1,
    };
    let mut meter = Meter::new(ProgressBar::hidden());
    let error = upload(plan, pieces, &headers, &Canister::new(1), &mut meter).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, ImportError::Headers(HeadersError::NoBase { .. })),
        "{error}"
    );
    assert!(
        error.to_string().contains("1M.dat ends at height 4521"),
        "{error}"
    );
}
