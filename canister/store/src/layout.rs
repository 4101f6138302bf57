//! Where everything is: the header page and the regions.
//!
//! ```text
//! bytes 0..65,536 of stable memory: the header page
//! offset size
//!      0    8  magic "MILLRACE"
//!      8    2  layout version, u16 LE
//!     10    1  network: 0 mainnet, 1 testnet3, 2 testnet4, 3 signet, 4 regtest
//!     11   53  reserved, zero
//!     64       the table of regions, see `regions`
//! bytes 65,536..: the regions' pages
//! ```
//!
//! [`check`] reads the header page, nothing else, and nothing here writes to memory it does not understand.

use std::rc::Rc;

use ic_stable_structures::Memory;
use millrace_core::Network;

use crate::counting::CountingMemory;
use crate::record::{join, take};
use crate::{StoreError, regions};

/// First bytes of stable memory.
pub const MAGIC: [u8; 8] = *b"MILLRACE";

/// The layout this code reads and writes.
pub const LAYOUT_VERSION: u16 = 1;

/// Bytes in a page by which memories grow.
pub const WASM_PAGE_BYTES: u64 = 65_536;

/// Bytes of the header page that are used.
const HEADER_BYTES: usize = 64;

/// Regions of stable memory. Numbers are never reused once a version was released: a region that
/// goes keeps its number. 15 to 20 were never released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Region {
    /// Configuration, encoded by the canister.
    Config = 0,
    /// Counters.
    Counters = 1,
    /// Recent rejections.
    Rejections = 2,
    /// State of the pull machine.
    Pull = 3,
    /// What the watchdog knows about work that never ends.
    Watch = 4,
    /// Delivered blocks nobody has looked at.
    Queue = 5,
    /// Half-received blocks.
    Assembly = 6,
    /// Names of blobs.
    BlobIndex = 7,
    /// Bytes of blobs.
    BlobPages = 8,
    /// Headers of the stable chain by height.
    Headers = 9,
    /// Heights of the stable chain by hash.
    Heights = 10,
    /// Records of the unstable tree.
    Nodes = 11,
    /// Root of the unstable tree.
    Root = 12,
    /// Sorted runs of coins.
    Runs = 13,
    /// What runs there are.
    Manifest = 14,
    /// Blocks refused for good.
    Refused = 21,
    /// The last fee percentiles.
    FeePercentiles = 22,
    /// Records of the outbox.
    Outbox = 23,
    /// Indexes of held blocks' transactions.
    TransactionIndexes = 30,
    /// Where they are.
    TransactionIndexDirectory = 31,
    /// The commitment to the stable set, and its history; empty where none is kept.
    Commitments = 32,
    /// Where the import of a snapshot is; empty where none was begun.
    Import = 33,
}

/// Raw memory: counted, shared between the regions and whoever asks for counts.
pub type Raw<M> = Rc<CountingMemory<M>>;

/// Why stable memory cannot be used. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is nothing to open.
    #[error("stable memory is empty: install instead of upgrading")]
    Empty,
    /// There is something already.
    #[error("stable memory has {pages} pages of 64 KiB already: reinstall, or upgrade instead")]
    NotEmpty {
        /// Its size.
        pages: u64,
    },
    /// Something else wrote this memory.
    #[error(
        "stable memory begins with {found:02x?}, not with this canister's magic: reinstall to give up what is there"
    )]
    WrongMagic {
        /// The first bytes.
        found: [u8; 8],
    },
    /// A newer version wrote this memory.
    #[error(
        "stable memory has layout {found}, this version knows layouts up to {supported}: install a newer one"
    )]
    NewerLayout {
        /// Version found.
        found: u16,
        /// Highest version known.
        supported: u16,
    },
    /// The header names an unknown network.
    #[error("stable memory names the unknown network {code}")]
    UnknownNetwork {
        /// Code found.
        code: u8,
    },
    /// Memory ends before what its header describes.
    #[error("stable memory has {pages} pages of 64 KiB, its header describes {needed}")]
    Truncated {
        /// Its size.
        pages: u64,
        /// Size described.
        needed: u64,
    },
    /// Memory could not grow.
    #[error("stable memory cannot grow to {pages} pages of 64 KiB")]
    CannotGrow {
        /// Size asked for.
        pages: u64,
    },
    /// A structure inside is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns the network of an existing store after checking that this code may open it. Reads the
/// header page.
///
/// # Errors
/// Every [`OpenError`] but [`OpenError::NotEmpty`].
pub fn check<M: Memory>(memory: &M) -> Result<Network, OpenError> {
    let pages = memory.size();
    if pages == 0 {
        return Err(OpenError::Empty);
    }
    let mut header = [0; HEADER_BYTES];
    memory.read(0, &mut header);
    let mut rest = header.as_slice();
    let magic = take(&mut rest).unwrap_or_default();
    if magic != MAGIC {
        return Err(OpenError::WrongMagic { found: magic });
    }
    let version = u16::from_le_bytes(take(&mut rest).unwrap_or_default());
    if version != LAYOUT_VERSION {
        return Err(OpenError::NewerLayout {
            found: version,
            supported: LAYOUT_VERSION,
        });
    }
    let [code] = take(&mut rest).unwrap_or_default();
    let network = network_of(code).ok_or(OpenError::UnknownNetwork { code })?;
    let needed = regions::pages_needed(memory)?;
    if pages < needed {
        return Err(OpenError::Truncated { pages, needed });
    }
    Ok(network)
}

/// Writes the header page of a new store.
///
/// # Errors
/// [`OpenError::NotEmpty`] or [`OpenError::CannotGrow`].
pub(crate) fn create<M: Memory>(memory: &M, network: Network) -> Result<(), OpenError> {
    if memory.size() != 0 {
        return Err(OpenError::NotEmpty {
            pages: memory.size(),
        });
    }
    if memory.grow(1) < 0 {
        return Err(OpenError::CannotGrow { pages: 1 });
    }
    let version = LAYOUT_VERSION.to_le_bytes();
    let header: [u8; HEADER_BYTES] = join(&[&MAGIC, &version, &[network_code(network)]]);
    memory.write(0, &header);
    Ok(())
}

impl Region {
    /// Returns whether the region holds what takes most of the space, by users that are told when there is
    /// no more.
    pub(crate) const fn is_bulk(self) -> bool {
        matches!(
            self,
            Self::Runs | Self::BlobPages | Self::TransactionIndexes
        )
    }
}

const fn network_code(network: Network) -> u8 {
    match network {
        Network::Mainnet => 0,
        Network::Testnet3 => 1,
        Network::Testnet4 => 2,
        Network::Signet => 3,
        Network::Regtest => 4,
    }
}

fn network_of(code: u8) -> Option<Network> {
    Network::ALL
        .into_iter()
        .find(|network| network_code(*network) == code)
}
