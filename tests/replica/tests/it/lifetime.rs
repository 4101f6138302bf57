//! When a server starts, is shared, and stops by itself.

use crate::support::{SERVER, eventually};
use pocket_ic::PocketIcBuilder;
use std::path::Path;
use std::process::{Child, Command, Output};

fn start(port_file: &Path, args: &[&str]) -> Child {
    Command::new(SERVER)
        .args(args)
        .arg("--port-file")
        .arg(port_file)
        .spawn()
        .expect("the server starts")
}

fn port(port_file: &Path) -> u16 {
    let mut port = None;
    eventually("the port file", || {
        port = std::fs::read_to_string(port_file)
            .ok()
            .and_then(|text| text.strip_suffix('\n')?.parse().ok());
        port.is_some()
    });
    port.expect("written")
}

fn version(program: &Path, from_env: Option<&str>) -> Output {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .env_remove("MILLRACE_POCKET_IC_VERSION");
    if let Some(version) = from_env {
        command.env("MILLRACE_POCKET_IC_VERSION", version);
    }
    command.output().expect("runs")
}

#[test]
fn the_version_is_the_one_the_client_of_the_name_or_environment_accepts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let eleven = dir.path().join("pocket-ic-server-11");
    std::os::unix::fs::symlink(SERVER, &eleven).expect("linked");
    for (program, from_env, expected) in [
        (Path::new(SERVER), None, "pocket-ic-server 16.1.0\n"),
        (Path::new(SERVER), Some("11"), "pocket-ic-server 11.0.0\n"),
        (eleven.as_path(), None, "pocket-ic-server 11.0.0\n"),
    ] {
        let output = version(program, from_env);
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[test]
fn a_second_server_with_the_same_port_file_leaves_the_first_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let port_file = dir.path().join("server.port");
    let mut first = start(&port_file, &[]);
    let first_port = port(&port_file);
    let status = start(&port_file, &[]).wait().expect("waits");
    assert!(status.success(), "{status}");
    assert_eq!(port(&port_file), first_port);
    let url = format!("http://127.0.0.1:{first_port}/")
        .parse()
        .expect("a URL");
    let pic = PocketIcBuilder::new()
        .with_server_url(url)
        .with_application_subnet()
        .build();
    pic.tick();
    drop(pic);
    first.kill().expect("killed");
    first.wait().expect("waits");
}

#[test]
fn a_server_stops_after_its_time_to_live_and_removes_its_port_file() {
    for args in [["--ttl", "0"], ["--hard-ttl", "1"]] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port_file = dir.path().join("server.port");
        let mut server = start(&port_file, &args);
        let status = server.wait().expect("waits");
        assert!(status.success(), "{args:?}: {status}");
        assert!(!port_file.exists(), "{args:?}");
    }
}

#[test]
fn requests_to_a_gateway_keep_the_server_alive() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let port_file = dir.path().join("server.port");
    let mut server = start(&port_file, &["--ttl", "2"]);
    let url = format!("http://127.0.0.1:{}/", port(&port_file));
    let mut pic = PocketIcBuilder::new()
        .with_server_url(url.parse().expect("a URL"))
        .with_application_subnet()
        .build();
    let gateway = pic.make_live(None);
    let status = gateway.join("api/v2/status").expect("a URL");
    for _ in 0..16 {
        std::thread::sleep(std::time::Duration::from_millis(250));
        let answer = reqwest::blocking::get(status.clone()).expect("the server is there");
        assert!(answer.status().is_success());
    }
    assert!(server.try_wait().expect("asked").is_none(), "it runs");
    server.kill().expect("killed");
    server.wait().expect("waits");
}

#[test]
fn bad_options_are_named() {
    let cases: [(&[&str], &str); 3] = [
        (&["--log-levels", "millrace=loud"], "--log-levels"),
        (
            &["--limits", "/nowhere/limits.toml"],
            "/nowhere/limits.toml",
        ),
        (&["--port-file", "/nowhere/port"], "/nowhere/port"),
    ];
    for (args, named) in cases {
        let output = Command::new(SERVER).args(args).output().expect("runs");
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(named), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}
