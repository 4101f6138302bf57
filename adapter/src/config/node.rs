//! Settings of a node.

use std::path::{Path, PathBuf};

use millrace_core::Network;

use super::{ConfigError, File};
use crate::cli::NodeArgs;
use crate::node::{Credentials, NodeSettings, default_cookie, default_url, parse_url};
use crate::sink::identity::SecretText;

/// Merges the settings of a node. What is empty counts as not set, so that a variable can take back what
/// the file says.
///
/// # Errors
/// [`ConfigError`] names the setting and what to do.
pub fn node_settings(
    args: NodeArgs,
    config: Option<&Path>,
    network: Network,
) -> Result<NodeSettings, ConfigError> {
    let file = File::load(config)?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let url = given(args.node_url.or(file.node_url));
    // What is named on the command line or in a variable is meant, whatever kind the file has.
    let has_cookie_flag = args.node_cookie.is_some() && args.node_user.is_none();
    let (user, password) = if has_cookie_flag {
        (None, None)
    } else {
        (
            given(args.node_user.or(file.node_user)),
            given(args.node_password.or(file.node_password)),
        )
    };
    let cookie = args.node_cookie.or(file.node_cookie);
    let cookie = cookie.filter(|path| !path.as_os_str().is_empty());
    let is_named = url.is_some() || user.is_some() || cookie.is_some();
    let credentials = match (user, password) {
        (Some(user), Some(password)) => Credentials::Password {
            user,
            password: SecretText::new(password),
        },
        (Some(_), None) => {
            return Err(ConfigError::HalfCredentials {
                given: "node_user",
                lacking: "node_password",
            });
        }
        (None, Some(_)) => {
            return Err(ConfigError::HalfCredentials {
                given: "node_password",
                lacking: "node_user",
            });
        }
        (None, None) => Credentials::Cookie(cookie.unwrap_or_else(|| {
            let home = std::env::var_os("HOME").map(PathBuf::from);
            default_cookie(&home.unwrap_or_default(), network)
        })),
    };
    Ok(NodeSettings {
        url: parse_url(url.as_deref().unwrap_or(default_url(network)))?,
        credentials,
        is_named,
    })
}
