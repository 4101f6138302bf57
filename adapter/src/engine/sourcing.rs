//! Takes in headers and blocks from the source.

use std::time::Duration;

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
            Err(error) if error.reach() == SourceErrorReach::Moment => {
                return self.source_is_unavailable(now, &error);
            }
            Err(error) => return self.discovery_failed(now, error),
        };
        self.source_answered();
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
        self.best_chain_changed(now, accepted.changed_from);
    }

    /// Requests blocks, as far as the read-ahead's bounds allow.
    pub(super) fn read_ahead(&mut self, now: Now) {
        if now.elapsed < self.read_at {
            return;
        }
        let headers = &self.headers;
        let hashes = self.reading.request(|height| headers.hash_at(height));
        if !hashes.is_empty() {
            self.commands.push(Command::Read(hashes));
        }
    }

    pub(super) fn on_read(
        &mut self,
        now: Now,
        hash: BlockHash,
        result: Result<Vec<u8>, SourceError>,
    ) {
        let Some(height) = self.reading.end_request(hash) else {
            // The chain changed since it was asked for.
            return;
        };
        let error = match result {
            Ok(bytes) => {
                self.source_answered();
                let bytes = self.in_pushed_form(height, bytes);
                return self.reading.keep(height, hash, bytes);
            }
            Err(error) => error,
        };
        self.reading.retry_from(height);
        match error.reach() {
            SourceErrorReach::Block => self.read_failed(now, hash, &error),
            SourceErrorReach::Source => self.source_failed_to_read(now, hash, error),
            SourceErrorReach::Moment => self.source_is_unavailable(now, &error),
        }
    }

    /// Pauses the source, longer each time; requests that fail together count once.
    fn source_is_unavailable(&mut self, now: Now, error: &SourceError) {
        if now.elapsed < self.read_at {
            return;
        }
        let pause = self.source_retries.fail();
        self.is_source_failing = true;
        self.pause_source(now.elapsed.saturating_add(pause));
        self.notify(Notice::SourceRemark(format!(
            "{error}; trying again in {} ms",
            pause.as_millis()
        )));
    }

    fn pause_source(&mut self, time: Duration) {
        self.read_at = self.read_at.max(time);
        self.discover_at = self.discover_at.max(time);
    }

    fn source_answered(&mut self) {
        self.source_retries.succeed();
        self.is_source_failing = false;
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
        if now.elapsed < self.read_at {
            // Many requests fail together, and say the same.
            return;
        }
        if self.count_failure(hash) && self.config.until == Until::Synced {
            return self.finish(Outcome::SourceFailed(error));
        }
        self.pause_source(now.elapsed.saturating_add(SOURCE_RETRY_PAUSE));
        self.notify(Notice::SourceRemark(error.to_string()));
    }

    /// Tries a block again a few times: a growing file may show it before its last byte.
    fn read_failed(&mut self, now: Now, hash: BlockHash, error: &SourceError) {
        if self.count_failure(hash) {
            return self.give_up_block(now, hash, error.to_string());
        }
        self.read_at = self
            .read_at
            .max(now.elapsed.saturating_add(READ_RETRY_PAUSE));
    }
}
