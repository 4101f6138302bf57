//! `check-config`: what the settings are, where each came from, and whether they can work.
//!
//! Without `--probe` nothing is sent anywhere and nothing is written.

mod files;
mod probe;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::config::{Origins, RunSettings, SourceSettings, rows};
use crate::exit::Exit;
use crate::logging;
use crate::sink::agent::{AgentSink, is_mainnet};
use crate::sink::identity::IdentitySource;

pub use probe::probe;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
}

/// How something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good(String),
    /// It works, but perhaps not as meant.
    Odd(String),
    /// It cannot work.
    Bad(String, Exit),
}

impl Finding {
    fn good(what: impl Into<String>, words: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            verdict: Verdict::Good(words.into()),
        }
    }

    fn odd(what: impl Into<String>, words: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            verdict: Verdict::Odd(words.into()),
        }
    }

    fn bad(what: impl Into<String>, words: impl ToString, exit: Exit) -> Self {
        Self {
            what: what.into(),
            verdict: Verdict::Bad(words.to_string(), exit),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, words) = match &self.verdict {
            Verdict::Good(words) => ("ok", words),
            Verdict::Odd(words) => ("note", words),
            Verdict::Bad(words, _) => ("ERROR", words),
        };
        write!(f, "{mark:<6}{}: {words}", self.what)
    }
}

/// Returns how the command ends: with the first thing that cannot work.
pub fn exit(findings: &[Finding]) -> Exit {
    let bad = findings.iter().find_map(|finding| match &finding.verdict {
        Verdict::Bad(_, exit) => Some(*exit),
        Verdict::Good(_) | Verdict::Odd(_) => None,
    });
    bad.unwrap_or(Exit::Done)
}

/// Writes the settings as a table: name, value, where from.
pub fn table(settings: &RunSettings, origins: &Origins) -> String {
    let mut text = String::new();
    for (name, value) in rows(settings) {
        let origin = origins.of(name);
        text.push_str(&format!("{origin:<9} {name:<20} {value}\n"));
    }
    text
}

/// Checks files, keys and permissions, without the network.
pub fn check(settings: &RunSettings, origins: &Origins) -> Vec<Finding> {
    let shared = &settings.shared;
    let mut findings = vec![log_level(&shared.log_level)];
    findings.extend(identity(settings));
    if let IdentitySource::File(path) = &shared.identity {
        findings.extend(files::secret(path));
    }
    match &settings.source {
        SourceSettings::Blocks(path) => findings.push(files::blocks(path)),
        SourceSettings::Rpc(node) => findings.push(files::credentials(&node.credentials)),
        SourceSettings::P2p(_) | SourceSettings::Rest(_) => {}
    }
    findings.push(files::state(&settings.state.folder));
    let used: Vec<&str> = rows(settings).into_iter().map(|(name, _)| name).collect();
    let unused: Vec<&str> = origins.set().filter(|name| !used.contains(name)).collect();
    if !unused.is_empty() {
        let words = format!("set, but not used by this source: {}", unused.join(", "));
        findings.push(Finding::odd("settings", words));
    }
    findings
}

fn log_level(filter: &str) -> Finding {
    match logging::parse(filter) {
        Ok(_) => Finding::good("log_level", filter),
        Err(error) => Finding::bad("log_level", error, Exit::Usage),
    }
}

/// Loads the key, and makes the sink, which sends nothing yet.
fn identity(settings: &RunSettings) -> Vec<Finding> {
    const WHAT: &str = "identity_pem";
    let shared = &settings.shared;
    let identity = match shared.identity.load() {
        Ok(identity) => identity,
        Err(error) => return vec![Finding::bad(WHAT, error, Exit::Usage)],
    };
    let sink = AgentSink::new(
        &shared.replica_url,
        shared.canister,
        identity,
        shared.fetch_root_key,
    );
    let sink = match sink {
        Ok(sink) => sink,
        Err(error) => return vec![Finding::bad("replica_url", error, Exit::Usage)],
    };
    let caller = sink.caller();
    let finding = if shared.identity == IdentitySource::Anonymous {
        let words = "none: a canister takes blocks from principals in its `adapters` only; make a key \
                     with `openssl genpkey -algorithm ed25519 -out adapter.pem`";
        Finding::odd(WHAT, words)
    } else {
        let words =
            format!("the adapter calls as {caller}, which must be in the canister's `adapters`");
        Finding::good(WHAT, words)
    };
    let mut findings = vec![finding];
    if shared.replica_url.scheme() == "http" && is_mainnet(&shared.replica_url) {
        let words = "plain http to the Internet Computer; https keeps others from reading along";
        findings.push(Finding::odd("replica_url", words));
    }
    findings
}
