//! What is served, through a real listener, and when the adapter calls itself healthy.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use millrace_core::{Height, Network, UnixSeconds};
use millrace_p2p::node::RelayOutcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::engine::{Notice, Progress, Waiting};
use crate::progress::Pace;

const LAG: Duration = Duration::from_secs(300);

fn about() -> About {
    About {
        network: Network::Mainnet,
        canister: "aaaaa-aa".to_owned(),
        replica_url: "http://127.0.0.1:4943/".to_owned(),
        source: "p2p",
        healthy_lag_blocks: 2,
        healthy_lag: LAG,
    }
}

fn progress(source: u32, canister: u32, waiting: Option<Waiting>) -> Progress {
    Progress {
        source_height: Height::new(source),
        source_time: UnixSeconds::new(1_700_000_000),
        canister_height: Some(Height::new(canister)),
        pushed_height: Height::new(source),
        acknowledged_blocks: 7,
        acknowledged_bytes: 700,
        pushed_blocks: 8,
        pushed_bytes: 800,
        held_bytes: 55,
        free_bytes: 66,
        free_blocks: 77,
        pending_blocks: 3,
        in_flight: 2,
        waiting,
    }
}

fn peer(kind: &'static str, transport: &'static str) -> PeerRow {
    PeerRow {
        address: "203.0.113.7:8333".to_owned(),
        kind,
        transport,
        user_agent: "/Example \"1\":2\\3/".to_owned(),
        height: 9,
        connected: Duration::from_secs(61),
        ping: Some(Duration::from_millis(40)),
        in_flight: 16,
        blocks: 5,
        block_bytes: 500,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn health_follows_lag_and_silence_and_says_why() {
    struct Case {
        name: &'static str,
        /// When, and what the engine said then.
        reports: Vec<(u64, Progress)>,
        peers: Option<Vec<PeerRow>>,
        now: u64,
        is_healthy: bool,
        line: &'static str,
    }
    let synced = || progress(100, 100, Some(Waiting::NewBlocks));
    let unknown = Progress {
        canister_height: None,
        ..progress(100, 0, None)
    };
    let case = |name, reports, now, is_healthy, line| Case {
        name,
        reports,
        peers: None,
        now,
        is_healthy,
        line,
    };
    let cases = [
        case("no report", vec![], 1, false, "the adapter is starting"),
        case(
            "in sync",
            vec![(1, synced())],
            2,
            true,
            "healthy: the canister is at 100 with the source",
        ),
        case(
            "within the blocks allowed",
            vec![(1, progress(102, 100, None))],
            2,
            true,
            "2 blocks behind the source",
        ),
        case(
            "never near",
            vec![(1, progress(103, 100, None))],
            2,
            false,
            "not in sync since the start: the canister, at 100, is 3 blocks behind the source, at 103; ? left",
        ),
        case(
            "some blocks at once are no trouble yet",
            vec![(1, synced()), (301, progress(200, 100, None))],
            301,
            true,
            "100 blocks behind",
        ),
        case(
            "and then they are",
            vec![(1, synced()), (302, progress(200, 100, None))],
            302,
            false,
            "not in sync for 5m 1s: the canister, at 100, is 100 blocks behind",
        ),
        case(
            "a silent canister is no trouble yet",
            vec![
                (10, synced()),
                (11, progress(100, 100, Some(Waiting::Unreachable))),
            ],
            310,
            true,
            "the canister has not answered for 4m 59s",
        ),
        case(
            "and then it is",
            vec![
                (10, synced()),
                (11, progress(100, 100, Some(Waiting::Unreachable))),
                (311, progress(100, 100, Some(Waiting::Unreachable))),
            ],
            311,
            false,
            "the canister has not answered for 5m 0s",
        ),
        case(
            "a source that is not read yet counts for nothing",
            vec![(1, progress(0, 0, Some(Waiting::Indexing)))],
            5,
            false,
            "reading the source's headers, for 4s",
        ),
        case(
            "a controller switched syncing off",
            vec![(1, progress(9, 9, Some(Waiting::SyncingDisabled)))],
            1,
            false,
            "syncing disabled",
        ),
        case(
            "a source far behind the canister is of no use",
            vec![(1, progress(90, 100, None))],
            1,
            false,
            "the source, at 90, is 10 blocks behind the canister, at 100",
        ),
        case(
            "a canister never heard of",
            vec![(1, unknown)],
            2,
            false,
            "has not answered yet",
        ),
        case(
            "an engine that stands still",
            vec![(1, synced())],
            302,
            false,
            "the adapter has done nothing for 5m 1s",
        ),
        Case {
            peers: Some(vec![]),
            ..case(
                "no peers",
                vec![(1, synced())],
                1,
                false,
                "no peer is connected: no reason is known",
            )
        },
        Case {
            peers: Some(vec![peer("fixed", "v2")]),
            ..case("a peer", vec![(1, synced())], 1, true, "healthy")
        },
    ];
    for case in cases {
        let mut snapshot = Snapshot::new(about());
        snapshot.peers = case.peers.map(|peers| PeerTable {
            peers,
            ..PeerTable::default()
        });
        for (at, report) in case.reports {
            snapshot.record(seconds(at), report, Pace::default());
        }
        let health = Health::of(&snapshot, seconds(case.now));
        assert_eq!(
            health.is_healthy, case.is_healthy,
            "{}: {}",
            case.name, health.line
        );
        assert!(
            health.line.contains(case.line),
            "{}: {}",
            case.name,
            health.line
        );
        assert!(!health.line.contains('\n'), "{}", case.name);
    }
}

/// Reads metrics as Prometheus does, and checks what it insists on: each family is announced once before its
/// samples, which stand together; names, labels and numbers are well formed; no sample comes twice.
fn parse_metrics(text: &str) -> HashMap<String, f64> {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters
            .next()
            .is_some_and(|first| first.is_ascii_lowercase())
            && letters.all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'))
    };
    let (mut helped, mut typed) = (HashSet::new(), HashMap::new());
    let mut family = String::new();
    let mut samples = HashMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(help.ends_with('.'), "{line}");
            assert!(helped.insert(name.to_owned()), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert!(helped.contains(name), "{line}");
            assert!(matches!(kind, "gauge" | "counter"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(
                typed.insert(name.to_owned(), kind.to_owned()),
                None,
                "{line}"
            );
            family = name.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed")),
            None => (series, ""),
        };
        assert_eq!(name, family, "{line}");
        assert!(
            name.starts_with("millrace_adapter_") && is_name(name),
            "{line}"
        );
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").expect("label=\"value\"");
            assert!(is_name(label), "{line}");
            assert!(!value.trim_end_matches('"').contains(['"', '\n']), "{line}");
        }
        let value: f64 = value.parse().expect("a number");
        assert!(samples.insert(series.to_owned(), value).is_none(), "{line}");
    }
    samples
}

fn busy() -> Snapshot {
    let mut snapshot = Snapshot::new(about());
    snapshot.peers = Some(PeerTable {
        peers: vec![
            peer("fixed", "v2"),
            peer("outbound", "v1"),
            peer("outbound", "v1"),
        ],
        addresses: 1_234,
        bytes_held: 4_567,
        ..PeerTable::default()
    });
    snapshot.record(
        seconds(5),
        progress(110, 100, Some(Waiting::QueueFull)),
        Pace::default(),
    );
    for _ in 0..3 {
        snapshot.count(&Notice::SetBack { pause: LAG });
    }
    snapshot.count(&Notice::Recovered);
    snapshot.count_relayed(&RelayOutcome::Seen);
    snapshot
}

#[test]
fn metrics_are_well_formed_and_true() {
    let samples = parse_metrics(&render(&busy(), seconds(65)));
    let expected = [
        ("uptime_seconds", 65.0),
        ("healthy", 0.0),
        ("source_height", 110.0),
        ("source_tip_timestamp_seconds", 1_700_000_000.0),
        ("canister_height", 100.0),
        ("lag_blocks", 10.0),
        ("pushed_blocks_total", 8.0),
        ("pushed_bytes_total", 800.0),
        ("acknowledged_blocks_total", 7.0),
        ("acknowledged_bytes_total", 700.0),
        ("held_bytes", 55.0),
        ("queue_free_bytes", 66.0),
        ("queue_free_blocks", 77.0),
        ("pending_blocks", 3.0),
        ("pushes_in_flight", 2.0),
        ("waiting{reason=\"queue_full\"}", 1.0),
        ("waiting{reason=\"unreachable\"}", 0.0),
        ("waiting_seconds", 60.0),
        ("set_backs_total", 3.0),
        ("call_failures_total", 0.0),
        ("relay_outcomes_total{outcome=\"seen\"}", 1.0),
        ("relay_outcomes_total{outcome=\"rejected\"}", 0.0),
        ("peers{kind=\"fixed\",transport=\"v2\"}", 1.0),
        ("peers{kind=\"outbound\",transport=\"v1\"}", 2.0),
        ("peers{kind=\"feeler\",transport=\"v1\"}", 0.0),
        ("known_addresses", 1_234.0),
        ("network_held_bytes", 4_567.0),
    ];
    for (name, value) in expected {
        let series = format!("millrace_adapter_{name}");
        assert_eq!(samples.get(&series), Some(&value), "{series}");
    }
    let before = parse_metrics(&render(&Snapshot::new(about()), seconds(1)));
    assert!(
        !before.contains_key("millrace_adapter_lag_blocks"),
        "nothing is known yet"
    );
    assert!(
        before
            .keys()
            .any(|series| series.contains("version=\"0.1.0\""))
    );
}

/// Serves, with an observer to tell.
async fn served() -> (SocketAddr, Observer) {
    let listener = bind("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let observer = Observer::new(about());
    tokio::spawn(serve(listener, observer.clone()));
    (address, observer)
}

async fn request(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers and closes");
    answer
}

async fn get_path(address: SocketAddr, path: &str) -> String {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: adapter\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn every_page_is_served_and_nothing_else() {
    let (address, observer) = served().await;
    let starting = get_path(address, "/healthz").await;
    assert!(starting.starts_with("HTTP/1.1 503 "), "{starting}");
    assert!(
        starting.ends_with("the adapter is starting\n"),
        "{starting}"
    );

    observer.progress(progress(100, 99, None), Pace::default());
    let healthy = get_path(address, "/healthz").await;
    assert!(healthy.starts_with("HTTP/1.1 200 "), "{healthy}");
    assert!(healthy.contains("connection: close"), "{healthy}");
    assert_eq!(
        fetch(address, "/peers").await.expect("served")["peers"],
        serde_json::Value::Null
    );

    observer.peers(PeerTable {
        peers: vec![peer("rescue", "v2")],
        ..PeerTable::default()
    });
    observer.notice(&Notice::Reorganised {
        from: Height::new(9),
    });
    let metrics = get_path(address, "/metrics").await;
    let (head, body) = metrics.split_once("\r\n\r\n").expect("head and body");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    let samples = parse_metrics(body);
    assert_eq!(samples["millrace_adapter_reorganisations_total"], 1.0);

    let status = fetch(address, "/status").await.expect("served");
    assert_eq!(status["lag_blocks"], 1);
    assert_eq!(status["chain"], "mainnet");
    assert_eq!(status["peers"], 1);
    let peers = fetch(address, "/peers").await.expect("served");
    assert_eq!(peers["peers"][0]["transport"], "v2");
    assert_eq!(peers["peers"][0]["ping_ms"], 40);
    assert_eq!(peers["peers"][0]["connected_seconds"], 61);

    let other = get_path(address, "/").await;
    assert!(
        other.starts_with("HTTP/1.1 404 ") && other.contains("/healthz"),
        "{other}"
    );
    let posted = request(
        address,
        "POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
    let error = fetch(address, "/nothing").await.expect_err("404");
    assert!(error.to_string().contains("is no adapter"), "{error}");
}

#[tokio::test]
async fn requests_without_an_end_are_cut_off() {
    let (address, _observer) = served().await;
    let endless = "x".repeat(4 * 1024 * 1024);
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // The server may close while it is written to; what counts is that it answers nothing but an error.
    let _ = stream
        .write_all(format!("GET /status HTTP/1.1\r\nX: {endless}").as_bytes())
        .await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
}

#[tokio::test]
async fn connections_that_say_nothing_are_ended_and_make_room() {
    let listener = bind("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let bounded = BoundedListener::new(listener, Duration::from_millis(50));
    tokio::spawn(async move { axum::serve(bounded, router(Observer::new(about()))).await });
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(address).await.expect("it listens"));
    }
    // All places are taken; this one waits in the system's queue until the silent ones are ended. On a busy
    // machine its own time may be over before it is read; then another one is made.
    let answer = loop {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let _ = stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: adapter\r\n\r\n")
            .await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        if !answer.is_empty() {
            break answer;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let listener = bind("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let error = bind(address).await.expect_err("in use").to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("another port"),
        "{error}"
    );
    drop(listener);
    let error = fetch(address, "/status")
        .await
        .expect_err("nobody listens")
        .to_string();
    assert!(error.contains("no adapter answers"), "{error}");
}
