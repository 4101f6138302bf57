//! Brings the npm packages of the JavaScript client test.

use std::fs;

use anyhow::{Context, Result};

use crate::node::Node;
use crate::process;
use crate::workspace::Workspace;

const FOLDER: &str = "tests/js";

/// Copy of the lock file npm last installed from; equal means nothing is to be done.
const STAMP: &str = "node_modules/.millrace-lock.json";

/// Installs exactly what `tests/js/package-lock.json` names, unless that is there already, and
/// returns the Node.js to run it with.
///
/// # Errors
/// When Node.js is missing and cannot be installed, or npm fails.
pub fn install(workspace: &Workspace) -> Result<Node> {
    let folder = workspace.path(FOLDER);
    let lock = folder.join("package-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let node = Node::find_or_install()?;
    let stamp = folder.join(STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(node);
    }
    let mut npm = process::command("npm");
    node.put_in_path(&mut npm)?;
    process::run(npm.current_dir(&folder).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
    ]))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(node)
}
