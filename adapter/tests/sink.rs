//! The `ic-agent` sink against servers that misbehave.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use candid::Principal;
use ic_agent::identity::AnonymousIdentity;
use millrace_adapter::sink::agent::{AgentSink, AgentSinkError, is_mainnet, parse_url};
use millrace_adapter::sink::{Sink, SinkError};

/// Starts a server that gives the same answer to every request; returns its URL. It ends with the
/// test process.
fn server(status: &'static str, body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 16 * 1024];
            // The answer does not depend on the request, of which any part will do.
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    url
}

/// A URL at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

fn sink(url: &str, fetch_root_key: Option<bool>) -> Result<AgentSink, AgentSinkError> {
    AgentSink::new(
        &parse_url(url).expect("a valid URL"),
        Principal::from_slice(&[1]),
        Box::new(AnonymousIdentity),
        fetch_root_key,
    )
}

async fn ask(url: &str) -> SinkError {
    let sink = sink(url, None).expect("valid settings");
    sink.feed_state(vec![])
        .await
        .expect_err("the server does not speak the protocol")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_transient_and_names_the_url() {
    let url = nobody();
    let error = ask(&url).await;
    assert!(matches!(error, SinkError::Unreachable { .. }), "{error:?}");
    assert!(error.is_transient());
    assert!(error.to_string().contains(&url), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_and_broken_servers_are_transient_and_their_words_repeated() {
    let cases = [
        ("500 Internal Server Error", "kaput", "kaput"),
        ("502 Bad Gateway", "no upstream", "502"),
        ("503 Service Unavailable", "starting up", "starting up"),
        ("429 Too Many Requests", "slow down", "429"),
        ("200 OK", "<html>welcome</html>", "did not answer"),
        ("200 OK", "", "did not answer"),
    ];
    for (status, body, expected) in cases {
        let error = ask(&server(status, body.as_bytes())).await;
        assert!(
            matches!(error, SinkError::Unavailable { .. }),
            "{status}: {error:?}"
        );
        assert!(error.is_transient(), "{status}");
        assert!(error.to_string().contains(expected), "{status}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_finds_fault_with_the_request_is_permanent() {
    for status in ["400 Bad Request", "404 Not Found", "413 Payload Too Large"] {
        let error = ask(&server(status, b"what?")).await;
        assert!(
            matches!(error, SinkError::BadRequest { .. }),
            "{status}: {error:?}"
        );
        assert!(!error.is_transient(), "{status}");
    }
}

#[test]
fn the_internet_computers_root_key_is_never_fetched() {
    let cases = [
        ("https://icp-api.io", true),
        ("https://ic0.app", true),
        ("https://rwlgt-iiaaa-aaaaa-aaaaa-cai.ICP0.io/", true),
        ("https://icp0.io.example.com", false),
        ("https://notic0.app", false),
        ("http://127.0.0.1:4943", false),
        ("http://[::1]:4943", false),
    ];
    for (url, expected) in cases {
        assert_eq!(is_mainnet(&parse_url(url).expect(url)), expected, "{url}");
        let refused = sink(url, Some(true)).is_err();
        assert_eq!(refused, expected, "{url}");
        assert!(sink(url, None).is_ok(), "{url}");
        assert!(sink(url, Some(false)).is_ok(), "{url}");
    }
}

#[test]
fn urls_that_cannot_work_are_refused_with_their_text() {
    for url in [
        "",
        "localhost",
        "localhost:4943",
        "ftp://example.com",
        "http://",
        "http://[",
    ] {
        let error = parse_url(url).expect_err(url).to_string();
        assert!(error.contains(&format!("{url:?}")), "{error}");
    }
}
