//! Bootstrapping from a snapshot of the UTXO set: who may, what is wanted next, and how much at a time.
//!
//! Headers and coins are taken in by the messages that bring them, which is bounded by their length; merges by
//! heartbeats, within their budgets. Meanwhile nothing is read, delivered or fetched.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use candid::Principal;
use ic_stable_structures::Memory;
use millrace_candid::{
    BeginSnapshotImportArgs, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs, SnapshotError,
    SnapshotImport, SnapshotImportResult,
};
use millrace_core::Height;
use millrace_core::block::HEADER_BYTES;
use millrace_core::header::ChainWork;
use millrace_core::snapshot::{Metadata, SnapshotError as FileError, assumed};
use millrace_store::StoreError;
use millrace_store::import::{Import, ImportError, Phase};
use serde_bytes::ByteBuf;

use crate::connect::STEP_ENTRIES;
use crate::{App, Env, convert};

/// Headers in one message, at most: some 400 M instructions.
pub const MAX_SNAPSHOT_HEADERS: usize = 10_000;

/// Bytes of coins in one message, at most: some 40,000 coins of mainnet's, 3 G instructions with a commitment.
pub const MAX_PIECE_BYTES: usize = 1_900_000;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The caller.
    pub principal: Principal,
    /// Whether it is a controller of the canister.
    pub is_controller: bool,
}

impl<M: Memory> App<M> {
    /// Begins an import; of one that is under way it says how far it is.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing changes then.
    pub fn begin_snapshot_import(
        &mut self,
        env: &impl Env,
        caller: Caller,
        args: &BeginSnapshotImportArgs,
    ) -> SnapshotImportResult {
        self.authorise_import(caller)?;
        let network = self.store.network();
        let metadata = Metadata::decode(&args.metadata, network);
        let metadata = metadata.map_err(|error| self.malformed(&error))?;
        let expected = match &args.hash_serialized {
            Some(_) if !caller.is_controller => {
                let caller = caller.principal;
                return Err(SnapshotError::NotAController { caller });
            }
            Some(hash) => hash_of(hash)?,
            None => known_hash(network, &metadata.base).ok_or_else(|| {
                let base = convert::hash(metadata.base);
                SnapshotError::UnknownBase { base }
            })?,
        };
        let keeps_commitment = self.config.is_committing;
        let begun = self
            .store
            .begin_import(&metadata, expected, keeps_commitment);
        begun.map_err(|error| self.import_error(error))?;
        env.log(&format!(
            "importing the set of {} coins at block {}",
            metadata.coins, metadata.base
        ));
        self.end_import_message()
    }

    /// Takes headers of the chain to the base block.
    ///
    /// # Errors
    /// [`SnapshotError`]; headers before an invalid one were taken.
    pub fn push_snapshot_headers(
        &mut self,
        env: &impl Env,
        caller: Caller,
        args: &PushSnapshotHeadersArgs,
    ) -> SnapshotImportResult {
        self.authorise_import(caller)?;
        let malformed = || SnapshotError::MalformedHeaders {
            given_bytes: convert::length(args.headers.len()),
            max_headers: MAX_SNAPSHOT_HEADERS as u32,
        };
        let (headers, rest) = args.headers.as_chunks::<HEADER_BYTES>();
        if !rest.is_empty() || headers.is_empty() || headers.len() > MAX_SNAPSHOT_HEADERS {
            return Err(malformed());
        }
        self.check_pressure(env)?;
        let headers = headers.iter().map(|bytes| deserialize::<Header>(bytes));
        let headers = headers.collect::<Result<Vec<_>, _>>();
        let headers = headers.map_err(|_| malformed())?;
        let first = Height::new(args.first_height);
        let least = self.config.access.minimum_chain_work;
        // Reads wait for that work in any case; a block that is known by its hash needs no other witness.
        let import = self.store.imports.get();
        let is_known =
            import.is_some_and(|import| known_hash(self.store.network(), &import.base).is_some());
        let least = (least > ChainWork::ZERO && !is_known).then_some(least);
        let taken = self.store.import_headers(first, &headers, least, env.now());
        self.store.flush();
        taken.map_err(|error| self.import_error(error))?;
        self.end_import_message()
    }

    /// Takes the coins that end in these bytes of the file.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing changes then.
    pub fn push_snapshot_coins(
        &mut self,
        env: &impl Env,
        caller: Caller,
        args: &PushSnapshotCoinsArgs,
    ) -> SnapshotImportResult {
        self.authorise_import(caller)?;
        if args.bytes.len() > MAX_PIECE_BYTES {
            return Err(SnapshotError::BadPiece {
                given_bytes: convert::length(args.bytes.len()),
                reason: format!("a message takes {MAX_PIECE_BYTES} at most"),
            });
        }
        self.check_pressure(env)?;
        let taken = self.store.import_coins(args.offset, &args.bytes);
        taken.map_err(|error| match error {
            ImportError::NoWholeCoin => SnapshotError::BadPiece {
                given_bytes: convert::length(args.bytes.len()),
                reason: error.to_string(),
            },
            other => self.import_error(other),
        })?;
        self.end_import_message()
    }

    /// Gives an import up that is not complete.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing changes then.
    pub fn discard_snapshot_import(&mut self, caller: Caller) -> SnapshotImportResult {
        if !caller.is_controller {
            let caller = caller.principal;
            return Err(SnapshotError::NotAController { caller });
        }
        let discarded = self.store.discard_import();
        discarded.map_err(|error| self.import_error(error))?;
        self.end_import_message()
    }

    /// Returns how far the import is.
    pub fn get_snapshot_import(&self) -> SnapshotImport {
        match self.store.imports.get() {
            Some(import) => standing(import, self.store.coins.imported_len()),
            None => SnapshotImport::None,
        }
    }

    /// Does one step of merging what was imported; what cannot be merged is refused.
    pub(crate) fn import_step(&mut self) -> Result<(), StoreError> {
        let done = self.store.import_step(STEP_ENTRIES);
        match done {
            Ok(_) => {
                // The tree may be another one.
                self.stable_child = None;
                Ok(())
            }
            Err(error @ StoreError::OutOfMemory { .. }) => Err(error),
            Err(error) => {
                self.store
                    .refuse_import(format!("its runs cannot be merged: {error}"))?;
                Err(error)
            }
        }
    }

    fn end_import_message(&mut self) -> SnapshotImportResult {
        self.store.flush();
        Ok(self.get_snapshot_import())
    }

    fn authorise_import(&self, caller: Caller) -> Result<(), SnapshotError> {
        if caller.is_controller || self.is_adapter(&caller.principal) {
            return Ok(());
        }
        let caller = caller.principal;
        Err(SnapshotError::NotAnAdapter { caller })
    }

    /// Refuses work where heartbeats would not do any either.
    fn check_pressure(&self, env: &impl Env) -> Result<(), SnapshotError> {
        let busy = |reason: &str| {
            let reason = reason.to_owned();
            Err(SnapshotError::Busy { reason })
        };
        if !self.config.is_syncing {
            return busy("syncing is disabled");
        }
        if self.lacks_cycles(env) {
            return busy("the cycles left are kept in reserve");
        }
        if self.is_low_on_memory() {
            return busy("memory cannot grow, or not be paid for");
        }
        if self.window.total(env.now()) >= self.config.window_pages {
            return busy("`stable_pages_per_ten_minutes` are written");
        }
        Ok(())
    }

    fn malformed(&self, error: &FileError) -> SnapshotError {
        match error {
            FileError::OtherNetwork { found, .. } => SnapshotError::WrongNetwork {
                magic: ByteBuf::from(*found),
                expected: convert::chain(self.store.network()),
            },
            other => SnapshotError::MalformedMetadata {
                reason: other.to_string(),
            },
        }
    }

    fn import_error(&self, error: ImportError) -> SnapshotError {
        let reason = error.to_string();
        match error {
            ImportError::NotEmpty => SnapshotError::NotEmpty {
                height: self.tip().1.get(),
            },
            ImportError::UnderWay { base } => SnapshotError::UnderWay {
                base: convert::hash(base),
            },
            ImportError::NotWanted => SnapshotError::NotWanted {
                standing: self.get_snapshot_import(),
            },
            ImportError::UnexpectedHeight { expected, given } => SnapshotError::UnexpectedHeight {
                expected: expected.get(),
                given: given.get(),
            },
            ImportError::InvalidHeader { height, error } => SnapshotError::InvalidHeader {
                height: height.get(),
                reason: error.to_string(),
            },
            ImportError::TooLittleWork => SnapshotError::InvalidHeader {
                height: self.next_import_height(),
                reason: format!(
                    "{reason}: take a later snapshot, or let a controller lower it with set_config"
                ),
            },
            ImportError::UnexpectedOffset { expected, given } => {
                SnapshotError::UnexpectedOffset { expected, given }
            }
            ImportError::MalformedCoins { offset, reason } => {
                SnapshotError::MalformedCoins { offset, reason }
            }
            ImportError::Behind | ImportError::Store(StoreError::OutOfMemory { .. }) => {
                SnapshotError::Busy { reason }
            }
            ImportError::NoWholeCoin | ImportError::Store(_) => SnapshotError::Internal(reason),
        }
    }

    fn next_import_height(&self) -> u32 {
        let import = self.store.imports.get();
        import.map_or(0, |import| import.header.height().next().get())
    }
}

fn standing(import: &Import, runs: usize) -> SnapshotImport {
    let base = || convert::block_id(import.base, import.header.height());
    match import.phase {
        Phase::Headers => SnapshotImport::Headers {
            base: convert::hash(import.base),
            next_height: import.header.height().next().get(),
        },
        Phase::Coins => SnapshotImport::Coins {
            base: base(),
            next_offset: import.offset,
            taken: import.taken,
            of: import.coins,
        },
        Phase::Merging => SnapshotImport::Merging {
            base: base(),
            runs: convert::length(runs),
        },
        Phase::Complete => SnapshotImport::Complete { base: base() },
        Phase::Refused => SnapshotImport::Refused {
            reason: import.reason.clone(),
        },
    }
}

fn hash_of(bytes: &ByteBuf) -> Result<[u8; 32], SnapshotError> {
    let hash = convert::block_hash(bytes);
    hash.map(|hash| hash.to_byte_array())
        .map_err(|given_bytes| SnapshotError::MalformedHash {
            given_bytes,
            expected_bytes: convert::HASH_BYTES as u32,
        })
}

/// Returns what Bitcoin Core's source says of the set at a block.
fn known_hash(network: millrace_core::Network, base: &BlockHash) -> Option<[u8; 32]> {
    let printed = base.to_string();
    let mut sets = assumed(network).iter();
    let set = sets.find(|set| set.block == printed)?;
    let hash: BlockHash = set.hash_serialized.parse().ok()?;
    Some(hash.to_byte_array())
}
