//! Writes the seeds of every target into a folder of its name below the one given.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("error: name the folder that the seeds are written to");
        return ExitCode::FAILURE;
    };
    for target in millrace_fuzz::TARGETS {
        let folder = folder.join(target.name);
        let written = fs::create_dir_all(&folder).and_then(|()| {
            let seeds = millrace_fuzz::seeds::of(target.name);
            (0..).zip(seeds).try_for_each(|(number, seed): (u32, _)| {
                fs::write(folder.join(format!("seed-{number}")), seed)
            })
        });
        if let Err(error) = written {
            eprintln!("error: cannot write to {}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
