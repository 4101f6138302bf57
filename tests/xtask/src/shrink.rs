//! Optimises a Wasm module with Binaryen's `wasm-opt`, of one pinned version so that results repeat.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::node::Node;
use crate::packages::npm_package;
use crate::process::{self, in_path};

/// Version of Binaryen, and of the npm package that carries it.
pub const BINARYEN: &str = "132";

/// Speed before size: instructions are what a canister pays for. The features are those the IC's
/// Wasm engine accepts and the Rust compiler emits by default or is told to use.
const OPTIONS: [&str; 9] = [
    "-O3",
    "--mvp-features",
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-simd",
];

/// A way to run the pinned `wasm-opt`.
pub struct Optimizer {
    program: PathBuf,
    /// Set where the program is a script.
    node: Option<Node>,
}

impl Optimizer {
    /// Finds the pinned version in `PATH`, or fetches its npm package, which runs wherever node does.
    ///
    /// # Errors
    /// When neither is to be had, with the reason.
    pub fn find_or_install() -> Result<Self> {
        if let Some(program) = in_path("wasm-opt")
            && process::output(process::command(&program).arg("--version"))
                .is_ok_and(|text| is_pinned(&text))
        {
            return Ok(Self {
                program,
                node: None,
            });
        }
        let node = Node::find_or_install()?;
        let program = npm_package("binaryen", &format!("{BINARYEN}.0.0"))?.join("bin/wasm-opt");
        let optimizer = Self {
            program,
            node: Some(node),
        };
        let version = process::output(optimizer.command().arg("--version"))?;
        if !is_pinned(&version) {
            bail!(
                "{} calls itself {}",
                optimizer.program.display(),
                version.trim()
            );
        }
        Ok(optimizer)
    }

    /// Returns `module` optimised, through files in `folder`.
    ///
    /// # Errors
    /// When `wasm-opt` refuses the module or the files cannot be written.
    pub fn optimise(&self, module: &[u8], folder: &Path) -> Result<Vec<u8>> {
        // Named after the process, because two builds may run at a time.
        let draft = |name: &str| folder.join(format!("{name}.{}.tmp", std::process::id()));
        let (input, output) = (draft("unoptimised"), draft("optimised"));
        let optimised = fs::write(&input, module)
            .with_context(|| format!("cannot write {}", input.display()))
            .and_then(|()| {
                process::output(
                    self.command()
                        .args(OPTIONS)
                        .arg(&input)
                        .arg("-o")
                        .arg(&output),
                )
            })
            .and_then(|_| {
                fs::read(&output).with_context(|| format!("cannot read {}", output.display()))
            });
        for path in [input, output] {
            // Whatever is left is a draft nobody reads; the result is what counts.
            let _ = fs::remove_file(path);
        }
        optimised
    }

    fn command(&self) -> Command {
        match &self.node {
            None => process::command(&self.program),
            Some(node) => {
                let mut command = process::command(node.program());
                command.arg(&self.program);
                command
            }
        }
    }
}

/// Returns whether `wasm-opt --version` printed the pinned version.
fn is_pinned(text: &str) -> bool {
    text.strip_prefix("wasm-opt version ")
        .and_then(|rest| rest.split_whitespace().next())
        .is_some_and(|version| version == BINARYEN)
}

#[cfg(test)]
mod tests {
    use super::is_pinned;

    #[test]
    fn recognises_only_the_pinned_version() {
        assert!(is_pinned("wasm-opt version 132 (version_132)\n"));
        assert!(!is_pinned("wasm-opt version 108\n"));
        assert!(!is_pinned("wasm-opt version 1320\n"));
    }
}
