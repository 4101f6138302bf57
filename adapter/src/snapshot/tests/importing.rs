//! The import's machine against the canister: with faults at every point, from one seed.

use std::io::Cursor;
use std::time::Duration;

use bitcoin::hashes::Hash;
use candid::Principal;
use millrace_candid::{BlockId, Chain, SnapshotError, SnapshotImport, SnapshotImportResult};
use millrace_core::snapshot::{SerializedDigest, SnapshotCoin};
use millrace_core::{Height, Network};
use serde_bytes::ByteBuf;

use super::fake::{BASE_HEIGHT, Fake};
use super::sets::{Chance, base, file_of, random_coins};
use crate::engine::BlockRef;
use crate::exit::Exit;
use crate::node::NodeError;
use crate::sink::SinkError;
use crate::snapshot::FileError;
use crate::snapshot::headers::HeadersError;
use crate::snapshot::import::{Command, Event, Import, ImportError, Notice, Plan};
use crate::snapshot::pieces::Pieces;

/// Commands after which an import in a test should have ended.
const COMMANDS_MAX: usize = 20_000;

/// How often what happens, in percent.
#[derive(Clone, Copy, Default)]
struct Faults {
    lost_calls: u64,
    lost_replies: u64,
    busy: u64,
    restarts: u64,
    lagging: u64,
}

struct Trial<'a> {
    file: &'a [u8],
    plan: Plan,
    fake: Fake,
    chance: Chance,
    faults: Faults,
    waited: Duration,
    piece_bytes: usize,
    /// Whether the importer takes any file for good.
    is_careless: bool,
    /// What a replica that lags behind still says.
    old: SnapshotImport,
}

impl<'a> Trial<'a> {
    fn new(file: &'a [u8], hash: [u8; 32], seed: u64) -> Self {
        let pieces = Pieces::new(Cursor::new(file), Network::Regtest).unwrap();
        Self {
            file,
            plan: Plan {
                metadata: *pieces.metadata(),
                hash_serialized: Some(hash),
                give_up_after: None,
                seed,
            },
            fake: Fake::new(Network::Regtest, seed),
            chance: Chance::new(seed + 1),
            faults: Faults::default(),
            waited: Duration::ZERO,
            piece_bytes: 600,
            is_careless: false,
            old: SnapshotImport::None,
        }
    }

    fn run(&mut self) -> Result<BlockRef, ImportError> {
        let mut import = Import::new(self.plan.clone());
        let mut pieces = Pieces::new(Cursor::new(self.file), Network::Regtest).unwrap();
        let mut event = Event::Start;
        for _ in 0..COMMANDS_MAX {
            if self.chance.percent(self.faults.restarts) {
                import = Import::new(self.plan.clone());
                pieces = Pieces::new(Cursor::new(self.file), Network::Regtest).unwrap();
                event = Event::Start;
            }
            let step = import.on(self.waited, event);
            event = match step.command {
                Command::Finish(result) => return result,
                Command::Wait(pause) => {
                    assert!(pause <= Duration::from_secs(90), "{pause:?}");
                    self.waited += pause;
                    Event::Waited
                }
                Command::Check if self.is_careless => {
                    let hash = self.plan.hash_serialized.unwrap();
                    Event::Checked(Ok(SerializedDigest(hash)))
                }
                Command::Check => Event::Checked(pieces.hash(|_| {})),
                Command::ReadHeaders { first } => Event::Headers(Ok(headers_from(first))),
                Command::ReadCoins { offset } => {
                    Event::Coins(pieces.piece(offset, self.piece_bytes))
                }
                call => Event::Answered(self.call(&call)),
            };
        }
        panic!("no end after {COMMANDS_MAX} commands");
    }

    fn call(&mut self, call: &Command) -> Result<SnapshotImportResult, SinkError> {
        let unavailable = || SinkError::Unavailable {
            url: "here".to_owned(),
            reason: "lost".to_owned(),
        };
        if self.chance.percent(self.faults.lost_calls) {
            return Err(unavailable());
        }
        if *call == Command::Ask && self.chance.percent(self.faults.lagging) {
            return Ok(Ok(self.old.clone()));
        }
        if self.chance.percent(30) {
            self.old = self.fake.standing.clone();
        }
        let is_busy = self.chance.percent(self.faults.busy);
        let fake = &mut self.fake;
        let result = match call {
            Command::Ask => Ok(fake.asked()),
            _ if is_busy => Err(SnapshotError::Busy {
                reason: "memory".to_owned(),
            }),
            Command::Begin(args) => fake.begin(args),
            Command::PushHeaders(args) => fake.push_headers(args),
            Command::PushCoins(args) => fake.push_coins(args),
            other => panic!("{other:?} is no call"),
        };
        if self.chance.percent(self.faults.lost_replies) {
            return Err(unavailable());
        }
        Ok(result)
    }
}

/// Up to ten headers; the first byte of each is its height.
fn headers_from(first: Height) -> Vec<u8> {
    let heights = (first.get()..=BASE_HEIGHT).take(10);
    heights.flat_map(header).collect()
}

fn header(height: u32) -> Vec<u8> {
    [&[height as u8][..], &[0; 79]].concat()
}

fn block() -> BlockRef {
    BlockRef {
        hash: base(),
        height: Height::new(BASE_HEIGHT),
    }
}

fn set(seed: u64) -> (Vec<SnapshotCoin>, Vec<u8>, [u8; 32]) {
    let coins = random_coins(seed, 60);
    let (file, hash) = file_of(&coins);
    (coins, file, hash.0)
}

#[test]
fn without_faults_each_byte_is_pushed_once() {
    let (coins, file, hash) = set(1);
    let mut trial = Trial::new(&file, hash, 1);
    assert_eq!(trial.run(), Ok(block()));
    assert_eq!(trial.fake.coins, coins);
    assert_eq!(trial.fake.pushed_bytes, file.len() as u64 - 51);
    // It waited only for merging.
    assert_eq!(trial.waited, Duration::from_secs(20));
    // Once more does nothing.
    assert_eq!(trial.run(), Ok(block()));
    assert_eq!(trial.fake.pushed_bytes, file.len() as u64 - 51);
}

#[test]
fn whatever_fails_on_the_way_the_canister_ends_up_with_every_coin() {
    for seed in 0..60 {
        let (coins, file, hash) = set(seed);
        let mut trial = Trial::new(&file, hash, seed);
        trial.fake.is_choosy = true;
        trial.faults = Faults {
            lost_calls: 10,
            lost_replies: 10,
            busy: 15,
            restarts: 3,
            lagging: 20,
        };
        trial.piece_bytes = 200 + seed as usize * 40;
        assert_eq!(trial.run(), Ok(block()), "seed {seed}");
        assert_eq!(trial.fake.coins, coins, "seed {seed}");
        let all: Vec<u8> = (1..=BASE_HEIGHT).flat_map(header).collect();
        assert_eq!(trial.fake.headers, all, "seed {seed}");
    }
}

#[test]
fn a_file_with_a_wrong_byte_is_never_imported() {
    let (_, file, hash) = set(3);
    let mut chance = Chance::new(3);
    for round in 0..400 {
        let mut file = file.clone();
        let at = 51 + chance.below(file.len() as u64 - 51) as usize;
        file[at] ^= 1 << chance.below(8);
        let mut trial = Trial::new(&file, hash, 3);
        trial.is_careless = round % 2 == 0;
        let error = trial.run().expect_err("the hash would be another one");
        let is_expected = match error {
            ImportError::File(_) => true,
            ImportError::Refused { .. } => trial.is_careless,
            ImportError::OtherHash { .. } => !trial.is_careless,
            _ => false,
        };
        assert!(is_expected, "byte {at}: {error}");
        // A file that is found out locally is not sent.
        assert!(trial.is_careless || trial.fake.standing == SnapshotImport::None);
        assert!(matches!(error.exit(), Exit::Source | Exit::Refused));
    }
}

/// Lets an import begin, up to its first question, and answers that.
fn after(answers: Vec<Event>) -> Result<BlockRef, ImportError> {
    let (_, file, hash) = set(1);
    let mut import = Import::new(Trial::new(&file, hash, 1).plan);
    let mut step = import.on(Duration::ZERO, Event::Start);
    for event in answers {
        step = import.on(Duration::ZERO, event);
    }
    match step.command {
        Command::Finish(result) => result,
        other => panic!("{other:?} instead of an end"),
    }
}

fn stands(standing: SnapshotImport) -> Event {
    Event::Answered(Ok(Ok(standing)))
}

fn refuses(error: SnapshotError) -> Event {
    Event::Answered(Ok(Err(error)))
}

fn id(byte: u8) -> BlockId {
    BlockId {
        hash: ByteBuf::from([byte; 32]),
        height: BASE_HEIGHT,
    }
}

fn at_coins(base: u8, of: u64) -> Event {
    stands(SnapshotImport::Coins {
        base: id(base),
        next_offset: 51,
        taken: 0,
        of,
    })
}

#[test]
fn errors_that_do_not_pass_say_what_to_do() {
    let caller = Principal::anonymous();
    let hash = || ByteBuf::from([7; 32]);
    let coins = random_coins(1, 60).len() as u64;
    let permanent = SinkError::NoCanister {
        canister: "c".to_owned(),
        reason: "r".to_owned(),
    };
    let cases: Vec<(Vec<Event>, &str, Exit)> = vec![
        (
            vec![refuses(SnapshotError::NotAnAdapter { caller })],
            "add it to `adapters`",
            Exit::Canister,
        ),
        (
            vec![refuses(SnapshotError::NotAController { caller })],
            "only those may name --hash",
            Exit::Canister,
        ),
        (
            vec![refuses(SnapshotError::NotEmpty { height: 9 })],
            "up to height 9",
            Exit::Canister,
        ),
        (
            vec![refuses(SnapshotError::UnknownBase { base: hash() })],
            "run this with --hash",
            Exit::Canister,
        ),
        (
            vec![refuses(SnapshotError::UnderWay { base: hash() })],
            "0707",
            Exit::Canister,
        ),
        (
            vec![refuses(SnapshotError::WrongNetwork {
                magic: hash(),
                expected: Chain::Mainnet,
            })],
            "Mainnet",
            Exit::Source,
        ),
        (
            vec![refuses(SnapshotError::InvalidHeader {
                height: 8,
                reason: "work".to_owned(),
            })],
            "height 8 is refused: work",
            Exit::Source,
        ),
        (
            vec![refuses(SnapshotError::MalformedCoins {
                offset: 77,
                reason: "x".to_owned(),
            })],
            "at byte 77",
            Exit::Source,
        ),
        (
            vec![refuses(SnapshotError::BadPiece {
                given_bytes: 5,
                reason: "x".to_owned(),
            })],
            "matching versions",
            Exit::Canister,
        ),
        (
            vec![stands(SnapshotImport::Refused {
                reason: "other hash".to_owned(),
            })],
            "discard_snapshot_import",
            Exit::Refused,
        ),
        (
            vec![stands(SnapshotImport::Complete { base: id(7) })],
            "has blocks up to height 53",
            Exit::Canister,
        ),
        (vec![at_coins(7, coins)], "give that file", Exit::Canister),
        (
            vec![at_coins(0xba, coins + 1)],
            "the file has",
            Exit::Canister,
        ),
        (
            vec![at_coins(0xba, coins), Event::Coins(Ok(vec![]))],
            "the file ends where",
            Exit::Source,
        ),
        (
            vec![
                at_coins(0xba, coins),
                Event::Coins(Err(FileError::NoCoinAt { offset: 51 })),
            ],
            "no coin begins at byte 51",
            Exit::Source,
        ),
        (
            [
                vec![at_coins(0xba, coins)],
                vec![stands(SnapshotImport::None); 6],
            ]
            .concat(),
            "somebody discarded",
            Exit::Canister,
        ),
        (
            vec![Event::Headers(Err(HeadersError::BeyondBase {
                wanted: Height::new(60),
                base: Height::new(53),
            }))],
            "wants height 60",
            Exit::Source,
        ),
        (
            vec![Event::Answered(Err(permanent))],
            "check --canister",
            Exit::Canister,
        ),
    ];
    for (events, expected, exit) in cases {
        let error = after(events).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.exit(), exit, "{error}");
    }
}

#[test]
fn a_canister_that_takes_nothing_is_given_up() {
    let (coins, file, hash) = set(1);
    let mut import = Import::new(Trial::new(&file, hash, 1).plan);
    let stuck = at_coins(0xba, coins.len() as u64);
    let (mut event, mut retries) = (Event::Start, 0);
    for _ in 0..500 {
        let step = import.on(Duration::ZERO, event);
        retries += u32::from(matches!(step.notice, Some(Notice::Retry { .. })));
        event = match step.command {
            Command::ReadCoins { .. } => Event::Coins(Ok(vec![1; 9])),
            Command::Wait(_) => Event::Waited,
            Command::Finish(result) => {
                let error = result.expect_err("nothing was taken");
                assert!(matches!(error, ImportError::NoProgress { .. }), "{error}");
                assert_eq!(retries, 19);
                return;
            }
            _ => stuck.clone(),
        };
    }
    panic!("no end");
}

#[test]
fn a_node_that_stays_away_is_given_up() {
    let away = || {
        Event::Headers(Err(HeadersError::Node(NodeError::Unreachable {
            url: "there".to_owned(),
            reason: "refused".to_owned(),
        })))
    };
    let error = after((0..9).map(|_| away()).collect()).expect_err("nobody is there");
    assert!(
        error.to_string().contains("cannot reach the node"),
        "{error}"
    );
    assert_eq!(error.exit(), Exit::Source);
}

#[test]
fn silence_is_borne_as_long_as_the_setting_says() {
    let (_, file, hash) = set(1);
    let mut trial = Trial::new(&file, hash, 1);
    trial.faults.lost_calls = 100;
    trial.plan.give_up_after = Some(Duration::from_secs(600));
    let error = trial.run().expect_err("nobody answers");
    assert!(error.to_string().starts_with("gave up after"), "{error}");
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(trial.waited >= Duration::from_secs(600));
    assert!(trial.waited < Duration::from_secs(700));
    assert_eq!(trial.plan.metadata.base.to_byte_array(), [0xba; 32]);
}
