//! The arguments of `init` and `post_upgrade`.

use candid::Reserved;
use candid::de::IDLDeserialize;
use millrace_candid::{CanisterArg, InitConfig, SetConfigRequest};

/// Why an argument is refused; the installation fails with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    /// An upgrade's argument was given to an installation.
    #[error("expected Init arguments got Upgrade arguments")]
    UpgradeForInit,
    /// An installation's argument was given to an upgrade.
    #[error("expected Upgrade arguments got Init arguments")]
    InitForUpgrade,
    /// The argument is no `canister_arg`.
    #[error("the argument is no `canister_arg` of btc.did: {reason}")]
    Undecodable {
        /// What the decoder found.
        reason: String,
    },
}

/// Reads the argument of an installation; absent or null means all defaults.
///
/// # Errors
/// [`ArgError`].
pub fn init_config(bytes: &[u8]) -> Result<InitConfig, ArgError> {
    match decode(bytes)? {
        None => Ok(InitConfig::default()),
        Some(CanisterArg::Init(config)) => Ok(config),
        Some(CanisterArg::Upgrade(_)) => Err(ArgError::UpgradeForInit),
    }
}

/// Reads the argument of an upgrade; absent or null means no change.
///
/// # Errors
/// [`ArgError`].
pub fn upgrade_config(bytes: &[u8]) -> Result<Option<SetConfigRequest>, ArgError> {
    match decode(bytes)? {
        None => Ok(None),
        Some(CanisterArg::Upgrade(change)) => Ok(change),
        Some(CanisterArg::Init(_)) => Err(ArgError::InitForUpgrade),
    }
}

/// Reads no argument, `null`, `opt canister_arg` or `canister_arg`.
///
/// Candid reads an `opt` it does not understand as `null`, so the exact type is tried first, and
/// `null` is believed only when the value is one.
fn decode(bytes: &[u8]) -> Result<Option<CanisterArg>, ArgError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let undecodable = |error: candid::Error| ArgError::Undecodable {
        reason: error.to_string(),
    };
    let exact = match candid::decode_one::<CanisterArg>(bytes) {
        Ok(arg) => return Ok(Some(arg)),
        Err(error) => error,
    };
    if IDLDeserialize::new(bytes).map_err(undecodable)?.is_done() {
        return Ok(None);
    }
    match candid::decode_one::<Option<CanisterArg>>(bytes) {
        Ok(Some(arg)) => Ok(Some(arg)),
        Ok(None) => match candid::decode_one::<Option<Reserved>>(bytes) {
            Ok(None) => Ok(None),
            Ok(Some(_)) | Err(_) => Err(undecodable(exact)),
        },
        Err(error) => Err(undecodable(error)),
    }
}

#[cfg(test)]
mod tests {
    use candid::{CandidType, encode_args, encode_one};

    use super::*;

    #[derive(CandidType)]
    enum Unknown {
        Bogus,
    }

    #[test]
    fn absent_and_null_arguments_mean_defaults() {
        let none: Option<CanisterArg> = None;
        for bytes in [
            vec![],
            encode_args(()).unwrap(),
            encode_one(none).unwrap(),
            encode_one(()).unwrap(),
        ] {
            assert_eq!(init_config(&bytes), Ok(InitConfig::default()), "{bytes:?}");
            assert_eq!(upgrade_config(&bytes), Ok(None), "{bytes:?}");
        }
    }

    #[test]
    fn arguments_are_read_with_and_without_opt() {
        let config = InitConfig {
            stability_threshold: Some(7u8.into()),
            ..InitConfig::default()
        };
        let arg = CanisterArg::Init(config.clone());
        assert_eq!(init_config(&encode_one(&arg).unwrap()), Ok(config.clone()));
        assert_eq!(init_config(&encode_one(Some(&arg)).unwrap()), Ok(config));
        let change = CanisterArg::Upgrade(Some(SetConfigRequest::default()));
        let expected = Ok(Some(SetConfigRequest::default()));
        assert_eq!(upgrade_config(&encode_one(&change).unwrap()), expected);
        assert_eq!(
            upgrade_config(&encode_one(Some(&change)).unwrap()),
            expected
        );
        let nothing = CanisterArg::Upgrade(None);
        assert_eq!(upgrade_config(&encode_one(&nothing).unwrap()), Ok(None));
    }

    #[test]
    fn the_wrong_variant_is_refused_with_the_official_texts() {
        let upgrade = encode_one(CanisterArg::Upgrade(None)).unwrap();
        let error = init_config(&upgrade).unwrap_err().to_string();
        assert_eq!(error, "expected Init arguments got Upgrade arguments");
        let init = encode_one(CanisterArg::Init(InitConfig::default())).unwrap();
        let error = upgrade_config(&init).unwrap_err().to_string();
        assert_eq!(error, "expected Upgrade arguments got Init arguments");
    }

    #[test]
    fn other_values_are_refused_not_read_as_null() {
        for bytes in [
            b"DIDL garbage".to_vec(),
            encode_one(Unknown::Bogus).unwrap(),
            encode_one(Some(Unknown::Bogus)).unwrap(),
            encode_one("text").unwrap(),
        ] {
            let error = init_config(&bytes).unwrap_err();
            assert!(
                matches!(error, ArgError::Undecodable { .. }),
                "{bytes:?}: {error}"
            );
        }
    }
}
