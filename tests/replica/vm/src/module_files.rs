//! Compiled modules in a directory, kept between runs and shared by processes.
//!
//! Files appear whole and are read whole, so a process that removes one disturbs nobody: a reader has it
//! already, or compiles again. When they exceed the directory's bound, those that were not used for
//! longest are removed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Module;

/// Extension of complete files.
const COMPLETE: &str = "cwasm";
/// Bytes of the checksum that begins a file.
const CHECKSUM_BYTES: usize = 32;
/// Age after which an incomplete file has been given up by its writer.
const INCOMPLETE_AGE_MAX: Duration = Duration::from_secs(3_600);

/// A directory of compiled modules.
#[derive(Debug)]
pub(crate) struct ModuleFiles {
    dir: PathBuf,
    bytes_max: u64,
}

/// One complete file.
struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl ModuleFiles {
    /// Creates the directory if it is missing.
    pub(crate) fn open(dir: PathBuf, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, bytes_max })
    }

    /// Returns the module of this name, or `None` when there is none that this engine can use.
    pub(crate) fn read(&self, engine: &wasmtime::Engine, name: &str) -> Option<Module> {
        let path = self.path(name);
        let bytes = fs::read(&path).ok()?;
        let (checksum, module) = bytes.split_at_checked(CHECKSUM_BYTES)?;
        if Sha256::digest(module).as_slice() != checksum {
            return None;
        }
        // The time of the last use decides what is removed. Not knowing it costs time later.
        let _ = File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        // SAFETY: the checksum matches what `write` wrote into a trusted directory; wasmtime itself
        // refuses other versions and configurations.
        unsafe { Module::deserialize(engine, module) }.ok()
    }

    /// Keeps a module under a name, and removes others when there are too many bytes.
    pub(crate) fn write(&self, name: &str, module: &Module) -> wasmtime::Result<()> {
        let serialized = module.serialize()?;
        let mut bytes = Sha256::digest(&serialized).to_vec();
        bytes.extend_from_slice(&serialized);
        self.keep(name, &bytes)?;
        Ok(())
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        // Concurrent writers write the same content; the rename makes it appear whole.
        let incomplete = path.with_extension(format!("tmp{}", std::process::id()));
        fs::write(&incomplete, bytes)?;
        fs::rename(&incomplete, &path)?;
        self.remove_unused(SystemTime::now())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension(COMPLETE)
    }

    /// Removes what was not used for longest until the rest fits, and what crashed writers left.
    fn remove_unused(&self, now: SystemTime) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            // Gone already: another process removes files too.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            let used = metadata.modified()?;
            if is_complete(&path) {
                let bytes = metadata.len();
                entries.push(Entry { path, bytes, used });
            } else if is_incomplete(&path)
                && now.duration_since(used).unwrap_or_default() > INCOMPLETE_AGE_MAX
            {
                let _ = fs::remove_file(&path);
            }
        }
        entries.sort_by_key(|entry| entry.used);
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            if bytes <= self.bytes_max {
                break;
            }
            let _ = fs::remove_file(&entry.path);
            bytes -= entry.bytes;
        }
        Ok(())
    }
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
}

fn is_complete(path: &Path) -> bool {
    extension(path) == COMPLETE
}

fn is_incomplete(path: &Path) -> bool {
    extension(path).starts_with("tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("readable");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("readable").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    fn set_age(path: &Path, seconds: u64) {
        let file = File::options().append(true).open(path).expect("writable");
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .expect("can be set");
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let files = ModuleFiles::open(dir.path().to_owned(), 250).expect("opens");
        for (name, age) in [("old", 30), ("oldest", 40), ("young", 20)] {
            fs::write(dir.path().join(name).with_extension(COMPLETE), [0; 100]).expect("written");
            set_age(&files.path(name), age);
        }
        files.keep("new", &[0; 100]).expect("kept");
        assert_eq!(names(dir.path()), ["new.cwasm", "young.cwasm"]);
    }

    #[test]
    fn only_what_writers_gave_up_and_only_the_caches_own_files_are_removed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let files = ModuleFiles::open(dir.path().to_owned(), 0).expect("opens");
        for name in ["given-up.tmp1", "in-use.tmp2", "notes.txt"] {
            fs::write(dir.path().join(name), [0; 100]).expect("written");
        }
        set_age(&dir.path().join("given-up.tmp1"), 2 * 3_600);
        set_age(&dir.path().join("notes.txt"), 2 * 3_600);
        files.keep("new", &[0; 100]).expect("kept");
        assert_eq!(names(dir.path()), ["in-use.tmp2", "notes.txt"]);
    }

    #[test]
    fn a_module_that_is_used_stays_before_a_newer_one() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let engine = wasmtime::Engine::default();
        let module = Module::new(&engine, b"\0asm\x01\0\0\0").expect("compiles");
        let size = 32 + module.serialize().expect("serialises").len() as u64;
        let files = ModuleFiles::open(dir.path().to_owned(), 2 * size).expect("opens");
        for (name, age) in [("used", 40), ("unused", 20)] {
            files.write(name, &module).expect("written");
            set_age(&files.path(name), age);
        }
        assert!(files.read(&engine, "used").is_some());
        files.write("new", &module).expect("written");
        assert_eq!(names(dir.path()), ["new.cwasm", "used.cwasm"]);
        assert!(files.read(&engine, "unused").is_none());
    }
}
