//! Takes in a snapshot of the UTXO set in steps: headers up to the base block, coins, merges. All of a
//! step is durable at the end of its message, and every step may be repeated.
//!
//! Until the last check passed nothing of it is read, and it can be discarded. Then, in one message, the imported
//! set takes the place of the stable one and the base block that of the tree's root. The coins of the genesis block, which
//! snapshots leave out, are kept: the official canister counts them.

mod state;
#[cfg(test)]
mod tests;

use bitcoin::block::Header;
use bitcoin::{Amount, BlockHash};
use ic_stable_structures::Memory;
use millrace_core::commitment::{Commitment, Committer, counts};
use millrace_core::header::{ChainWork, HeaderContext, HeaderError};
use millrace_core::snapshot::{
    CoinReader, METADATA_BYTES, Metadata, Position, SerializedDigest, SerializedHash, SnapshotCoin,
    SnapshotError,
};
use millrace_core::tree::Tree;
use millrace_core::{Height, Network, UnixSeconds};

use crate::coins::Progress;
use crate::layout::WASM_PAGE_BYTES;
use crate::runs::coin_entry::PutCoin;
use crate::runs::key::OutpointKey;
use crate::runs::script_form::ScriptForm;
use crate::{Store, StoreError};

use state::STATE_BYTES;
pub use state::{Import, Phase};

/// Headers between two looks at whether there is room for more.
const HEADERS_AT_ONCE: usize = 500;

/// Coins that one call takes, at most: with a commitment some 8 G instructions. What comes after them is for the next
/// call.
pub const MAX_COINS_AT_ONCE: usize = 100_000;

/// Why an import refuses what came. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// There are blocks.
    #[error("the canister has blocks; a snapshot goes into an empty one")]
    NotEmpty,
    /// Another import is under way.
    #[error("an import of the set at {base} is under way; go on with it or discard it")]
    UnderWay {
        /// Its base block.
        base: BlockHash,
    },
    /// Something else is wanted now.
    #[error("the import wants something else now")]
    NotWanted,
    /// Other headers are wanted.
    #[error("headers from height {expected} on are wanted, not from {given} on")]
    UnexpectedHeight {
        /// Height of the next one.
        expected: Height,
        /// What was given.
        given: Height,
    },
    /// A header breaks a rule; those before it were taken.
    #[error("the header at height {height} is invalid: {error}")]
    InvalidHeader {
        /// Its height.
        height: Height,
        /// The rule.
        error: HeaderError,
    },
    /// The chain to the base block has too little work; those before it were taken.
    #[error("the chain to the base block has less work than `minimum_chain_work`")]
    TooLittleWork,
    /// Another part of the file is wanted.
    #[error("bytes from {expected} on are wanted, not from {given} on")]
    UnexpectedOffset {
        /// Where the next coin begins.
        expected: u64,
        /// What was given.
        given: u64,
    },
    /// The bytes are no coins.
    #[error("at byte {offset} of the file: {reason}")]
    MalformedCoins {
        /// Where the coin begins.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// No coin ends in the bytes.
    #[error("no coin ends in these bytes")]
    NoWholeCoin,
    /// Merges are behind.
    #[error("merges are behind; push the same again in a while")]
    Behind,
    /// See there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The region of an [`Import`]; empty where none was begun.
pub struct Imports<M: Memory> {
    region: M,
    import: Option<Import>,
}

impl<M: Memory> Imports<M> {
    pub(crate) fn open(region: M) -> Result<Self, StoreError> {
        let mut import = None;
        if region.size() > 0 {
            let mut bytes = [0; STATE_BYTES];
            region.read(0, &mut bytes);
            import = Import::decode(&bytes)?;
        }
        Ok(Self { region, import })
    }

    /// Returns the import that was begun last, unless it was discarded.
    pub const fn get(&self) -> Option<&Import> {
        self.import.as_ref()
    }

    /// Returns whether one is under way: nothing else goes on until it is complete or discarded.
    pub fn is_under_way(&self) -> bool {
        let import = self.import.as_ref();
        import.is_some_and(|import| import.phase != Phase::Complete)
    }

    pub(crate) fn digest(&self) -> [u8; STATE_BYTES] {
        let import = self.import.as_ref();
        import.map_or([0; STATE_BYTES], Import::encode)
    }

    fn set(&mut self, import: Option<Import>) -> Result<(), StoreError> {
        let missing = (STATE_BYTES as u64)
            .div_ceil(WASM_PAGE_BYTES)
            .saturating_sub(self.region.size());
        if missing > 0 && self.region.grow(missing) < 0 {
            let pages = self.region.size();
            return Err(StoreError::OutOfMemory { pages });
        }
        self.import = import;
        self.region.write(0, &self.digest());
        Ok(())
    }
}

impl<M: Memory> Store<M> {
    /// Begins an import, unless the same one is under way. The set's hash must be `expected`; a commitment to it
    /// is made where `keeps_commitment` says so.
    ///
    /// # Errors
    /// [`ImportError::NotEmpty`], [`ImportError::UnderWay`], [`ImportError::Store`].
    pub fn begin_import(
        &mut self,
        metadata: &Metadata,
        expected: [u8; 32],
        keeps_commitment: bool,
    ) -> Result<(), ImportError> {
        if let Some(import) = self.imports.get().filter(|it| it.phase != Phase::Complete) {
            let is_same = (import.base, import.coins, import.expected)
                == (metadata.base, metadata.coins, expected);
            let base = import.base;
            return is_same.then_some(()).ok_or(ImportError::UnderWay { base });
        }
        let (held, _) = self.held();
        let is_empty = self.headers.len() == 1
            && self.tree.connected_count() <= 1
            && (self.queue.is_empty() && held == 0);
        if !is_empty {
            return Err(ImportError::NotEmpty);
        }
        self.require_room()?;
        // The genesis block's coins come first whatever their outpoints are: merges order them.
        let genesis = self.coins.stable_page(&OutpointKey::FIRST, usize::MAX)?;
        self.coins.import_piece(genesis.coins)?;
        let begun = self.imports.set(Some(Import {
            phase: match metadata.base == self.tree.root_hash() {
                true => Phase::Coins,
                false => Phase::Headers,
            },
            base: metadata.base,
            coins: metadata.coins,
            expected,
            header: HeaderContext::genesis(self.network()),
            offset: METADATA_BYTES as u64,
            taken: 0,
            position: Position::start(),
            last: None,
            hash: SerializedHash::default(),
            commitment: keeps_commitment.then(Commitment::default),
            reason: String::new(),
        }));
        begun.map_err(|error| {
            self.coins.discard_import();
            error.into()
        })
    }

    /// Takes headers of the chain to the base block; those after it are passed over. Costs some 40,000
    /// instructions for each.
    ///
    /// # Errors
    /// [`ImportError`]; where a header is invalid, those before it were taken.
    pub fn import_headers(
        &mut self,
        first: Height,
        headers: &[Header],
        minimum_chain_work: Option<ChainWork>,
        now: UnixSeconds,
    ) -> Result<(), ImportError> {
        let mut import = self.wanted(Phase::Headers)?.clone();
        let expected = import.header.height().next();
        if first != expected {
            return Err(ImportError::UnexpectedHeight {
                expected,
                given: first,
            });
        }
        let network = self.network();
        let mut done = Ok(());
        for (at, header) in headers.iter().enumerate() {
            if at.is_multiple_of(HEADERS_AT_ONCE)
                && let Err(error) = self.require_room()
            {
                done = Err(error.into());
                break;
            }
            let context = match import.header.accept(header, network, now) {
                Ok(context) => context,
                Err(error) => {
                    let height = import.header.height().next();
                    done = Err(ImportError::InvalidHeader { height, error });
                    break;
                }
            };
            let is_base = context.hash() == import.base;
            if is_base && minimum_chain_work.is_some_and(|least| context.chain_work() < least) {
                done = Err(ImportError::TooLittleWork);
                break;
            }
            self.headers.push(&context, None)?;
            import.header = context;
            if is_base {
                import.phase = Phase::Coins;
                break;
            }
        }
        self.imports.set(Some(import))?;
        done
    }

    /// Takes the coins that end in `bytes`, which begin at `offset` of the file. Costs about 25,000 instructions for
    /// each, and 45,000 more where a commitment is kept.
    ///
    /// # Errors
    /// [`ImportError`]; nothing was taken.
    pub fn import_coins(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ImportError> {
        let mut import = self.wanted(Phase::Coins)?.clone();
        if offset != import.offset {
            return Err(ImportError::UnexpectedOffset {
                expected: import.offset,
                given: offset,
            });
        }
        if self.coins.is_import_behind() {
            return Err(ImportError::Behind);
        }
        self.require_room()?;
        let coins = read_coins(&mut import, bytes, self.network())?;
        if coins.is_empty() && import.taken < import.coins {
            return Err(ImportError::NoWholeCoin);
        }
        if !coins.is_empty() {
            self.coins.import_piece(coins)?;
        }
        if import.taken == import.coins {
            import.phase = Phase::Merging;
            let found = import.hash.clone().finish();
            let expected = SerializedDigest(import.expected);
            if found != expected {
                let base = import.base;
                let reason = format!(
                    "the set at {base} hashes to {found}, and {expected} was expected: get the \
                     file from elsewhere"
                );
                return Ok(self.refuse(import, reason)?);
            }
        }
        Ok(self.imports.set(Some(import))?)
    }

    fn wanted(&self, phase: Phase) -> Result<&Import, ImportError> {
        let import = self.imports.get().filter(|import| import.phase == phase);
        import.ok_or(ImportError::NotWanted)
    }

    /// Returns whether [`Store::import_step`] has something to do.
    pub fn wants_import_step(&self) -> bool {
        match self.imports.get().map(|import| import.phase) {
            Some(Phase::Coins) => self.coins.wants_import_merge(false),
            Some(Phase::Merging) => true,
            _ => false,
        }
    }

    /// Merges up to `budget` further keys of what was imported, or, when that is done and all coins are there,
    /// puts the imported set in the place of the stable one.
    ///
    /// # Errors
    /// [`StoreError`]; it may be tried again where memory could not grow.
    pub fn import_step(&mut self, budget: usize) -> Result<Progress, StoreError> {
        let Some(import) = self.imports.get() else {
            return Ok(Progress::Done);
        };
        let is_all = import.phase == Phase::Merging;
        if self.coins.wants_import_merge(is_all) {
            return self.coins.import_merge_step(is_all, budget);
        }
        if is_all {
            self.install_import(import.clone())?;
        }
        Ok(Progress::Done)
    }

    fn install_import(&mut self, mut import: Import) -> Result<(), StoreError> {
        let base = import.header;
        // What can fail goes first; a commitment to a block that is not the root is nobody's.
        if let Some(commitment) = import.commitment.take() {
            self.commitments
                .begin_with(base.hash(), base.height(), commitment)?;
        }
        self.coins.install_import(base.hash(), base.height())?;
        let old: Vec<BlockHash> = self.tree.hashes().copied().collect();
        self.tree = Tree::new(base, self.network());
        let mut changes = self.tree.take_changes();
        changes.removes.extend(old);
        self.nodes.apply(&changes);
        import.phase = Phase::Complete;
        self.imports.set(Some(import))
    }

    /// Refuses what was imported, for good: its coins go, and somebody must discard the rest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn refuse_import(&mut self, reason: String) -> Result<(), StoreError> {
        let Some(import) = self.imports.get().filter(|_| self.imports.is_under_way()) else {
            return Ok(());
        };
        self.refuse(import.clone(), reason)
    }

    fn refuse(&mut self, import: Import, reason: String) -> Result<(), StoreError> {
        self.coins.discard_import();
        self.imports.set(Some(Import {
            phase: Phase::Refused,
            reason,
            ..import
        }))
    }

    /// Gives an import up that is not complete, and everything that came with it.
    ///
    /// # Errors
    /// [`ImportError::NotWanted`] where none is under way.
    pub fn discard_import(&mut self) -> Result<(), ImportError> {
        if !self.imports.is_under_way() {
            return Err(ImportError::NotWanted);
        }
        self.coins.discard_import();
        let genesis = HeaderContext::genesis(self.network());
        self.headers.restart(&genesis)?;
        Ok(self.imports.set(None)?)
    }
}

/// Reads coins and takes them into the hashes.
fn read_coins(
    import: &mut Import,
    bytes: &[u8],
    network: Network,
) -> Result<Vec<(OutpointKey, PutCoin)>, ImportError> {
    let start = import.offset;
    let mut reader = CoinReader::new(bytes, import.position);
    let mut committer = import.commitment.take().map(Committer::new);
    let mut coins = Vec::new();
    while import.taken < import.coins && coins.len() < MAX_COINS_AT_ONCE {
        let offset = start + reader.consumed() as u64;
        let malformed = |reason: String| ImportError::MalformedCoins { offset, reason };
        let coin = match reader.next_coin() {
            Ok(Some(coin)) => coin,
            Ok(None) => break,
            Err(SnapshotError::Coin { what, .. }) => return Err(malformed(what)),
            Err(other) => return Err(malformed(other.to_string())),
        };
        let key = OutpointKey::from(&coin.outpoint);
        check_coin(import, &key, &coin, network).map_err(malformed)?;
        import.last = Some(key);
        import.taken += 1;
        coin.counted(|counted| {
            import.hash.put(counted);
            if let Some(committer) = &mut committer {
                committer.put(counted);
            }
        });
        let put = PutCoin {
            height: coin.height,
            coinbase: coin.coinbase,
            value: Amount::from_sat(coin.satoshi),
            script: ScriptForm::of(&coin.script),
        };
        coins.push((key, put));
    }
    let consumed = reader.consumed();
    if import.taken == import.coins && (consumed < bytes.len() || reader.position().left > 0) {
        return Err(ImportError::MalformedCoins {
            offset: start + consumed as u64,
            reason: format!(
                "there is more than the {} coins of the metadata",
                import.coins
            ),
        });
    }
    import.offset = start + consumed as u64;
    import.position = reader.position();
    import.commitment = committer.map(Committer::finish);
    Ok(coins)
}

fn check_coin(
    import: &Import,
    key: &OutpointKey,
    coin: &SnapshotCoin,
    network: Network,
) -> Result<(), String> {
    if import.last.is_some_and(|last| last >= *key) {
        return Err(format!(
            "{} does not come after the coin before it",
            coin.outpoint
        ));
    }
    let base = import.header.height();
    if coin.height > base || !counts(network, coin.height, coin.coinbase) {
        return Err(format!(
            "{} has the height {}, of which there is no such coin at height {base}",
            coin.outpoint, coin.height
        ));
    }
    Ok(())
}
