//! A node's REST and RPC interfaces on a port of this machine, which fail on purpose.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use bitcoin::BlockHash;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::consensus::serialize;
use serde_json::{Value, json};

use crate::chain::FakeChain;

/// What is wrong with the next answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// So many requests are refused as by a node that is starting.
    Busy(u32),
    /// Bodies end before their announced length, and the connection with them.
    CutOff,
    /// A byte of each block is another one.
    Damaged,
    /// Another block comes than the one asked for.
    Exchanged,
    /// Bodies have more bytes than there can be.
    Oversized,
    /// Blocks have been pruned.
    Pruned,
    /// The interface is not there.
    Absent,
    /// Bodies are noise.
    Noise,
}

/// What the node is and does.
pub struct State {
    pub chain: FakeChain,
    pub network: &'static str,
    pub is_catching_up: bool,
    pub fault: Fault,
    pub cookie: String,
    /// Requests served.
    pub requests: u32,
    /// Connections accepted.
    pub connections: u32,
    /// Block requests under way, and the most there ever were.
    pub fetching: u32,
    pub most_fetching: u32,
}

/// The node.
pub struct FakeNode {
    pub address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

impl FakeNode {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let state = Arc::new(Mutex::new(State {
            chain: FakeChain::new(),
            network: "regtest",
            is_catching_up: false,
            fault: Fault::None,
            cookie: "__cookie__:1".to_owned(),
            requests: 0,
            connections: 0,
            fetching: 0,
            most_fetching: 0,
        }));
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&served);
                lock(&state).connections += 1;
                thread::spawn(move || serve(stream.expect("a connection"), &state));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> url::Url {
        let url = format!("http://{}", self.address);
        url.parse().expect("a URL")
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test panics with the lock")
}

/// A request: path, credentials and body.
struct Request {
    path: String,
    authorization: String,
    body: Vec<u8>,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split_whitespace().nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        path,
        authorization,
        body,
    })
}

/// Serves a connection until it or an answer ends it.
fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let is_block = request.path.starts_with("/rest/block/");
        if is_block {
            let mut state = lock(state);
            state.fetching += 1;
            state.most_fetching = state.most_fetching.max(state.fetching);
        }
        let (status, body, fault) = answer(&mut lock(state), &request);
        let mut bytes = format!(
            "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend(&body);
        if is_block {
            lock(state).fetching -= 1;
        }
        if fault == Fault::CutOff {
            bytes.truncate(bytes.len() - body.len() / 2 - 1);
            let _ = writer.write_all(&bytes);
            return;
        }
        if writer.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn answer(state: &mut State, request: &Request) -> (u16, Vec<u8>, Fault) {
    state.requests += 1;
    match state.fault {
        Fault::Busy(0) => state.fault = Fault::None,
        Fault::Busy(left) => {
            state.fault = Fault::Busy(left - 1);
            let text = b"Service temporarily unavailable: Loading block index".to_vec();
            return (503, text, Fault::None);
        }
        Fault::Absent => return (404, Vec::new(), Fault::None),
        Fault::Oversized => return (200, vec![b' '; 9_000_000], Fault::None),
        Fault::Noise => return (200, b"<html>\x00\xff".to_vec(), Fault::None),
        _ => {}
    }
    let (status, body) = if request.path.starts_with("/rest/") {
        rest(state, &request.path)
    } else {
        rpc(state, request)
    };
    (status, body, state.fault)
}

fn rest(state: &State, path: &str) -> (u16, Vec<u8>) {
    if path == "/rest/chaininfo.json" {
        return (200, info(state).to_string().into_bytes());
    }
    if let Some(rest) = path.strip_prefix("/rest/headers/") {
        let (hash, count) = rest.split_once(".bin?count=").expect("hash and count");
        let count: usize = count.parse().expect("a number");
        assert!((1..=2_000).contains(&count), "Bitcoin Core's limit");
        let height = state.chain.height_of(hash.parse().expect("a hash"));
        let blocks = height.map_or(&[][..], |height| &state.chain.best[height..]);
        let headers = blocks
            .iter()
            .take(count)
            .map(|block| serialize(&block.header));
        return (200, headers.collect::<Vec<_>>().concat());
    }
    let hash = path
        .strip_prefix("/rest/block/")
        .expect("a path of Bitcoin Core");
    let hash = hash.strip_suffix(".bin").expect("the binary form");
    match block(state, hash.parse().expect("a hash")) {
        Ok(bytes) => (200, bytes),
        Err((_, text)) => (404, format!("{hash} {text}\r\n").into_bytes()),
    }
}

fn info(state: &State) -> Value {
    let height = state.chain.best.len() - 1;
    json!({
        "chain": state.network,
        "blocks": height,
        "headers": height + if state.is_catching_up { 100 } else { 0 },
        "bestblockhash": state.chain.best[height].block_hash().to_string(),
        "initialblockdownload": state.is_catching_up,
    })
}

fn block(state: &State, hash: BlockHash) -> Result<Vec<u8>, (i64, &'static str)> {
    if state.fault == Fault::Pruned {
        return Err((-1, "Block not available (pruned data)"));
    }
    let block = state.chain.all.get(&hash).ok_or((-5, "not found"))?;
    let mut bytes = serialize(block);
    match state.fault {
        Fault::Damaged => bytes[100] ^= 1,
        Fault::Exchanged => bytes = serialize(&state.chain.best[0]),
        _ => {}
    }
    Ok(bytes)
}

fn rpc(state: &State, request: &Request) -> (u16, Vec<u8>) {
    let expected = format!("Basic {}", base64(state.cookie.as_bytes()));
    if request.authorization != expected {
        return (401, Vec::new());
    }
    let calls: Vec<Value> = serde_json::from_slice(&request.body).expect("a batch");
    let answers = calls.iter().map(|call| {
        let params = &call["params"];
        let result = match call["method"].as_str().expect("a method") {
            "getblockchaininfo" => Ok(info(state)),
            "getblockhash" => {
                let height = params[0].as_u64().expect("a height") as usize;
                let block = state.chain.best.get(height);
                block
                    .map(|block| json!(block.block_hash().to_string()))
                    .ok_or((-8, "Block height out of range"))
            }
            "getblockheader" => header(state, params),
            "getblock" => {
                let bytes = block(state, hash(params));
                bytes.map(|bytes| json!(bitcoin::hex::DisplayHex::to_lower_hex_string(&bytes)))
            }
            other => panic!("the adapter never calls {other}"),
        };
        match result {
            Ok(result) => json!({ "id": call["id"], "result": result }),
            Err((code, message)) => {
                json!({ "id": call["id"], "error": { "code": code, "message": message } })
            }
        }
    });
    let answers: Vec<Value> = answers.collect();
    (200, serde_json::to_vec(&answers).expect("JSON"))
}

fn header(state: &State, params: &Value) -> Result<Value, (i64, &'static str)> {
    let hash = hash(params);
    let block = state.chain.all.get(&hash).ok_or((-5, "Block not found"))?;
    if params[1] == json!(false) {
        return Ok(json!(serialize_hex(&block.header)));
    }
    let height = state.chain.height_of(hash);
    let confirmations = height.map_or(-1, |_| 1);
    Ok(json!({ "height": height.unwrap_or(0), "confirmations": confirmations }))
}

fn hash(params: &Value) -> BlockHash {
    params[0]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a hash")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..4 {
            let index = (number >> (18 - 6 * digit)) & 63;
            let is_padding = digit > chunk.len();
            text.push(if is_padding {
                '='
            } else {
                DIGITS[index as usize] as char
            });
        }
    }
    text
}
