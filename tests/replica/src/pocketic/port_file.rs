//! The file by which a server tells its port, and by which a second server knows it is not needed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A port file that this process created; removed again when dropped.
#[derive(Debug)]
pub struct PortFile {
    path: PathBuf,
    file: File,
}

impl PortFile {
    /// Creates the file, empty. `None` when it exists: another server serves this client already.
    ///
    /// # Errors
    /// The system's, when it cannot be created for another reason.
    pub fn create(path: &Path) -> io::Result<Option<Self>> {
        let created = OpenOptions::new().write(true).create_new(true).open(path);
        match created {
            Ok(file) => Ok(Some(Self {
                path: path.to_owned(),
                file,
            })),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes the port. Clients wait for the newline, so the server must listen already.
    ///
    /// # Errors
    /// The system's.
    pub fn announce(&mut self, port: u16) -> io::Result<()> {
        self.file.write_all(format!("{port}\n").as_bytes())?;
        self.file.flush()
    }
}

impl Drop for PortFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the port file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_server_sees_the_file_and_the_last_one_removes_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("server.port");
        let mut first = PortFile::create(&path)
            .expect("created")
            .expect("is the first");
        assert!(PortFile::create(&path).expect("no error").is_none());
        first.announce(8_123).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "8123\n");
        drop(first);
        assert!(!path.exists());
    }
}
