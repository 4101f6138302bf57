//! Whether files and folders can be used by this user.

use std::fs;
use std::io;
use std::path::Path;

use super::Finding;
use crate::exit::Exit;
use crate::node::Credentials;

/// Checks that a private key is for its owner alone.
pub fn secret(path: &Path) -> Option<Finding> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).ok()?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            let words = format!(
                "{path} may be used by others (mode {:o}); `chmod 600 {path}` keeps it to its owner",
                mode & 0o777
            );
            return Some(Finding::odd("identity_pem", words));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    None
}

/// Checks a folder of block files, or one file.
pub fn blocks(path: &Path) -> Finding {
    const WHAT: &str = "blocks";
    let shown = path.display();
    let unreadable = |error: io::Error| {
        let words =
            format!("{shown} cannot be read: {error}; check that it exists and its permissions");
        Finding::bad(WHAT, words, Exit::Source)
    };
    let is_folder = match fs::metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) => return unreadable(error),
    };
    if !is_folder {
        return match fs::File::open(path) {
            Ok(_) => Finding::good(WHAT, format!("{shown}, one file")),
            Err(error) => unreadable(error),
        };
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return unreadable(error),
    };
    let is_block_file = |name: &str| name.starts_with("blk") && name.ends_with(".dat");
    let files = entries.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name();
        is_block_file(&name.to_string_lossy())
    });
    let paths: Vec<_> = files.map(|entry| entry.path()).collect();
    let Some(first) = paths.first() else {
        let words = format!("{shown} has no blk*.dat file; give Bitcoin Core's `blocks` folder");
        return Finding::bad(WHAT, words, Exit::Source);
    };
    match fs::File::open(first) {
        Ok(_) => Finding::good(WHAT, format!("{shown}, {} files", paths.len())),
        Err(error) => Finding::bad(
            WHAT,
            format!(
                "{} cannot be read: {error}; check its permissions",
                first.display()
            ),
            Exit::Source,
        ),
    }
}

/// Checks what a node is shown.
pub fn credentials(credentials: &Credentials) -> Finding {
    const WHAT: &str = "node_cookie";
    match credentials {
        Credentials::Password { .. } => Finding::good("node_user", "with its password"),
        Credentials::Cookie(path) => match fs::File::open(path) {
            Ok(_) => Finding::good(WHAT, path.display().to_string()),
            Err(error) => {
                let path = path.display();
                let words = format!(
                    "{path} cannot be read: {error}; the node writes it when it starts: is it running, \
                     and may this user read it?"
                );
                Finding::bad(WHAT, words, Exit::Source)
            }
        },
    }
}

/// Checks that the folder for state can be written to, or can be made.
pub fn state(folder: &Path) -> Finding {
    const WHAT: &str = "state_folder";
    let shown = folder.display();
    let nearest = folder.ancestors().find(|path| path.exists());
    // A relative path without a folder is below the current one.
    let nearest = match nearest {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    };
    if !nearest.is_dir() {
        let words = format!("{} is no folder; choose another", nearest.display());
        return Finding::bad(WHAT, words, Exit::Usage);
    }
    if let Err(reason) = writable(nearest) {
        let words = format!(
            "{} cannot be written to: {reason}; change its owner or choose another",
            nearest.display()
        );
        return Finding::bad(WHAT, words, Exit::Usage);
    }
    if nearest == folder {
        Finding::good(WHAT, format!("{shown} exists"))
    } else {
        Finding::good(WHAT, format!("{shown} will be made"))
    }
}

#[cfg(unix)]
fn writable(folder: &Path) -> Result<(), String> {
    use rustix::fs::{Access, access};
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    access(folder, needed).map_err(|error| error.to_string())
}

#[cfg(not(unix))]
fn writable(folder: &Path) -> Result<(), String> {
    let metadata = fs::metadata(folder).map_err(|error| error.to_string())?;
    if metadata.permissions().readonly() {
        return Err("it is read-only".to_owned());
    }
    Ok(())
}
