//! Which version of the PocketIC server this one says it is; clients check it before they start it.

/// What clients of version 16 accept.
pub const LATEST: &str = "16.1.0";
/// What clients of version 11 accept.
pub const ELEVEN: &str = "11.0.0";
/// Environment variable that chooses the version, `11` or `16` (or any version in full).
pub const VERSION_ENV: &str = "MILLRACE_POCKET_IC_VERSION";

/// Returns the version to print: from the environment variable when it is set, else 11.0.0 when the
/// program's file name contains `11`, else 16.1.0.
pub fn chosen(program: &str, from_env: Option<&str>) -> String {
    let file_name = program.rsplit('/').next().unwrap_or_default();
    match from_env
        .map(str::trim)
        .filter(|version| !version.is_empty())
    {
        Some("11") => ELEVEN.to_owned(),
        Some("16") => LATEST.to_owned(),
        Some(version) => version.to_owned(),
        None if file_name.contains("11") => ELEVEN.to_owned(),
        None => LATEST.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_environment_choose_the_version() {
        let cases = [
            ("/x/pocket-ic-server", None, LATEST),
            ("/x11/pocket-ic", None, LATEST),
            ("/x/pocket-ic-server-11", None, ELEVEN),
            ("pocket-ic-11", None, ELEVEN),
            ("pocket-ic", Some("11"), ELEVEN),
            ("pocket-ic-11", Some("16"), LATEST),
            ("pocket-ic", Some("12.0.0"), "12.0.0"),
            ("pocket-ic", Some(" "), LATEST),
        ];
        for (program, from_env, expected) in cases {
            assert_eq!(
                chosen(program, from_env),
                expected,
                "{program} {from_env:?}"
            );
        }
    }
}
