//! What a Bitcoin Core node, or whoever answers at its port, says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network as BitcoinNetwork};
use millrace_adapter::node::{Credentials, NodeSettings, parse_url};
use millrace_adapter::sink::identity::SecretText;
use millrace_adapter::source::BlockSource;
use millrace_adapter::source::node::{NodeSource, Rest, RestSettings, Rpc, RpcSettings};
use millrace_core::Network;

/// Questions of one run, at most.
const QUESTIONS: usize = 6;

/// What the next questions are answered with.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Answers of the REST interface.
pub fn rest(data: &[u8]) {
    let url = parse_url(&served(data)).expect("a URL");
    let rest = Rest::new(&RestSettings::new(url)).expect("a client");
    ask(&NodeSource::new(rest, Network::Regtest));
}

/// Answers of the JSON-RPC interface.
pub fn rpc(data: &[u8]) {
    let settings = NodeSettings {
        url: parse_url(&served(data)).expect("a URL"),
        credentials: Credentials::Password {
            user: "fuzz".to_owned(),
            password: SecretText::new("fuzz".to_owned()),
        },
        is_named: true,
    };
    let settings = RpcSettings {
        node: settings,
        connections: 1,
    };
    let rpc = Rpc::new(&settings).expect("a client");
    ask(&NodeSource::new(rpc, Network::Regtest));
}

/// Looks for headers and reads what is found, and what is not.
fn ask(source: &impl BlockSource) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let genesis = bitcoin::constants::genesis_block(BitcoinNetwork::Regtest).block_hash();
    runtime.block_on(async {
        let found = source.discover(vec![genesis]).await;
        let headers = found.map(|found| found.headers).unwrap_or_default();
        let first = headers.first().map(|header| header.block_hash());
        for hash in first.into_iter().chain([BlockHash::all_zeros()]) {
            if let Ok(block) = source.read(hash).await {
                let header = millrace_core::block::decode_header(&block[..80]);
                assert_eq!(header.map(|header| header.block_hash()), Some(hash));
            }
        }
    });
}

/// Returns where answers come from, and fills them with parts of the fuzzer's bytes: each begins with a byte that
/// chooses the status and two that are its length.
fn served(data: &[u8]) -> String {
    static URL: OnceLock<String> = OnceLock::new();
    let mut answers = Vec::new();
    let mut rest = data;
    while let [status, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (body, more) = more.split_at(length);
        let status = match status % 8 {
            0 => "404 Not Found",
            1 => "503 Service Unavailable",
            2 => "401 Unauthorized",
            _ => "200 OK",
        };
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        answers.push([head.as_bytes(), body].concat());
        rest = more;
        if answers.len() == QUESTIONS {
            break;
        }
    }
    answers.reverse();
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    URL.get_or_init(serve).clone()
}

fn serve() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up early has had enough.
            let _ = answer(stream);
        }
    });
    format!("http://{address}/")
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..read]);
    }
    let next = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let closing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(&next.unwrap_or_else(|| closing.to_vec()))
}
