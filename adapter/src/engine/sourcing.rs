//! Takes in headers and blocks from the source.

use bitcoin::BlockHash;
use bitcoin::block::Header;

use super::locator::thinning;
use super::report::{Notice, Outcome, REFUSED_HEADERS_NAMED};
use super::{Command, DISCOVER_POLL, Engine, Now, READ_RETRY_PAUSE, SOURCE_RETRY_PAUSE, Until};
use crate::source::{Discovery, SourceError, SourceErrorReach};

impl Engine {
    pub(super) fn may_discover(&self) -> bool {
        !self.is_discovering && (!self.is_indexed || self.config.until == Until::Stopped)
    }

    pub(super) fn discover(&mut self, now: Now) {
        if !self.may_discover() || now.elapsed < self.discover_at {
            return;
        }
        self.is_discovering = true;
        let locator = self.hashes_of(&thinning(self.headers.tip_height()));
        self.commands.push(Command::Discover { locator });
    }

    pub(super) fn on_discovered(&mut self, now: Now, result: Result<Discovery, SourceError>) {
        self.is_discovering = false;
        let discovery = match result {
            Ok(discovery) => discovery,
            Err(error) => return self.discovery_failed(now, error),
        };
        for remark in discovery.remarks {
            self.notify(Notice::SourceRemark(remark));
        }
        self.take_headers(now, &discovery.headers);
        if discovery.has_more {
            self.discover_at = now.elapsed;
            return;
        }
        self.discover_at = now.elapsed.saturating_add(DISCOVER_POLL);
        if self.is_indexed {
            return;
        }
        self.is_indexed = true;
        if self.headers.is_empty() && self.headers.orphans() > 0 {
            return self.finish(Outcome::Unlinked {
                network: self.config.network,
                headers: self.headers.orphans(),
            });
        }
        self.notify(Notice::Indexed {
            tip: self.best_tip(),
            headers: self.headers.len(),
            orphans: self.headers.orphans(),
        });
        if let Some(anchor) = self.view.as_ref().map(|view| view.anchor) {
            self.headers.require(anchor.hash);
        }
        self.locate(now);
    }

    fn take_headers(&mut self, now: Now, headers: &[Header]) {
        let accepted = self.headers.accept(headers, now.unix);
        for error in accepted.refused.iter().take(REFUSED_HEADERS_NAMED) {
            self.notify(Notice::HeaderRefused(error.clone()));
        }
        if accepted.dropped > 0 {
            self.notify(Notice::OrphansDropped(accepted.dropped));
        }
        self.best_chain_changed(accepted.changed_from);
    }

    pub(super) fn on_read(
        &mut self,
        now: Now,
        hash: BlockHash,
        result: Result<Vec<u8>, SourceError>,
    ) {
        if !self.reading.end_request(hash) {
            // The chain changed since it was asked for.
            return;
        }
        match result {
            Ok(bytes) => self.reading.keep(hash, bytes),
            Err(error) if error.reach() == SourceErrorReach::Block => {
                self.read_failed(now, hash, &error);
            }
            Err(error) => self.source_failed_to_read(now, hash, error),
        }
    }

    /// Ends the run if the source was never usable; one that was may be so again: a node moves,
    /// prunes and replaces its files.
    fn discovery_failed(&mut self, now: Now, error: SourceError) {
        if !self.is_indexed {
            return self.finish(Outcome::SourceFailed(error));
        }
        self.discover_at = now.elapsed.saturating_add(SOURCE_RETRY_PAUSE);
        self.notify(Notice::SourceRemark(error.to_string()));
    }

    /// Tries to read again when the file system refused: for a run that is to end a few times,
    /// otherwise until it works.
    fn source_failed_to_read(&mut self, now: Now, hash: BlockHash, error: SourceError) {
        if self.count_failure(hash) && self.config.until == Until::Synced {
            return self.finish(Outcome::SourceFailed(error));
        }
        if let Some(height) = self.headers.height_of(hash) {
            self.reading.retry_from(height);
        }
        self.pause_until(now.elapsed.saturating_add(SOURCE_RETRY_PAUSE));
        self.notify(Notice::SourceRemark(error.to_string()));
    }

    /// Tries a block again a few times: a growing file may show it before its last byte.
    fn read_failed(&mut self, now: Now, hash: BlockHash, error: &SourceError) {
        if self.count_failure(hash) {
            return self.give_up_block(hash, error.to_string());
        }
        if let Some(height) = self.headers.height_of(hash) {
            self.reading.retry_from(height);
            self.pause_until(now.elapsed.saturating_add(READ_RETRY_PAUSE));
        }
    }
}
