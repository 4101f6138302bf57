//! The header file on disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bitcoin::BlockHash;
use millrace_core::{Height, Network, UnixSeconds};
use millrace_p2p::headers::HeaderTree;
use millrace_p2p::headers::file::{
    self, CHUNK_BYTES, HEAD_BYTES, HeaderFileError, HeaderReader, HeaderWriter,
};

use super::{StateError, move_aside};

/// Headers written at once, at most.
const MAX_BATCH: u32 = 10_000;

/// The open file, and how far it holds the best chain.
pub(super) struct HeaderStore {
    path: PathBuf,
    file: File,
    writer: HeaderWriter,
    /// The block of the last record.
    tip: BlockHash,
    /// Whether a write failed: then nobody knows what is in the file.
    is_torn: bool,
}

impl std::fmt::Debug for HeaderStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderStore")
            .field("path", &self.path)
            .field("height", &self.writer.height())
            .finish_non_exhaustive()
    }
}

impl HeaderStore {
    /// Opens the file, or begins one, and returns the chain in it. Damage at its end is cut off; a
    /// file that is something else is moved aside.
    pub(super) fn open(
        path: &Path,
        network: Network,
        now: UnixSeconds,
        warnings: &mut Vec<String>,
    ) -> Result<(Self, HeaderTree), StateError> {
        let failed = |error| StateError::File {
            action: "read",
            path: path.to_owned(),
            error,
        };
        let mut file = open_file(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length > 0 {
            let mut head = Vec::new();
            let mut beginning = (&file).take(HEAD_BYTES as u64);
            beginning.read_to_end(&mut head).map_err(failed)?;
            match file::check_head(network, &head) {
                Ok(()) => {}
                Err(HeaderFileError::Network { got, expected }) => {
                    return Err(StateError::OtherNetwork {
                        directory: path.parent().unwrap_or(path).to_owned(),
                        found: format!("the network with magic {got:02x?}"),
                        expected,
                    });
                }
                Err(error) => {
                    move_aside(path, &error.to_string(), warnings)?;
                    file = open_file(path).map_err(failed)?;
                }
            }
        }
        let (tree, useful) = read(&mut file, network, now).map_err(failed)?;
        if length > useful && !tree.is_empty() {
            warnings.push(format!(
                "the last {} bytes of {} are torn: headers above {} are fetched again",
                length - useful,
                path.display(),
                tree.tip_height()
            ));
        }
        let mut store = Self {
            path: path.to_owned(),
            file,
            writer: HeaderWriter::after(&tree, tree.tip_height()),
            tip: tree.tip_hash(),
            is_torn: false,
        };
        store.repair(network).map_err(failed)?;
        Ok((store, tree))
    }

    /// Makes the file end behind the last record that is of use, and begin with its head.
    fn repair(&mut self, network: Network) -> io::Result<()> {
        if self.file.metadata()?.len() < HEAD_BYTES as u64 {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&file::head(network))?;
        }
        self.file.set_len(self.writer.length())
    }

    /// Makes the file hold the tree's best chain, which is another from a height on.
    pub(super) fn save(
        &mut self,
        tree: &HeaderTree,
        changed_from: Height,
    ) -> Result<(), StateError> {
        let result = self.try_save(tree, changed_from);
        self.is_torn = result.is_err();
        result.map_err(|error| StateError::File {
            action: "write",
            path: self.path.clone(),
            error,
        })
    }

    fn try_save(&mut self, tree: &HeaderTree, changed_from: Height) -> io::Result<()> {
        let common = changed_from.saturating_sub(Height::new(1));
        let mut keep = common.min(self.writer.height()).min(tree.tip_height());
        let goes_on = keep < self.writer.height() || tree.hash_at(keep) == Some(self.tip);
        if self.is_torn || !goes_on {
            keep = Height::ZERO;
        }
        if keep < self.writer.height() || self.is_torn {
            self.writer = HeaderWriter::after(tree, keep);
            self.file.set_len(self.writer.length())?;
        }
        if self.writer.height() >= tree.tip_height() {
            self.tip = tree.tip_hash();
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(self.writer.length()))?;
        while self.writer.height() < tree.tip_height() {
            self.append(tree)?;
        }
        self.tip = tree.tip_hash();
        self.file.sync_data()
    }

    fn append(&mut self, tree: &HeaderTree) -> io::Result<()> {
        let mut bytes = Vec::new();
        for _ in 0..MAX_BATCH {
            let Some(header) = tree.header_at(self.writer.height().next()) else {
                break;
            };
            self.writer.append(&header, &mut bytes);
        }
        self.file.write_all(&bytes)
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Reads the chain behind the head.
fn read(file: &mut File, network: Network, now: UnixSeconds) -> io::Result<(HeaderTree, u64)> {
    let mut reader = HeaderReader::new(network);
    reader.expect_bytes(file.metadata()?.len());
    file.seek(SeekFrom::Start(HEAD_BYTES as u64))?;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        Read::by_ref(file)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk)?;
        if chunk.is_empty() || !reader.take(&chunk, now) {
            return Ok(reader.finish());
        }
    }
}
