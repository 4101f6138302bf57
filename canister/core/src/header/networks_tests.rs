//! The header rules of each network: published retargets, and one broken header per rule.

use bitcoin::block::{Header, Version};
use bitcoin::consensus::deserialize;
use bitcoin::{BlockHash, CompactTarget};

use super::*;
use crate::fixtures::{NOW, framed_blocks, headers, hex_blocks, mine};
use crate::network::PERIOD_BLOCKS;
use crate::units::UnixSeconds;

const REGULAR_BITS: u32 = 0x1b01_0000;

/// A record in the middle of a chain; only what the rule under test reads is meant to be real.
fn record(network: Network, height: u32, time: u32, bits: u32) -> HeaderContext {
    let header = Header {
        time,
        bits: CompactTarget::from_consensus(bits),
        ..network.genesis_block().header
    };
    HeaderContext::trusted(&TrustedHeader {
        header,
        height: Height::new(height),
        chain_work: ChainWork::ZERO,
        earlier_times: Vec::new(),
        period: PeriodStart {
            time: time.saturating_sub(600),
            bits: header.bits,
        },
        last_regular_bits: header.bits,
    })
}

/// A record that ends a period which took from `first_time` to `last_time`.
fn period_end(network: Network, first_time: u32, last_time: u32, bits: u32) -> HeaderContext {
    HeaderContext {
        period: PeriodStart {
            time: first_time,
            bits: CompactTarget::from_consensus(bits),
        },
        ..record(network, PERIOD_BLOCKS - 1, last_time, bits)
    }
}

fn child_of(parent: &HeaderContext, time: u32, bits: u32) -> Header {
    Header {
        prev_blockhash: parent.hash(),
        time,
        bits: CompactTarget::from_consensus(bits),
        ..*parent.header()
    }
}

/// The first four are Bitcoin Core's published cases (`pow_tests.cpp`).
#[test]
fn retargets_stay_within_a_factor_of_four_and_the_limit() {
    let weeks = 14 * 24 * 60 * 60;
    let cases = [
        (
            "a rise",
            Network::Mainnet,
            1_261_130_161,
            1_262_152_739,
            0x1d00_ffff,
            0x1d00_d86a,
        ),
        (
            "at the limit",
            Network::Mainnet,
            1_231_006_505,
            1_233_061_996,
            0x1d00_ffff,
            0x1d00_ffff,
        ),
        (
            "at most four times harder",
            Network::Mainnet,
            1_279_008_237,
            1_279_297_671,
            0x1c05_a3f4,
            0x1c01_68fd,
        ),
        (
            "at most four times easier",
            Network::Mainnet,
            1_263_163_443,
            1_269_211_443,
            0x1c38_7f6f,
            0x1d00_e1fd,
        ),
        (
            "a clock that ran backwards",
            Network::Mainnet,
            2_000_000_000,
            1_000_000_000,
            0x1d00_ffff,
            0x1c3f_ffc0,
        ),
        (
            "exactly two weeks",
            Network::Mainnet,
            1_000_000_000,
            1_000_000_000 + weeks,
            0x1b04_04cb,
            0x1b04_04cb,
        ),
        (
            "testnet3 as mainnet",
            Network::Testnet3,
            1_279_008_237,
            1_279_297_671,
            0x1c05_a3f4,
            0x1c01_68fd,
        ),
        (
            "testnet4 as mainnet",
            Network::Testnet4,
            1_279_008_237,
            1_279_297_671,
            0x1c05_a3f4,
            0x1c01_68fd,
        ),
        (
            "signet at its own limit",
            Network::Signet,
            1_000_000_000,
            2_000_000_000,
            0x1e03_77ae,
            0x1e03_77ae,
        ),
        (
            "signet harder",
            Network::Signet,
            1_000_000_000,
            1_000_000_001,
            0x1e03_77ae,
            0x1e00_ddeb,
        ),
        (
            "regtest never",
            Network::Regtest,
            1_000_000_000,
            1_000_000_001,
            0x207f_ffff,
            0x207f_ffff,
        ),
    ];
    for (name, network, first, last, bits, expected) in cases {
        let end = period_end(network, first, last, bits);
        let got = end
            .required_bits(last.saturating_add(1), network)
            .to_consensus();
        assert_eq!(got, expected, "{name}: {got:08x}");
    }
}

/// Testnet4's first period took less than half a week, so block 2067 of the real chain has four
/// times the least difficulty.
#[test]
fn testnet4s_first_retarget_leads_to_the_bits_of_its_block_2067() {
    let block_2067: Header = deserialize(
        &hex::decode(concat!(
            "00000020f009a7425a6b0962bc12d3a2d2497588182202b9b59d46d33835ad0300000000",
            "b2ed3db0e5f468e9faa29b50a2bbe9cb041c40c2ecd53156a3d51173719e8e6c6d4b3966",
            "c0ff3f1c65c7bf01"
        ))
        .unwrap(),
    )
    .unwrap();
    assert_eq!(
        block_2067.block_hash().to_string(),
        "000000000b618d0915876b49345d4c25d9a1210dcbbbf3c63b35b4b1efb13095"
    );
    assert!(check_own_work(&block_2067, Network::Testnet4).is_ok());
    let genesis = headers("headers/testnet4_0_100.bin")[0];
    // The period ended before this block; had it ended with it, the bound would bind already.
    let end = period_end(
        Network::Testnet4,
        genesis.time,
        block_2067.time,
        genesis.bits.to_consensus(),
    );
    assert_eq!(
        end.required_bits(block_2067.time + 1, Network::Testnet4),
        block_2067.bits
    );
}

#[test]
fn a_target_has_one_accepted_form() {
    let real: Header = deserialize(&framed_blocks("blocktools/1M.dat")[7][..80]).unwrap();
    let judge = |bits| {
        let header = Header {
            bits: CompactTarget::from_consensus(bits),
            ..real
        };
        (
            header.block_hash(),
            check_own_work(&header, Network::Mainnet),
        )
    };
    // 0xff00 << 8 * 26, with the mantissa shifted one byte down.
    let (hash, verdict) = judge(0x1e00_00ff);
    assert_eq!(
        verdict,
        Err(HeaderError::NonCanonicalBits {
            hash,
            bits: 0x1e00_00ff,
            canonical: 0x1d00_ff00
        })
    );
    // Nothing is left of a mantissa shifted out.
    for (name, bits) in [
        ("zero", 0x1d00_0000),
        ("negative", 0x1d80_ffff),
        ("negative and small", 0x0180_0000),
        ("beyond 256 bits", 0x2300_0001),
        ("far beyond", 0xff7f_ffff),
        ("shifted out", 0x0200_0001),
        ("easier than the limit", 0x1d01_0000),
    ] {
        let (hash, verdict) = judge(bits);
        let limit = 0x1d00_ffff;
        assert_eq!(
            verdict,
            Err(HeaderError::ImpossibleBits { hash, bits, limit }),
            "{name}"
        );
    }
}

#[test]
fn each_soft_fork_ends_older_versions_at_its_height() {
    let cases = [
        (Network::Mainnet, 227_931, 1, 2),
        (Network::Mainnet, 363_725, 2, 3),
        (Network::Mainnet, 388_381, 3, 4),
        (Network::Testnet3, 21_111, 1, 2),
        (Network::Testnet3, 330_776, 2, 3),
        (Network::Testnet3, 581_885, 3, 4),
    ];
    for (network, height, version, required) in cases {
        let judge = |height: u32, version| {
            let parent = record(network, height - 1, 1_400_000_000, REGULAR_BITS);
            let header = Header {
                version: Version::from_consensus(version),
                ..child_of(&parent, 1_400_000_600, REGULAR_BITS)
            };
            let hash = header.block_hash();
            (hash, parent.check_version(&header, hash, network))
        };
        assert_eq!(judge(height - 1, version).1, Ok(()), "{network} {height}");
        assert_eq!(judge(height, required).1, Ok(()), "{network} {height}");
        let (hash, verdict) = judge(height, version);
        let height = Height::new(height);
        assert_eq!(
            verdict,
            Err(HeaderError::OldVersion {
                hash,
                version,
                height,
                required
            })
        );
    }
    // Version bits (BIP9) leave the sign alone; a negative version is an old one.
    for (network, height) in [
        (Network::Testnet4, 1),
        (Network::Signet, 1),
        (Network::Mainnet, 900_000),
    ] {
        let parent = record(network, height - 1, 1_700_000_000, REGULAR_BITS);
        for version in [3, 0, -1, i32::MIN] {
            let header = Header {
                version: Version::from_consensus(version),
                ..child_of(&parent, 1_700_000_600, REGULAR_BITS)
            };
            let verdict = parent.check_version(&header, header.block_hash(), network);
            assert!(matches!(
                verdict,
                Err(HeaderError::OldVersion { required: 4, .. })
            ));
        }
    }
}

/// The real end of each network's fixture, and a child that breaks one rule each.
#[test]
fn one_mutated_child_of_each_real_chain_is_refused_per_rule() {
    let of_blocks = |blocks: Vec<Vec<u8>>| -> Vec<Header> {
        blocks
            .iter()
            .map(|bytes| deserialize(&bytes[..80]).unwrap())
            .collect()
    };
    let runs = [
        (
            Network::Mainnet,
            of_blocks(framed_blocks("blocktools/1M.dat"))[1..].to_vec(),
        ),
        (Network::Testnet3, headers("headers/testnet3_1_2100.bin")),
        (
            Network::Testnet4,
            headers("headers/testnet4_0_100.bin")[1..].to_vec(),
        ),
        (
            Network::Signet,
            headers("headers/signet_0_2015.bin")[1..].to_vec(),
        ),
        (
            Network::Regtest,
            of_blocks(hex_blocks("bitcoin-core/regtest_blocks.hex.txt")),
        ),
    ];
    for (network, run) in runs {
        let (last, before) = run.split_last().unwrap();
        let parent = before
            .iter()
            .try_fold(HeaderContext::genesis(network), |parent, header| {
                parent.accept(header, network, NOW)
            })
            .unwrap();
        assert!(parent.accept(last, network, NOW).is_ok(), "{network}");
        let hash_of = |header: &Header| header.block_hash();

        let orphan = Header {
            prev_blockhash: BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros()),
            ..*last
        };
        let verdict = parent.accept(&orphan, network, NOW);
        assert!(
            matches!(verdict, Err(HeaderError::NotAChild { .. })),
            "{network}"
        );

        let harder = Header {
            bits: CompactTarget::from_consensus(0x1a00_ffff),
            ..*last
        };
        let expected = last.bits.to_consensus();
        assert_eq!(
            parent.accept(&harder, network, NOW),
            Err(HeaderError::WrongBits {
                hash: hash_of(&harder),
                got: 0x1a00_ffff,
                expected
            }),
            "{network}"
        );

        // Any other nonce: on regtest every second one works, elsewhere practically none.
        let unmined = (0..)
            .map(|nonce| Header { nonce, ..*last })
            .find(|header| !header.target().is_met_by(header.block_hash()))
            .unwrap();
        assert_eq!(
            parent.accept(&unmined, network, NOW),
            Err(HeaderError::InsufficientWork {
                hash: hash_of(&unmined),
                bits: expected
            }),
            "{network}"
        );

        // A changed time needs new work, which only regtest makes cheap: the time rules are asked.
        let median = parent.median_time_past();
        let old = Header {
            time: median,
            ..*last
        };
        assert_eq!(
            parent.check_time(&old, hash_of(&old), network, NOW),
            Err(HeaderError::TimeTooOld {
                hash: hash_of(&old),
                time: median,
                median
            }),
            "{network}"
        );
        let now = UnixSeconds::new(u64::from(last.time) - MAX_FUTURE_SECONDS - 1);
        assert_eq!(
            parent.accept(last, network, now),
            Err(HeaderError::TimeTooNew {
                hash: hash_of(last),
                time: last.time,
                latest: u64::from(last.time) - 1
            }),
            "{network}"
        );
    }
}

/// A child that claims the 20-minute rule one second too early, and one that does not use it.
#[test]
fn minimum_difficulty_is_refused_before_and_demanded_after_twenty_minutes() {
    for network in [Network::Testnet3, Network::Testnet4] {
        let limit = network.pow_limit_bits().to_consensus();
        let parent = record(network, 100_000, 1_700_000_000, REGULAR_BITS);
        for (after, got, expected) in [(1200, limit, REGULAR_BITS), (1201, REGULAR_BITS, limit)] {
            let header = child_of(&parent, 1_700_000_000 + after, got);
            let hash = header.block_hash();
            assert_eq!(
                parent.accept(&header, network, NOW),
                Err(HeaderError::WrongBits {
                    hash,
                    got,
                    expected
                }),
                "{network} after {after} s"
            );
        }
        // The first block of a period is never under the rule.
        let end = period_end(
            network,
            1_700_000_000 - 1_209_600,
            1_700_000_000,
            REGULAR_BITS,
        );
        let header = child_of(&end, 1_700_009_999, limit);
        assert!(matches!(
            end.accept(&header, network, NOW),
            Err(HeaderError::WrongBits {
                expected: REGULAR_BITS,
                ..
            })
        ));
    }
    for network in [Network::Mainnet, Network::Signet] {
        let parent = record(network, 100_000, 1_700_000_000, REGULAR_BITS);
        let limit = network.pow_limit_bits().to_consensus();
        let header = child_of(&parent, 1_700_009_999, limit);
        let hash = header.block_hash();
        assert_eq!(
            parent.accept(&header, network, NOW),
            Err(HeaderError::WrongBits {
                hash,
                got: limit,
                expected: REGULAR_BITS
            })
        );
    }
}

/// Regtest is one difficulty for ever, and takes every version (see [`Network::min_version`]).
#[test]
fn regtest_crosses_period_ends_without_a_retarget() {
    let parent = record(
        Network::Regtest,
        PERIOD_BLOCKS - 1,
        1_700_000_000,
        0x207f_ffff,
    );
    let header = mine(parent.hash(), 1_700_000_001, 0);
    let child = parent.accept(&header, Network::Regtest, NOW).unwrap();
    assert_eq!(child.height(), Height::new(PERIOD_BLOCKS));
}
