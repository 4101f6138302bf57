//! Where every block of the files is, found in one pass and continued as the files grow.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bitcoin::BlockHash;
use millrace_core::Network;
use millrace_core::block::decode_header;
use millrace_p2p::message::check_block;

use super::super::{Discovery, MAX_HEADERS, SourceError};
use super::files::{key_for, list, unreadable};
use super::scan::{Found, MAX_GARBAGE_BYTES, Step, next_record};
use super::window::{Window, XorKey};

/// Places remembered of one block. A block is written twice when a crash made the node forget
/// that it had it.
const COPIES_MAX: usize = 4;

/// Where a block is.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    offset: u64,
    size: u32,
}

/// A file and how far it has been looked through.
#[derive(Debug)]
struct BlockFile {
    path: PathBuf,
    next: u64,
    /// Length and time of change when its end was reached.
    seen: Option<(u64, Option<SystemTime>)>,
    /// Whether it was there and is no more: a node that prunes deletes its oldest files.
    is_gone: bool,
    /// Whether its odd end was remarked on.
    is_cut_reported: bool,
    /// Garbage remarked on, in bytes.
    reported_garbage: u64,
}

/// The index of a directory or file; see the module's documentation.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    network: Network,
    key: XorKey,
    files: Vec<BlockFile>,
    /// The file being looked through.
    current: usize,
    places: HashMap<BlockHash, Place>,
    /// Further copies of some blocks.
    copies: HashMap<BlockHash, Vec<Place>>,
    scanned_bytes: u64,
}

impl Index {
    /// Starts; nothing is read yet.
    pub fn new(path: &Path, network: Network) -> Self {
        Self {
            path: path.to_owned(),
            network,
            key: XorKey::default(),
            files: Vec::new(),
            current: 0,
            places: HashMap::new(),
            copies: HashMap::new(),
            scanned_bytes: 0,
        }
    }

    /// Looks for blocks not reported before; see [`crate::source::BlockSource::discover`]. Reads
    /// only record heads and headers, and skips bodies.
    ///
    /// # Errors
    /// [`SourceError`], always about the whole source.
    pub fn discover(&mut self) -> Result<Discovery, SourceError> {
        if self.current == 0 {
            self.refresh()?;
        }
        let mut discovery = Discovery::default();
        while self.current < self.files.len() {
            self.look_through(self.current, &mut discovery)?;
            if discovery.headers.len() >= MAX_HEADERS {
                discovery.has_more = true;
                return Ok(discovery);
            }
            self.current += 1;
        }
        self.current = 0;
        if self.places.is_empty() {
            return Err(SourceError::NoBlocks {
                path: self.path.display().to_string(),
                expected: self.network.to_string(),
                magic: self.network.magic().to_string(),
                scanned_bytes: self.scanned_bytes,
            });
        }
        Ok(discovery)
    }

    /// Takes note of new files.
    fn refresh(&mut self) -> Result<(), SourceError> {
        let listed = list(&self.path)?;
        if self.files.is_empty() {
            self.key = key_for(&self.path)?;
        }
        for path in listed {
            if self.files.iter().all(|file| file.path != path) {
                self.files.push(BlockFile {
                    path,
                    next: 0,
                    seen: None,
                    is_gone: false,
                    is_cut_reported: false,
                    reported_garbage: 0,
                });
            }
        }
        Ok(())
    }

    /// Goes on with one file until its end, or until the discovery is full.
    fn look_through(
        &mut self,
        number: usize,
        discovery: &mut Discovery,
    ) -> Result<(), SourceError> {
        let Some(file) = self.files.get_mut(number) else {
            return Ok(());
        };
        // A look at a file that has not changed costs no more than this.
        let metadata = match fs::metadata(&file.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound && file.seen.is_some() => {
                file.remark_gone(discovery);
                return Ok(());
            }
            Err(error) => return Err(unreadable("open", &file.path, &error)),
        };
        file.is_gone = false;
        let length = metadata.len();
        let seen = (length, metadata.modified().ok());
        if file.seen == Some(seen) {
            return Ok(());
        }
        let handle =
            File::open(&file.path).map_err(|error| unreadable("open", &file.path, &error))?;
        let mut window = Window::new(handle, self.key);
        while discovery.headers.len() < MAX_HEADERS {
            let step = next_record(&mut window, self.network, file.next, length)
                .map_err(|error| unreadable("read", &file.path, &error))?;
            self.scanned_bytes = self
                .scanned_bytes
                .saturating_add(step.next.saturating_sub(file.next).max(step.garbage));
            file.next = step.next;
            file.remark(&step, discovery);
            match step.found {
                Found::Block {
                    header,
                    offset,
                    size,
                } => {
                    let place = Place {
                        file: number,
                        offset,
                        size,
                    };
                    let hash = header.block_hash();
                    if let Some(earlier) = self.places.insert(hash, place) {
                        keep_copy(&mut self.copies, hash, earlier);
                    } else {
                        discovery.headers.push(header);
                    }
                }
                Found::OtherNetwork(found) => {
                    return Err(SourceError::WrongNetwork {
                        path: file.path.display().to_string(),
                        found: found.to_string(),
                        expected: self.network.to_string(),
                    });
                }
                Found::End | Found::Cut { .. } | Found::TooMuchGarbage => {
                    file.seen = Some(seen);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Returns where a block is, the best place first. Costs no access to files.
    ///
    /// # Errors
    /// [`SourceError::Unknown`].
    pub fn find(&self, hash: BlockHash) -> Result<Copies, SourceError> {
        let place = self
            .places
            .get(&hash)
            .ok_or(SourceError::Unknown { hash })?;
        let others = self.copies.get(&hash).into_iter().flatten();
        let found = std::iter::once(place).chain(others).filter_map(|place| {
            let file = self.files.get(place.file)?;
            Some((file.path.clone(), *place))
        });
        Ok(Copies {
            hash,
            key: self.key,
            places: found.collect(),
        })
    }

    /// Reads a block; see [`Copies::read`].
    ///
    /// # Errors
    /// Those of [`Index::find`] and [`Copies::read`].
    #[cfg(test)]
    pub fn read(&self, hash: BlockHash) -> Result<Vec<u8>, SourceError> {
        self.find(hash)?.read()
    }
}

/// The places of one block, which can be read without the index.
#[derive(Clone, Debug)]
pub struct Copies {
    hash: BlockHash,
    key: XorKey,
    places: Vec<(PathBuf, Place)>,
}

impl Copies {
    /// Reads the block and checks its structure; of several copies the last good one. Costs one read of
    /// the block and a hash of each transaction.
    ///
    /// # Errors
    /// [`SourceError::Damaged`] if no copy is good, or [`SourceError::Unreadable`].
    pub fn read(&self) -> Result<Vec<u8>, SourceError> {
        let mut result = Err(SourceError::Unknown { hash: self.hash });
        for (path, place) in &self.places {
            result = self.read_at(path, *place);
            if !matches!(result, Err(SourceError::Damaged { .. })) {
                break;
            }
        }
        result
    }

    fn read_at(&self, path: &Path, place: Place) -> Result<Vec<u8>, SourceError> {
        let mut handle = File::open(path).map_err(|error| unreadable("open", path, &error))?;
        let mut bytes = Vec::with_capacity(place.size as usize);
        handle
            .seek(SeekFrom::Start(place.offset))
            .and_then(|_| handle.take(u64::from(place.size)).read_to_end(&mut bytes))
            .map_err(|error| unreadable("read", path, &error))?;
        self.key.apply(place.offset, &mut bytes);
        let damaged = |reason: String| SourceError::Damaged {
            hash: self.hash,
            path: path.display().to_string(),
            offset: place.offset,
            reason,
        };
        check_block(&bytes).map_err(|error| damaged(error.to_string()))?;
        let found = decode_header(&bytes).map(|header| header.block_hash());
        if let Some(other) = found.filter(|hash| *hash != self.hash) {
            return Err(damaged(format!("another block, {other}, is there now")));
        }
        Ok(bytes)
    }
}

impl BlockFile {
    /// Reports once that the file has vanished.
    fn remark_gone(&mut self, discovery: &mut Discovery) {
        if !self.is_gone {
            self.is_gone = true;
            discovery.remarks.push(format!(
                "{}: the file is gone; its blocks can be pushed no more",
                self.path.display()
            ));
        }
    }

    /// Reports oddities of a step, each once.
    fn remark(&mut self, step: &Step, discovery: &mut Discovery) {
        let path = self.path.display();
        if step.garbage > self.reported_garbage {
            discovery.remarks.push(format!(
                "{path}: skipped {} bytes that belong to no block, before byte {}",
                step.garbage, step.next
            ));
            self.reported_garbage = step.garbage;
        }
        match step.found {
            Found::Cut {
                available,
                expected,
            } if !self.is_cut_reported => {
                self.is_cut_reported = true;
                discovery.remarks.push(format!(
                    "{path}: the last block is cut off at byte {}: {available} of {expected} bytes \
                     are there; it is read when the rest comes",
                    step.next
                ));
            }
            Found::TooMuchGarbage => discovery.remarks.push(format!(
                "{path}: gave up the rest of the file after {MAX_GARBAGE_BYTES} bytes without a \
                 block"
            )),
            _ => {}
        }
    }
}

fn keep_copy(copies: &mut HashMap<BlockHash, Vec<Place>>, hash: BlockHash, place: Place) {
    let known = copies.entry(hash).or_default();
    if known.len() < COPIES_MAX {
        known.push(place);
    }
}

#[cfg(test)]
impl Index {
    /// Returns the headers of a source read to its end, and all remarks.
    pub fn discover_all(
        &mut self,
    ) -> Result<(Vec<bitcoin::block::Header>, Vec<String>), SourceError> {
        let mut headers = Vec::new();
        let mut remarks = Vec::new();
        loop {
            let discovery = self.discover()?;
            headers.extend(discovery.headers);
            remarks.extend(discovery.remarks);
            if !discovery.has_more {
                return Ok((headers, remarks));
            }
        }
    }
}
