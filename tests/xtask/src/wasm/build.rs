//! Compiles one canister and finishes its module, or sees that nothing changed.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Canister;
use crate::shrink::{BINARYEN, Optimizer};
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use crate::{module, process};

/// Part of the stamp: raised when the steps after compilation change.
const PIPELINE: u32 = 3;

/// What the compiler may use beside its defaults. The canister hashes four messages at once with SIMD,
/// which the IC executes; an instruction on four numbers costs about as much as one on one.
const FEATURES: &str = "-Ctarget-feature=+simd128";

/// Builds canisters from the sources in one folder.
pub struct Builder {
    root: PathBuf,
    build_dir: PathBuf,
    output_dir: PathBuf,
    toolchain: Toolchain,
}

/// What a build made.
pub struct Report {
    /// The finished module; the compressed one lies beside it.
    pub module: PathBuf,
    pub module_sha256: String,
    pub archive_sha256: String,
    pub compiled_bytes: usize,
    pub finished_bytes: usize,
    pub compressed_bytes: usize,
    /// What optimised the module, or why nothing did.
    pub optimiser: String,
    /// Whether anything optimised it.
    pub is_optimised: bool,
    /// Whether the finished module was there already.
    pub unchanged: bool,
}

impl Builder {
    /// Prepares building the workspace's sources into its own folders.
    ///
    /// # Errors
    /// When no compiler can be had or the output folder cannot be made.
    pub fn new(workspace: &Workspace) -> Result<Self> {
        Self::between(
            workspace.root(),
            &workspace.wasm_build_dir(),
            &workspace.wasm_dir(),
        )
    }

    /// Prepares building the sources in `root`, with cargo's files in `build_dir`, into `output_dir`.
    ///
    /// # Errors
    /// Those of [`Builder::new`].
    pub fn between(root: &Path, build_dir: &Path, output_dir: &Path) -> Result<Self> {
        let toolchain = Toolchain::find_or_install()?;
        fs::create_dir_all(output_dir)
            .with_context(|| format!("cannot create {}", output_dir.display()))?;
        Ok(Self {
            root: root.to_owned(),
            build_dir: build_dir.to_owned(),
            output_dir: output_dir.to_owned(),
            toolchain,
        })
    }

    /// Compiles `canister` and finishes its module unless the finished one is of exactly these inputs.
    ///
    /// # Errors
    /// When it does not compile, or a file cannot be read or written.
    pub fn build(&self, canister: &Canister) -> Result<Report> {
        let compiled = self.compile(&canister.package)?;
        let contract = canister.contract.as_ref().map(|path| {
            let path = self.root.join(path);
            fs::read(&path)
                .with_context(|| format!("cannot read the Candid contract {}", path.display()))
        });
        let contract = contract.transpose()?;
        let inputs = json!({
            "pipeline": PIPELINE,
            "optimiser": format!("binaryen {BINARYEN}"),
            "compiled": sha256(&compiled),
            "contract": contract.as_deref().map(sha256),
        });
        let path = |ending: &str| self.output_dir.join(format!("{}.{ending}", canister.name));
        let [module, archive, stamp] = [path("wasm"), path("wasm.gz"), path("json")];
        if let Some(optimiser) = reusable(&stamp, &inputs, &module, &archive) {
            return report(module, &archive, compiled.len(), (optimiser, true), true);
        }
        let callable = module::without_foreign_exports(&compiled)?;
        let (optimised, optimiser, is_optimised) = self.optimise(&callable);
        let optimised = optimised.as_deref().unwrap_or(&callable);
        let public: Vec<_> = contract
            .iter()
            .map(|text| ("candid:service", text.as_slice()))
            .collect();
        let finished = module::with_metadata(optimised, &public)?;
        // The stamp goes first and comes last, so that a build cut short is never taken for done.
        let _ = fs::remove_file(&stamp);
        replace(&module, &finished)?;
        replace(&archive, &gzip(&finished)?)?;
        let made_by = (optimiser, is_optimised);
        let report = report(module, &archive, compiled.len(), made_by, false)?;
        if report.is_optimised {
            let stamped = json!({
                "inputs": inputs,
                "optimiser": report.optimiser,
                "module": report.module_sha256,
                "archive": report.archive_sha256,
            });
            replace(&stamp, format!("{stamped:#}\n").as_bytes())?;
        }
        Ok(report)
    }

    /// Returns the module as the compiler leaves it.
    fn compile(&self, package: &str) -> Result<Vec<u8>> {
        let mut cargo = process::cargo(&self.root);
        cargo.args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
            "--package",
            package,
        ]);
        cargo.arg("--target-dir").arg(&self.build_dir);
        self.toolchain.apply(&mut cargo);
        let maps = self.path_maps()?;
        let map = |option: &str| {
            maps.iter()
                .map(|(from, to)| format!("{option}={}={to}", from.display()))
                .collect::<Vec<_>>()
        };
        // Unit separators between flags, so that folders with spaces work.
        cargo
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!("{FEATURES}\x1f{}", map("--remap-path-prefix").join("\x1f")),
            )
            .env_remove("RUSTFLAGS");
        cargo.env(
            "CFLAGS_wasm32_unknown_unknown",
            map("-ffile-prefix-map").join(" "),
        );
        eprintln!(
            "$ cargo build --release --package {package}   # {}",
            self.toolchain.version()?
        );
        cargo.stderr(std::process::Stdio::inherit());
        let messages = process::output(&mut cargo)?;
        let module = messages
            .lines()
            .filter_map(|line| module_of(line, &self.root))
            .next_back();
        let Some(path) = module else {
            bail!(
                "package {package} has no Wasm artifact: it needs a [[bin]], or a [lib] with crate-type = [\"cdylib\"]"
            );
        };
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Returns folders of this machine that panic messages would otherwise name, and their stand-ins.
    fn path_maps(&self) -> Result<Vec<(PathBuf, &'static str)>> {
        let mut maps = vec![
            (self.toolchain.library_source()?, "/rust"),
            (self.root.clone(), "/millrace"),
        ];
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        let sources = home
            .context("neither CARGO_HOME nor HOME is set")?
            .join("registry/src");
        if let Ok(registries) = fs::read_dir(&sources) {
            maps.extend(registries.filter_map(|registry| Some((registry.ok()?.path(), "/crates"))));
        }
        maps.sort();
        Ok(maps)
    }

    /// Returns the optimised module, what made it or why there is none, and whether there is one. A
    /// module that is merely larger and slower still works, so a missing tool stops nobody.
    fn optimise(&self, compiled: &[u8]) -> (Option<Vec<u8>>, String, bool) {
        match Optimizer::find_or_install()
            .and_then(|tool| tool.optimise(compiled, &self.output_dir))
        {
            Ok(module) => (
                Some(module),
                format!("optimised by Binaryen {BINARYEN}"),
                true,
            ),
            Err(error) => {
                eprintln!("warning: the module is not optimised: {error:#}");
                (
                    None,
                    "NOT optimised, see the warning above".to_owned(),
                    false,
                )
            }
        }
    }
}

/// Returns the Wasm file of a line of cargo's JSON messages, when it is about a package in `root`.
fn module_of(line: &str, root: &Path) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact"
        || !Path::new(message["manifest_path"].as_str()?).starts_with(root)
    {
        return None;
    }
    let files = message["filenames"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str);
    files
        .map(PathBuf::from)
        .find(|file| file.extension().is_some_and(|ending| ending == "wasm"))
}

/// Returns what optimised the finished files, when they are whole and made of exactly these inputs.
/// Only an optimised module has a stamp.
fn reusable(stamp: &Path, inputs: &Value, module: &Path, archive: &Path) -> Option<String> {
    let stamp: Value = serde_json::from_slice(&fs::read(stamp).ok()?).ok()?;
    let is_whole =
        |key: &str, path: &Path| fs::read(path).is_ok_and(|bytes| stamp[key] == sha256(&bytes));
    let reusable =
        stamp["inputs"] == *inputs && is_whole("module", module) && is_whole("archive", archive);
    reusable.then(|| stamp["optimiser"].as_str().map(str::to_owned))?
}

fn report(
    module: PathBuf,
    archive: &Path,
    compiled_bytes: usize,
    (optimiser, is_optimised): (String, bool),
    unchanged: bool,
) -> Result<Report> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (finished, compressed) = (read(&module)?, read(archive)?);
    Ok(Report {
        module,
        module_sha256: sha256(&finished),
        archive_sha256: sha256(&compressed),
        compiled_bytes,
        finished_bytes: finished.len(),
        compressed_bytes: compressed.len(),
        optimiser,
        is_optimised,
        unchanged,
    })
}

/// Replaces a file at once: a reader sees the old content or the new, never a part.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let written = fs::write(&draft, content).and_then(|()| fs::rename(&draft, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
