//! Fetches all coins of a canister after a block, and writes them into a file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bitcoin::{BlockHash, OutPoint};
use millrace_candid as wire;
use millrace_candid::GetCoinsArgs;
use millrace_core::{Height, Network};
use tracing::warn;

use super::canister::{Page, ReadFailure, SetCanister, hash_bytes};
use super::meter::Meter;
use super::write::{SetWriter, WriteError, Written, key};
use crate::engine::backoff::Backoff;
use crate::exit::Exit;

/// Attempts at one page; with the pauses between them they take some minutes.
const PAGE_ATTEMPTS: u32 = 12;

/// Times that an export starts again because the canister's chain left its block behind.
const RESTARTS_MAX: u32 = 3;

/// Reads all coins after one block.
#[derive(Debug)]
pub struct CoinPages<'a, C> {
    canister: &'a C,
    block: BlockHash,
    after: Option<wire::OutPoint>,
    last: Option<OutPoint>,
    is_done: bool,
    /// Coins read so far, those of the genesis block among them.
    pub read: u64,
    /// Number of all coins, as the last page says.
    pub total: u64,
}

/// Why coins cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PagesError {
    /// The canister does not give them.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// A page is of another block than the one asked for.
    #[error("the canister answered for block {found} when asked for {expected}")]
    OtherTip {
        /// The page's block.
        found: BlockHash,
        /// The block asked for.
        expected: BlockHash,
    },
    /// Coins do not ascend.
    #[error("coin {coin} came after {before}: the canister's coins do not ascend")]
    NotAscending {
        /// The coin.
        coin: OutPoint,
        /// The one before.
        before: OutPoint,
    },
    /// A page does not lead on.
    #[error("the canister's pages do not ascend: after {after:?} comes {next:?}")]
    NotLeadingOn {
        /// Where the page began.
        after: Option<wire::OutPoint>,
        /// Where the next one should begin.
        next: wire::OutPoint,
    },
    /// There were fewer or more coins than the canister says.
    #[error("the canister gave {found} coins and says it has {total}")]
    OtherCount {
        /// Coins that came.
        found: u64,
        /// Coins announced.
        total: u64,
    },
}

impl PagesError {
    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Read(error) => error.exit(),
            _ => Exit::Canister,
        }
    }
}

impl<'a, C: SetCanister> CoinPages<'a, C> {
    /// Starts with the first coin.
    pub const fn new(canister: &'a C, block: BlockHash) -> Self {
        Self {
            canister,
            block,
            after: None,
            last: None,
            is_done: false,
            read: 0,
            total: 0,
        }
    }

    /// Reads the next page; `None` after the last one. Failures that may pass are waited out.
    ///
    /// # Errors
    /// [`PagesError`].
    pub async fn next_page(&mut self) -> Result<Option<Page>, PagesError> {
        if self.is_done {
            return Ok(None);
        }
        let args = GetCoinsArgs {
            after: self.after.clone(),
            at_tip: Some(hash_bytes(self.block)),
            limit: None,
        };
        let page = patiently(|| self.canister.coins(args.clone())).await?;
        if page.tip.hash != self.block {
            return Err(PagesError::OtherTip {
                found: page.tip.hash,
                expected: self.block,
            });
        }
        for coin in &page.coins {
            let coin = coin.outpoint;
            if let Some(before) = self.last.filter(|last| key(last) >= key(&coin)) {
                return Err(PagesError::NotAscending { coin, before });
            }
            self.last = Some(coin);
        }
        self.read += page.coins.len() as u64;
        self.total = page.total;
        match &page.next {
            None if self.read != page.total => {
                return Err(PagesError::OtherCount {
                    found: self.read,
                    total: page.total,
                });
            }
            None => self.is_done = true,
            Some(next) if self.after.as_ref().is_some_and(|after| after >= next) => {
                return Err(PagesError::NotLeadingOn {
                    after: self.after.clone(),
                    next: next.clone(),
                });
            }
            Some(_) => {}
        }
        self.after.clone_from(&page.next);
        Ok(Some(page))
    }
}

/// Calls until there is an answer or a failure that does not pass; 12 times at most.
///
/// # Errors
/// The last failure.
pub async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T, ReadFailure>
where
    F: Future<Output = Result<T, ReadFailure>>,
{
    let mut backoff = Backoff::new(u64::from(std::process::id()));
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if error.is_transient() && attempt < PAGE_ATTEMPTS => {
                let pause = backoff.fail();
                warn!("{error}; trying again");
                tokio::time::sleep(pause).await;
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// What to export.
#[derive(Clone, Debug)]
pub struct Export<'a> {
    /// The file.
    pub file: &'a Path,
    /// The network.
    pub network: Network,
    /// The block; the newest stable one if absent.
    pub block: Option<BlockHash>,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is one already.
    #[error("{path} exists already: name another file, or remove it")]
    Exists {
        /// The file.
        path: String,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {reason}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The coins cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file.
        path: String,
        /// Why not.
        error: WriteError,
    },
    /// The coins cannot be read.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The chain went on faster than coins were read, again and again.
    #[error(
        "the canister's chain left block {block} behind while its coins were read, the last of {attempts} \
         attempts: export from a canister with a higher stability_threshold, or nearer to it"
    )]
    LeftBehind {
        /// The last block tried.
        block: BlockHash,
        /// How often.
        attempts: u32,
    },
}

impl ExportError {
    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Exists { .. } => Exit::Usage,
            Self::File { .. } | Self::Write { .. } => Exit::Failed,
            Self::Pages(error) => error.exit(),
            Self::LeftBehind { .. } => Exit::Canister,
        }
    }
}

impl From<ReadFailure> for ExportError {
    fn from(error: ReadFailure) -> Self {
        Self::Pages(error.into())
    }
}

/// Writes a canister's coins into a file, which is there only once it is whole.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    export: &Export<'_>,
    canister: &impl SetCanister,
    meter: &mut Meter,
) -> Result<Written, ExportError> {
    if export.file.exists() {
        return Err(ExportError::Exists {
            path: export.file.display().to_string(),
        });
    }
    let mut block = match export.block {
        Some(block) => block,
        None => patiently(|| canister.standing()).await?.anchor.hash,
    };
    let mut restarts = 0;
    let result = loop {
        let error = match attempt(export, block, canister, meter).await {
            Err(ExportError::Pages(PagesError::Read(error @ ReadFailure::UnknownTip { .. }))) => {
                error
            }
            other => break other,
        };
        if export.block.is_some() {
            break Err(error.into());
        }
        if restarts == RESTARTS_MAX {
            break Err(ExportError::LeftBehind {
                block,
                attempts: RESTARTS_MAX + 1,
            });
        }
        restarts += 1;
        let tip = patiently(|| canister.standing()).await?.tip;
        warn!(
            height = tip.height.get(),
            "the canister's chain left block {block} behind; starting again at its best block {}",
            tip.hash
        );
        block = tip.hash;
    };
    meter.end();
    if result.is_err() {
        // Nothing can be made of a part of it; that it cannot be removed adds nothing to the error.
        let _ = fs::remove_file(partial(export.file));
    }
    result
}

async fn attempt(
    export: &Export<'_>,
    block: BlockHash,
    canister: &impl SetCanister,
    meter: &mut Meter,
) -> Result<Written, ExportError> {
    let path = partial(export.file);
    let name = path.display().to_string();
    let refused = |action| {
        let path = name.clone();
        move |error: io::Error| ExportError::File {
            action,
            path,
            reason: error.to_string(),
        }
    };
    let unwritten = |error| ExportError::Write {
        path: name.clone(),
        error,
    };
    let mut pages = CoinPages::new(canister, block);
    // Before the file: most failures are found by the first question.
    let mut page = pages.next_page().await?;
    let file = File::create(&path).map_err(refused("create"))?;
    let mut writer = SetWriter::new(file, export.network, block).map_err(unwritten)?;
    while let Some(read) = page {
        for coin in read.coins {
            // Bitcoin Core has no coins of the genesis block.
            if coin.height != Height::ZERO {
                writer.put(coin).map_err(unwritten)?;
            }
        }
        meter.show("coins read", pages.read, pages.total);
        page = pages.next_page().await?;
    }
    let (file, written) = writer.finish().map_err(unwritten)?;
    file.sync_all().map_err(refused("flush"))?;
    fs::rename(&path, export.file).map_err(refused("rename"))?;
    sync_folder(export.file).map_err(refused("flush the folder of"))?;
    Ok(written)
}

/// Makes a new name in a folder last.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
    if cfg!(unix) {
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}
