//! Carries an import out: reads the file and headers, calls the canister, waits.

use std::io::{Read, Seek};
use std::time::Instant;

use bitcoin::BlockHash;
use millrace_candid::SnapshotImport;
use millrace_core::Height;
use tracing::{info, warn};

use super::canister::ImportCanister;
use super::groups::FileError;
use super::headers::{HeaderSource, HeadersError};
use super::import::{Command, Event, Import, ImportError, Notice, Plan};
use super::meter::Meter;
use super::pieces::{PIECE_BYTES_MAX, Pieces};
use crate::engine::BlockRef;

/// Bytes of the file that are passed over between two reports.
const PASS_BYTES: u64 = 64 * 1024 * 1024;

/// Imports the coins of `pieces` and returns the block after which the canister then has them.
///
/// # Errors
/// [`ImportError`]. Whatever it is, the import can be run again and goes on where it was.
pub async fn upload<R: Read + Seek>(
    plan: Plan,
    pieces: Pieces<R>,
    headers: &HeaderSource,
    canister: &impl ImportCanister,
    meter: &mut Meter,
) -> Result<BlockRef, ImportError> {
    let started = Instant::now();
    let mut upload = Upload {
        base: plan.metadata.base,
        base_height: None,
        pieces,
        headers,
        canister,
        meter,
    };
    let mut import = Import::new(plan);
    let mut event = Event::Start;
    loop {
        let step = import.on(started.elapsed(), event);
        if let Some(notice) = step.notice {
            report(&notice);
        }
        upload.show(import.standing());
        event = match step.command {
            Command::Finish(result) => {
                upload.meter.end();
                return result;
            }
            command => upload.carry_out(command).await,
        };
    }
}

struct Upload<'a, R, C> {
    base: BlockHash,
    base_height: Option<Height>,
    pieces: Pieces<R>,
    headers: &'a HeaderSource,
    canister: &'a C,
    meter: &'a mut Meter,
}

impl<R: Read + Seek, C: ImportCanister> Upload<'_, R, C> {
    async fn carry_out(&mut self, command: Command) -> Event {
        match command {
            Command::Ask => Event::Answered(self.canister.import().await.map(Ok)),
            Command::Check => {
                info!("the file is read and checked before anything is sent");
                let of = self.pieces.metadata().coins;
                let meter = &mut *self.meter;
                let hash = self
                    .pieces
                    .hash(|read| meter.show("coins checked", read, of));
                Event::Checked(hash)
            }
            Command::Begin(args) => Event::Answered(self.canister.begin(args).await),
            Command::PushHeaders(args) => Event::Answered(self.canister.push_headers(args).await),
            Command::PushCoins(args) => Event::Answered(self.canister.push_coins(args).await),
            Command::ReadHeaders { first } => Event::Headers(self.read_headers(first).await),
            Command::ReadCoins { offset } => Event::Coins(self.read_coins(offset)),
            Command::Wait(pause) => {
                tokio::time::sleep(pause).await;
                Event::Waited
            }
            Command::Finish(_) => Event::Waited,
        }
    }

    async fn read_headers(&mut self, first: Height) -> Result<Vec<u8>, HeadersError> {
        let base = match self.base_height {
            Some(height) => height,
            None => self.headers.base_height(self.base).await?,
        };
        self.base_height = Some(base);
        self.headers.read(first, base).await
    }

    fn read_coins(&mut self, offset: u64) -> Result<Vec<u8>, FileError> {
        let mut at = 0;
        loop {
            let reached = self.pieces.approach(offset, PASS_BYTES)?;
            if reached > offset || reached == at {
                break;
            }
            at = reached;
            self.meter.show("bytes passed over", at, offset);
        }
        self.pieces.piece(offset, PIECE_BYTES_MAX)
    }

    fn show(&mut self, standing: Option<&SnapshotImport>) {
        match standing {
            Some(SnapshotImport::Headers { next_height, .. }) => {
                let of = self.base_height.map_or(0, Height::get);
                self.meter
                    .show("headers pushed", (*next_height).into(), of.into());
            }
            Some(SnapshotImport::Coins { taken, of, .. }) => {
                self.meter.show("coins pushed", *taken, *of);
            }
            _ => {}
        }
    }
}

fn report(notice: &Notice) {
    match notice {
        Notice::Retry { reason, pause } => warn!(
            retry_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "{reason}"
        ),
        Notice::Stage(SnapshotImport::None) => info!("the canister is empty"),
        Notice::Stage(SnapshotImport::Headers { next_height, .. }) => {
            info!(next_height, "headers are pushed");
        }
        Notice::Stage(SnapshotImport::Coins {
            next_offset,
            taken,
            of,
            ..
        }) => info!(next_offset, taken, of, "coins are pushed"),
        Notice::Stage(SnapshotImport::Merging { runs, .. }) => {
            info!(runs, "the canister has all coins and merges them");
        }
        Notice::Stage(SnapshotImport::Complete { .. } | SnapshotImport::Refused { .. }) => {}
    }
}
