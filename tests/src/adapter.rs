//! The `adapter` program as a command that what its caller has set does not reach.

use std::path::Path;
use std::process::Command;

/// What the adapter's environment variables begin with.
const VARIABLES: &str = "MILLRACE_";

/// A command for the program at `program` without the caller's `MILLRACE_*` variables, running in
/// `folder`: an `adapter.toml` is read from where the adapter runs, so that must not be the caller's.
///
/// `program` must be absolute, as it is looked for from another folder.
pub fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(VARIABLES) {
            command.env_remove(&name);
        }
    }
    command.current_dir(folder);
    command
}
