//! A canister by the contract of imports: it takes what it should, refuses the rest, and forgets nothing.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint};
use millrace_candid::{
    BeginSnapshotImportArgs, BlockId, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs,
    SnapshotError, SnapshotImport, SnapshotImportResult,
};
use millrace_core::Network;
use millrace_core::snapshot::{CoinReader, Metadata, Position, SerializedHash, SnapshotCoin};
use serde_bytes::ByteBuf;

use super::sets::Chance;
use crate::snapshot::pieces::PIECE_BYTES_MAX;
use crate::snapshot::write::key;

/// Height of the base block.
pub const BASE_HEIGHT: u32 = 53;

pub struct Fake {
    pub standing: SnapshotImport,
    metadata: Option<Metadata>,
    hash: Vec<u8>,
    position: Position,
    hashed: SerializedHash,
    pub coins: Vec<SnapshotCoin>,
    /// Bytes of coins that were pushed.
    pub pushed_bytes: u64,
    /// Headers that were taken.
    pub headers: Vec<u8>,
    network: Network,
    /// Whether it leaves some of what it could take.
    pub is_choosy: bool,
    chance: Chance,
}

impl Fake {
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            headers: Vec::new(),
            network,
            standing: SnapshotImport::None,
            metadata: None,
            hash: Vec::new(),
            position: Position::start(),
            hashed: SerializedHash::default(),
            coins: Vec::new(),
            pushed_bytes: 0,
            is_choosy: false,
            chance: Chance::new(seed),
        }
    }

    fn base(&self) -> BlockHash {
        self.metadata.unwrap().base
    }

    fn base_id(&self) -> BlockId {
        BlockId {
            hash: ByteBuf::from(self.base().to_byte_array()),
            height: BASE_HEIGHT,
        }
    }

    /// Answers `get_snapshot_import`, and merges a run.
    pub fn asked(&mut self) -> SnapshotImport {
        let answer = self.standing.clone();
        if let SnapshotImport::Merging { base, runs } = &answer {
            let base = base.clone();
            self.standing = match runs {
                0 | 1 => SnapshotImport::Complete { base },
                _ => SnapshotImport::Merging {
                    base,
                    runs: runs - 1,
                },
            };
        }
        answer
    }

    pub fn begin(&mut self, args: &BeginSnapshotImportArgs) -> SnapshotImportResult {
        let metadata = Metadata::decode(&args.metadata, self.network).map_err(|error| {
            SnapshotError::MalformedMetadata {
                reason: error.to_string(),
            }
        })?;
        if let Some(found) = self.metadata {
            return Err(SnapshotError::UnderWay {
                base: ByteBuf::from(found.base.to_byte_array()),
            });
        }
        let base = ByteBuf::from(metadata.base.to_byte_array());
        let Some(hash) = &args.hash_serialized else {
            return Err(SnapshotError::UnknownBase { base });
        };
        self.hash = hash.to_vec();
        self.metadata = Some(metadata);
        self.standing = SnapshotImport::Headers {
            base,
            next_height: 1,
        };
        Ok(self.standing.clone())
    }

    fn not_wanted(&self) -> SnapshotImportResult {
        Err(SnapshotError::NotWanted {
            standing: self.standing.clone(),
        })
    }

    pub fn push_headers(&mut self, args: &PushSnapshotHeadersArgs) -> SnapshotImportResult {
        let SnapshotImport::Headers { base, next_height } = self.standing.clone() else {
            return self.not_wanted();
        };
        if args.first_height != next_height {
            return Err(SnapshotError::UnexpectedHeight {
                expected: next_height,
                given: args.first_height,
            });
        }
        assert!(args.headers.len().is_multiple_of(80) && !args.headers.is_empty());
        let mut next_height = next_height;
        for header in args.headers.chunks(80) {
            self.headers.extend(header);
            next_height += 1;
            if next_height > BASE_HEIGHT || (self.is_choosy && self.chance.percent(10)) {
                break;
            }
        }
        self.standing = if next_height > BASE_HEIGHT {
            SnapshotImport::Coins {
                base: self.base_id(),
                next_offset: 51,
                taken: 0,
                of: self.metadata.unwrap().coins,
            }
        } else {
            SnapshotImport::Headers { base, next_height }
        };
        Ok(self.standing.clone())
    }

    pub fn push_coins(&mut self, args: &PushSnapshotCoinsArgs) -> SnapshotImportResult {
        let SnapshotImport::Coins {
            base,
            next_offset,
            of,
            ..
        } = self.standing.clone()
        else {
            return self.not_wanted();
        };
        if args.offset != next_offset {
            return Err(SnapshotError::UnexpectedOffset {
                expected: next_offset,
                given: args.offset,
            });
        }
        assert!(args.bytes.len() <= PIECE_BYTES_MAX);
        self.pushed_bytes += args.bytes.len() as u64;
        let (consumed, coins, position) = self.read(args)?;
        for coin in &coins {
            coin.counted(|counted| self.hashed.put(counted));
        }
        self.coins.extend(coins);
        self.position = position;
        let taken = self.coins.len() as u64;
        self.standing = SnapshotImport::Coins {
            base: base.clone(),
            next_offset: next_offset + consumed,
            taken,
            of,
        };
        if taken == of {
            let found = self.hashed.clone().finish().0;
            self.standing = if found.as_slice() == self.hash {
                SnapshotImport::Merging { base, runs: 3 }
            } else {
                SnapshotImport::Refused {
                    reason: "the hash differs".to_owned(),
                }
            };
        }
        Ok(self.standing.clone())
    }

    /// Reads the coins of a piece, which must ascend.
    fn read(
        &mut self,
        args: &PushSnapshotCoinsArgs,
    ) -> Result<(u64, Vec<SnapshotCoin>, Position), SnapshotError> {
        let malformed = |at: usize, reason: String| SnapshotError::MalformedCoins {
            offset: args.offset + at as u64,
            reason,
        };
        let mut reader = CoinReader::new(&args.bytes, self.position);
        let mut coins: Vec<SnapshotCoin> = Vec::new();
        let last = |coins: &[SnapshotCoin], before: &[SnapshotCoin]| -> Option<OutPoint> {
            let last = coins.last().or(before.last());
            last.map(|coin| coin.outpoint)
        };
        loop {
            let at = reader.consumed();
            let coin = reader.next_coin();
            let Some(coin) = coin.map_err(|error| malformed(at, error.to_string()))? else {
                break;
            };
            let before = last(&coins, &self.coins);
            if before.is_some_and(|before| key(&before) >= key(&coin.outpoint)) {
                return Err(malformed(at, "coins do not ascend".to_owned()));
            }
            coins.push(coin);
            if self.is_choosy && self.chance.percent(5) {
                break;
            }
        }
        if coins.is_empty() {
            return Err(SnapshotError::BadPiece {
                given_bytes: args.bytes.len() as u32,
                reason: "no whole coin".to_owned(),
            });
        }
        Ok((reader.consumed() as u64, coins, reader.position()))
    }
}
