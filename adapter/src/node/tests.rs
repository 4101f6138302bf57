//! The client against servers that answer well, badly, and not at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use bitcoin::consensus::encode::serialize_hex;
use millrace_core::{Height, Network};

use super::answer::results;
use super::*;
use crate::sink::identity::SecretText;

/// A server that gives one answer after the other; it says what it was asked.
struct Server {
    url: String,
    asked: Receiver<(String, Value)>,
}

fn server(answers: Vec<(&'static str, Vec<u8>)>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (tell, asked) = channel();
    thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = tell.send(request(&mut stream));
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    Server { url, asked }
}

/// Reads a request: its `authorization` and its body.
fn request(stream: &mut TcpStream) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (authorization, serde_json::from_slice(&body).unwrap())
}

fn node_with(url: &str, credentials: Credentials) -> Node {
    Node::new(&NodeSettings {
        url: parse_url(url).unwrap(),
        credentials,
        is_named: true,
    })
    .unwrap()
}

fn node(url: &str) -> Node {
    let credentials = Credentials::Password {
        user: "alice".to_owned(),
        password: SecretText::new("secret".to_owned()),
    };
    node_with(url, credentials)
}

fn ok(results: &[Value]) -> (&'static str, Vec<u8>) {
    let answers: Vec<Value> = (0_u64..)
        .zip(results)
        .map(|(id, result)| json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        .collect();
    ("200 OK", serde_json::to_vec(&answers).unwrap())
}

fn fault(code: i64, message: &str) -> Vec<u8> {
    let answer = json!([{ "id": 0, "error": { "code": code, "message": message } }]);
    serde_json::to_vec(&answer).unwrap()
}

#[tokio::test]
async fn headers_are_asked_for_in_two_batches_and_in_order() {
    let genesis = Network::Regtest.genesis_block().header;
    let other = Network::Signet.genesis_block().header;
    let mut headers = ok(&[json!(serialize_hex(&genesis)), json!(serialize_hex(&other))]);
    // Answers to a batch may come in any order.
    let mut reversed: Vec<Value> = serde_json::from_slice(&headers.1).unwrap();
    reversed.reverse();
    headers.1 = serde_json::to_vec(&reversed).unwrap();
    let server = server(vec![ok(&[json!("aa"), json!("bb")]), headers]);
    let found = node(&server.url).headers(Height::new(7), 2).await.unwrap();
    assert_eq!(found, [genesis, other]);
    let (authorization, hashes) = server.asked.recv().unwrap();
    assert_eq!(authorization, "Basic YWxpY2U6c2VjcmV0");
    assert_eq!(hashes[0]["method"], "getblockhash");
    assert_eq!(hashes[0]["params"], json!([7]));
    assert_eq!(hashes[1]["params"], json!([8]));
    let (_, headers) = server.asked.recv().unwrap();
    assert_eq!(headers[1]["method"], "getblockheader");
    assert_eq!(headers[1]["params"], json!(["bb", false]));
}

#[tokio::test]
async fn the_cookie_is_read_again_for_each_call() {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join(".cookie");
    let server = server(vec![ok(&[json!("x")]), ok(&[json!("x")])]);
    let node = node_with(&server.url, Credentials::Cookie(cookie.clone()));
    for (text, expected) in [
        ("__cookie__:1", "X19jb29raWVfXzox"),
        ("__cookie__:2", "X19jb29raWVfXzoy"),
    ] {
        std::fs::write(&cookie, text).unwrap();
        let _ = node.call("m", json!([]), CONNECT_TIMEOUT).await.unwrap();
        let (authorization, _) = server.asked.recv().unwrap();
        assert_eq!(authorization, format!("Basic {expected}"));
    }
    for content in [None, Some("no colon")] {
        let _ = std::fs::remove_file(&cookie);
        if let Some(content) = content {
            std::fs::write(&cookie, content).unwrap();
        }
        let error = node.call("m", json!([]), CONNECT_TIMEOUT).await;
        let error = error.unwrap_err();
        assert!(matches!(error, NodeError::Cookie { .. }), "{error}");
        assert!(error.to_string().contains("--node-cookie"), "{error}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart() {
    let cases: [(&str, Vec<u8>, &str, bool); 8] = [
        ("401 Unauthorized", vec![], "refuses node_user", false),
        ("403 Forbidden", vec![], "rpcallowip", false),
        (
            "503 Service Unavailable",
            b"Work queue depth exceeded".to_vec(),
            "Work queue depth",
            true,
        ),
        (
            "200 OK",
            fault(-28, "Loading block index…"),
            "is starting: Loading",
            true,
        ),
        (
            "200 OK",
            fault(-8, "Block height out of range"),
            "code -8",
            false,
        ),
        ("200 OK", b"<html>".to_vec(), "unlike Bitcoin Core", false),
        ("200 OK", b"[]".to_vec(), "fewer answers than the 1", false),
        (
            "200 OK",
            vec![b' '; ANSWER_BYTES_MAX + 1],
            "more than",
            false,
        ),
    ];
    for (status, body, expected, is_transient) in cases {
        let server = server(vec![(status, body)]);
        let error = node(&server.url).chain(Network::Regtest).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{status}: {error}");
        assert_eq!(error.is_transient(), is_transient, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_or_silent_is_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let silent = node(&url)
        .call("m", json!([]), Duration::from_millis(50))
        .await;
    assert!(
        matches!(silent, Err(NodeError::Unavailable { .. })),
        "{silent:?}"
    );
    drop(listener);
    let error = node(&url).chain(Network::Regtest).await.unwrap_err();
    assert!(matches!(error, NodeError::Unreachable { .. }), "{error}");
    assert!(
        error.is_transient() && error.to_string().contains(&url),
        "{error}"
    );
}

#[tokio::test]
async fn chains_and_blocks_elsewhere_are_errors() {
    let chain = json!({ "chain": "main", "blocks": 5, "bestblockhash": "00".repeat(32) });
    let hash = Network::Mainnet.genesis_block().block_hash();
    let first = server(vec![ok(std::slice::from_ref(&chain)), ok(&[chain])]);
    let found = node(&first.url).chain(Network::Mainnet).await.unwrap();
    assert_eq!(found.height, Height::new(5));
    let error = node(&first.url).chain(Network::Signet).await.unwrap_err();
    assert!(error.to_string().contains("on main, not on signet"));
    for answer in [
        ok(&[json!({ "height": 3, "confirmations": -1 })]),
        ("200 OK", fault(-5, "Block not found")),
    ] {
        let server = server(vec![answer]);
        let error = node(&server.url).height_of(hash).await.unwrap_err();
        assert!(matches!(error, NodeError::NotOnChain { .. }), "{error}");
    }
}

#[tokio::test]
async fn sets_are_read_with_amounts_to_the_satoshi() {
    for (amount, expected) in [
        ("20999999.97690000", 2_099_999_997_690_000),
        ("0.00000001", 1),
        ("5000.00000000", 500_000_000_000),
        ("19234567.12345679", 1_923_456_712_345_679),
    ] {
        let body = format!(
            r#"[{{"id":0,"result":{{"height":9,"bestblock":"{}","txouts":4,"bogosize":300,
               "muhash":"ab","total_amount":{amount}}}}}]"#,
            "00".repeat(32)
        );
        let server = server(vec![("200 OK", body.into_bytes())]);
        let set = node(&server.url).set_at(Height::new(9)).await.unwrap();
        assert_eq!(set.satoshi, expected);
        assert_eq!(
            (set.outputs, set.bogosize, set.muhash.as_str()),
            (4, 300, "ab")
        );
        let (_, asked) = server.asked.recv().unwrap();
        assert_eq!(asked[0]["params"], json!(["muhash", 9]));
    }
}

#[test]
fn answers_must_be_those_that_were_asked_for() {
    let asked = Asked {
        url: "http://x",
        method: "m",
    };
    let read = |body: &str| results(asked, body.as_bytes(), 2);
    let good = r#"[{"id":1,"result":8},{"id":0,"result":null,"error":null}]"#;
    assert_eq!(read(good).unwrap(), [Value::Null, json!(8)]);
    for body in [
        r#"[{"id":0,"result":1}]"#,
        r#"[{"id":0,"result":1},{"id":2,"result":1}]"#,
        r#"[{"id":0,"result":1},{"id":null,"result":1}]"#,
        r#"{"id":0,"result":1}"#,
        "",
    ] {
        let error = read(body).unwrap_err();
        assert!(
            matches!(error, NodeError::BadAnswer { .. }),
            "{body}: {error}"
        );
    }
}

#[test]
fn urls_and_cookies_of_nodes() {
    for bad in ["", "127.0.0.1:8332", "ftp://x", "http://bob:pw@127.0.0.1"] {
        let error = parse_url(bad).unwrap_err().to_string();
        assert!(!error.contains("pw"), "{error}");
    }
    let home = Path::new("/home/x");
    for network in Network::ALL {
        assert!(parse_url(default_url(network)).is_ok());
        assert!(default_cookie(home, network).ends_with(".cookie"));
    }
    if cfg!(target_os = "linux") {
        assert_eq!(
            default_cookie(home, Network::Regtest),
            PathBuf::from("/home/x/.bitcoin/regtest/.cookie")
        );
    }
}
