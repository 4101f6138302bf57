//! Writes coins as Bitcoin Core's `dumptxoutset` does, byte for byte.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint};
use millrace_core::Network;
use millrace_core::snapshot::{
    Metadata, SerializedDigest, SerializedHash, SnapshotCoin, group_order, write_group,
};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refused.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
    /// Coins came in another order than the contract says.
    #[error("coin {coin} came after {before}: the canister's pages do not ascend")]
    NotAscending {
        /// The coin.
        coin: OutPoint,
        /// The one before.
        before: OutPoint,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The block after which the set is as it is.
    pub base: BlockHash,
    /// Number of coins.
    pub coins: u64,
    /// `hash_serialized_3`.
    pub hash_serialized: SerializedDigest,
}

/// Writes a file. Coins come ascending by transaction id (internal order) and output index.
pub struct SetWriter<W: Write + Seek> {
    out: BufWriter<W>,
    metadata: Metadata,
    hash: SerializedHash,
    /// The coins of the transaction at hand.
    group: Vec<SnapshotCoin>,
    last: Option<OutPoint>,
    bytes: Vec<u8>,
}

impl<W: Write + Seek> SetWriter<W> {
    /// Starts a file, at its beginning; how many coins it has is put in at the end.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn new(file: W, network: Network, base: BlockHash) -> Result<Self, WriteError> {
        let metadata = Metadata {
            network,
            base,
            coins: 0,
        };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        out.write_all(&metadata.encode())?;
        Ok(Self {
            out,
            metadata,
            hash: SerializedHash::default(),
            group: Vec::new(),
            last: None,
            bytes: Vec::new(),
        })
    }

    /// Writes the next coin. Bitcoin Core has none of the genesis block: leave them out.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn put(&mut self, coin: SnapshotCoin) -> Result<(), WriteError> {
        let outpoint = coin.outpoint;
        if let Some(before) = self.last.filter(|last| key(last) >= key(&outpoint)) {
            return Err(WriteError::NotAscending {
                coin: outpoint,
                before,
            });
        }
        if self.last.is_some_and(|last| last.txid != outpoint.txid) {
            self.write_group()?;
        }
        coin.counted(|counted| self.hash.put(counted));
        self.last = Some(outpoint);
        self.group.push(coin);
        Ok(())
    }

    /// Writes what is left and the number of coins, and returns the file, at its end.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn finish(mut self) -> Result<(W, Written), WriteError> {
        self.write_group()?;
        let mut file = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.metadata.encode())?;
        file.seek(SeekFrom::End(0))?;
        file.flush()?;
        let written = Written {
            base: self.metadata.base,
            coins: self.metadata.coins,
            hash_serialized: self.hash.finish(),
        };
        Ok((file, written))
    }

    fn write_group(&mut self) -> Result<(), WriteError> {
        self.metadata.coins += self.group.len() as u64;
        self.group
            .sort_by_cached_key(|coin| group_order(coin.outpoint.vout));
        self.bytes.clear();
        write_group(&mut self.bytes, &self.group);
        self.group.clear();
        self.out.write_all(&self.bytes)?;
        Ok(())
    }
}

/// Returns by what coins ascend.
pub fn key(outpoint: &OutPoint) -> ([u8; 32], u32) {
    (outpoint.txid.to_byte_array(), outpoint.vout)
}
