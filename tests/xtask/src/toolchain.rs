//! Chooses the compiler for `wasm32-unknown-unknown`, and brings it onto the machine if it is not there.
//!
//! Two kinds work. The pinned rustup toolchain with its precompiled `wasm32` standard library is
//! preferred. Where rustup cannot download that, Debian's `rustc-web` compiles the standard library
//! from `rust-web-src`; its version differs from the pinned one, which is why Wasm has a build
//! folder of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{install_debian, require_programs};
use crate::process::{self, in_path};

/// The only target of canisters.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Debian's compiler must know the 2024 edition and this workspace's `rust-version`.
const DEBIAN_RUSTC_MINOR_MIN: u32 = 95;

/// A compiler that can build for [`TARGET`].
pub enum Toolchain {
    /// The toolchain of `rust-toolchain.toml`, with the target's standard library.
    Rustup,
    /// Debian's compiler, which builds the standard library along, and the linker it uses.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// Returns a usable compiler, installing what is missing.
    ///
    /// # Errors
    /// When none can be had; the message lists the ways to get one.
    pub fn find_or_install() -> Result<Self> {
        require_programs(
            &["clang", "llvm-ar"],
            &["clang", "llvm"],
            "compile secp256k1's C code to Wasm",
        )?;
        let sysroot = sysroot()?;
        let target_library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
        if target_library.is_dir() {
            return Ok(Self::Rustup);
        }
        if debian_is_usable() {
            return Self::debian(&sysroot);
        }
        eprintln!(
            "the Rust toolchain lacks the {TARGET} target: trying rustup, then Debian's packages"
        );
        let rustup = process::run(process::command("rustup").args(["target", "add", TARGET]));
        if target_library.is_dir() {
            return Ok(Self::Rustup);
        }
        let debian = install_debian(&DEBIAN_PACKAGES, &format!("compile for {TARGET}"));
        if debian_is_usable() {
            return Self::debian(&sysroot);
        }
        let reason = |outcome: Result<()>, otherwise: &str| {
            outcome
                .err()
                .map_or(otherwise.to_owned(), |e| format!("{e:#}"))
        };
        bail!(
            "no compiler for {TARGET}\n  - rustup: {}\n  - Debian: {}\nWith access to the Rust project's downloads, \
             `rustup target add {TARGET}` is all that is needed; on Debian or Ubuntu, `apt-get install {}` is the other way",
            reason(
                rustup,
                "it reported success, but the target's library is not there"
            ),
            reason(
                debian,
                &format!(
                    "{DEBIAN_RUSTC} is older than 1.{DEBIAN_RUSTC_MINOR_MIN} or has no library sources"
                )
            ),
            DEBIAN_PACKAGES.join(" "),
        );
    }

    fn debian(sysroot: &Path) -> Result<Self> {
        let host =
            process::output(process::command(rustup_rustc()).args(["--print", "host-tuple"]))?;
        let bundled = sysroot
            .join("lib/rustlib")
            .join(host.trim())
            .join("bin/rust-lld");
        if bundled.is_file() {
            return Ok(Self::Debian { linker: bundled });
        }
        require_programs(&["wasm-ld"], &["lld"], "link Wasm")?;
        let linker = in_path("wasm-ld").context("wasm-ld vanished from PATH")?;
        Ok(Self::Debian { linker })
    }

    /// Returns the compiler's own name and version, for the summary and the stamp of finished modules.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn version(&self) -> Result<String> {
        let rustc = match self {
            Self::Rustup => rustup_rustc(),
            Self::Debian { .. } => DEBIAN_RUSTC.into(),
        };
        Ok(process::output(process::command(rustc).arg("--version"))?
            .trim()
            .to_owned())
    }

    /// Returns the folder whose paths the standard library's messages carry.
    ///
    /// # Errors
    /// When the compiler cannot be run.
    pub fn library_source(&self) -> Result<PathBuf> {
        match self {
            Self::Rustup => Ok(sysroot()?.join("lib/rustlib/src/rust")),
            Self::Debian { .. } => debian_source().context("Debian's library sources are gone"),
        }
    }

    /// Adds what makes a `cargo build` use this compiler for [`TARGET`].
    pub fn apply(&self, cargo: &mut Command) {
        cargo.args(["--target", TARGET]);
        cargo
            .env("CC_wasm32_unknown_unknown", "clang")
            .env("AR_wasm32_unknown_unknown", "llvm-ar");
        if let Self::Debian { linker } = self {
            cargo.args(["-Z", "build-std=std,panic_abort"]);
            cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

fn rustup_rustc() -> PathBuf {
    env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

fn sysroot() -> Result<PathBuf> {
    let path = process::output(process::command(rustup_rustc()).args(["--print", "sysroot"]))?;
    Ok(path.trim().into())
}

fn debian_source() -> Option<PathBuf> {
    let sysroot =
        process::output(process::command(DEBIAN_RUSTC).args(["--print", "sysroot"])).ok()?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    source
        .join("library/std/Cargo.toml")
        .is_file()
        .then(|| source.canonicalize().ok())?
}

fn debian_is_usable() -> bool {
    let Ok(version) = process::output(process::command(DEBIAN_RUSTC).arg("--version")) else {
        return false;
    };
    minor_version(&version).is_some_and(|minor| minor >= DEBIAN_RUSTC_MINOR_MIN)
        && debian_source().is_some()
}

/// Returns the 95 of "rustc 1.95.0 (...)".
fn minor_version(text: &str) -> Option<u32> {
    text.strip_prefix("rustc 1.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::minor_version;

    #[test]
    fn reads_the_minor_version_rustc_prints() {
        for (text, expected) in [
            (
                "rustc 1.96.0 (ac68fc6 2026-06-20) (built from a source tarball)\n",
                Some(96),
            ),
            ("rustc 1.100.0-nightly", Some(100)),
            ("rustc 2.0.0", None),
            ("gcc 12.2.0", None),
        ] {
            assert_eq!(minor_version(text), expected, "{text}");
        }
    }
}
