//! Runs other programs, and says which one failed, how, and in what folder.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Variables `cargo run` sets for this program and that must not reach a program started here: a
/// nested cargo would see another environment than when called by hand and build things twice, and
/// a compiler that is not this toolchain's would load this toolchain's libraries.
const CARGO_RUN_VARIABLES: [&str; 5] = [
    "CARGO",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "LD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
];

/// Returns a command with no terminal input and without the variables `cargo run` added.
///
/// Its `PATH` begins with the folder of the toolchain that runs this program: where another `rustc`
/// comes first, as Debian's may after this program installed it, cargo would compile with that one.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    if let Some(path) = toolchain_first(env::var_os("CARGO"), env::var_os("PATH")) {
        command.env("PATH", path);
    }
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if CARGO_RUN_VARIABLES.contains(&text)
            || text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_BIN_")
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Returns `path` led by the folder of `cargo`, when cargo's compiler is there too.
fn toolchain_first(cargo: Option<OsString>, path: Option<OsString>) -> Option<OsString> {
    let cargo = PathBuf::from(cargo?);
    let folder = cargo.parent()?;
    let compiler = format!("rustc{}", env::consts::EXE_SUFFIX);
    if !folder.join(compiler).is_file() {
        return None;
    }
    led_by(folder, &path.unwrap_or_default()).ok()
}

/// Makes programs in `folder` known to `command`, before all but the toolchain's: `folder` may be one
/// like `/usr/bin`, with a compiler of its own.
///
/// # Errors
/// When the name of `folder` contains the separator of `PATH`.
pub fn put_in_path(command: &mut Command, folder: &Path) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = led_by(folder, &path)
        .with_context(|| format!("{} cannot be part of PATH", folder.display()))?;
    let path = toolchain_first(env::var_os("CARGO"), Some(path.clone())).unwrap_or(path);
    command.env("PATH", path);
    Ok(())
}

fn led_by(folder: &Path, path: &OsStr) -> Result<OsString, env::JoinPathsError> {
    env::join_paths(std::iter::once(folder.to_owned()).chain(env::split_paths(path)))
}

/// Returns a cargo command for the toolchain that runs this program, working in `folder`.
pub fn cargo(folder: &Path) -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}

/// Shows and runs `command`, its output going where this program's output goes.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs `command` and returns its standard output as text; its error output is shown only when it fails.
///
/// # Errors
/// When it cannot be started, ends with a failure or prints something that is not UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            shown(command),
            output.status,
            errors.trim_end()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed bytes that are not UTF-8", shown(command)))
}

/// Returns the program called `name` in `PATH`, if there is one.
pub fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Returns the command as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_that_runs_this_program_comes_first() {
        let folder = env::temp_dir().join(format!("millrace-toolchain-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("created");
        let cargo = folder.join("cargo");
        let path = OsString::from("/usr/bin:/bin");
        let first = || toolchain_first(Some(cargo.clone().into()), Some(path.clone()));
        assert_eq!(first(), None, "a cargo without its rustc says nothing");
        std::fs::write(folder.join("rustc"), "").expect("written");
        let mut expected = folder.clone().into_os_string();
        expected.push(":/usr/bin:/bin");
        assert_eq!(first(), Some(expected));
        assert_eq!(toolchain_first(None, Some(path)), None);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_folder_with_another_compiler_does_not_change_the_compiler() {
        let toolchain = PathBuf::from(env::var_os("CARGO").expect("cargo runs the tests"));
        let toolchain = toolchain.parent().expect("a program lies in a folder");
        let mut told = command("rustc");
        put_in_path(&mut told, Path::new("/usr/bin")).expect("no separator");
        let path = told.get_envs().find(|(name, _)| *name == "PATH");
        let path = path.and_then(|(_, path)| path).expect("was set");
        let folders: Vec<PathBuf> = env::split_paths(path).take(2).collect();
        assert_eq!(folders, [toolchain, Path::new("/usr/bin")]);
    }
}
