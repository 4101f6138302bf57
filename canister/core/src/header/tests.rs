//! Header rules against real chains of every network, and one broken case per rule.

use bitcoin::block::{Header, Version};
use bitcoin::consensus::deserialize;
use bitcoin::{CompactTarget, Target};
use proptest::prelude::*;

use super::*;
use crate::fixtures::{NOW, file, framed_blocks, headers, hex_blocks, mine, mine_child, remine};
use crate::units::UnixSeconds;

/// Accepts a run of headers and returns every record, the start included.
fn accept_all(start: HeaderContext, run: &[Header], network: Network) -> Vec<HeaderContext> {
    let mut contexts = vec![start];
    for header in run {
        let parent = contexts.last().unwrap();
        let child = parent
            .accept(header, network, NOW)
            .unwrap_or_else(|error| panic!("{network} after height {}: {error}", parent.height()));
        contexts.push(child);
    }
    contexts
}

fn headers_of(blocks: &[Vec<u8>]) -> Vec<Header> {
    blocks
        .iter()
        .map(|bytes| deserialize(&bytes[..80]).unwrap())
        .collect()
}

fn work(hex_digits: &str) -> ChainWork {
    ChainWork::from_be_bytes(hex::decode(hex_digits).unwrap().try_into().unwrap())
}

/// A record for the first header of a difficulty period in the middle of a chain.
fn period_start(header: Header, height: u32, chain_work: ChainWork) -> HeaderContext {
    HeaderContext::trusted(&TrustedHeader {
        header,
        height: Height::new(height),
        chain_work,
        earlier_times: Vec::new(),
        period: PeriodStart {
            time: header.time,
            bits: header.bits,
        },
        last_regular_bits: header.bits,
    })
}

#[test]
fn mainnet_blocks_0_to_4521_follow_each_other() {
    let run = headers_of(&framed_blocks("blocktools/1M.dat"));
    let contexts = accept_all(
        HeaderContext::genesis(Network::Mainnet),
        &run[1..],
        Network::Mainnet,
    );
    let tip = contexts.last().unwrap();
    assert_eq!(tip.height(), Height::new(4521));
    assert_eq!(
        tip.hash().to_string(),
        "00000000ac08f7d984f6b36027395e654a5f1e3bb006cd9df9c60b9897ea4c40"
    );
    // Every block so far has difficulty 1: 2^32 and 2^16 and 1 hashes.
    let expected = 4522u128 * 0x1_0001_0001;
    assert_eq!(
        tip.chain_work(),
        ChainWork::from_be_bytes({
            let mut bytes = [0; 32];
            bytes[16..].copy_from_slice(&expected.to_be_bytes());
            bytes
        })
    );
}

#[test]
fn the_alternate_mainnet_branch_crosses_its_own_retarget() {
    let run = headers_of(&framed_blocks("bitcoin-core/mainnet_alt_blocks_1_2016.dat"));
    let contexts = accept_all(
        HeaderContext::genesis(Network::Mainnet),
        &run,
        Network::Mainnet,
    );
    assert_eq!(contexts[2015].header().bits.to_consensus(), 0x1d00_ffff);
    assert_eq!(contexts[2016].header().bits.to_consensus(), 0x1c3f_ffc0);
}

#[test]
fn mainnet_runs_cross_the_first_rise_and_a_modern_retarget() {
    let early = headers("headers/mainnet_30240_32260.bin");
    let start = period_start(early[0], 30_240, ChainWork::ZERO);
    let contexts = accept_all(start, &early[1..], Network::Mainnet);
    assert_eq!(contexts[2016].header().bits.to_consensus(), 0x1d00_d86a);

    let modern = headers("headers/mainnet_822528_824560.bin");
    // Work at the ends of the period as recorded by another program.
    let first = work("0000000000000000000000000000000000000000624c5a3c876e3e6fffd9c800");
    let contexts = accept_all(
        period_start(modern[0], 822_528, first),
        &modern[1..],
        Network::Mainnet,
    );
    assert_eq!(contexts[2015].height(), Height::new(824_543));
    assert_eq!(
        contexts[2015].chain_work(),
        work("0000000000000000000000000000000000000000644fd5016eefcff2e182c740")
    );
    assert_ne!(contexts[2015].header().bits, contexts[2016].header().bits);
}

#[test]
fn a_real_stale_header_is_as_good_as_its_sibling() {
    let modern = headers("headers/mainnet_822528_824560.bin");
    let stale = headers("headers/mainnet_stale_823226.bin")[0];
    let contexts = accept_all(
        period_start(modern[0], 822_528, ChainWork::ZERO),
        &modern[1..],
        Network::Mainnet,
    );
    let parent = &contexts[823_225 - 822_528];
    let sibling = &contexts[823_226 - 822_528];
    let accepted = parent.accept(&stale, Network::Mainnet, NOW).unwrap();
    assert_ne!(accepted.hash(), sibling.hash());
    assert_eq!(accepted.chain_work(), sibling.chain_work());
}

#[test]
fn testnet3_headers_1_to_2100_stay_at_the_limit_across_a_retarget() {
    let run = headers("headers/testnet3_1_2100.bin");
    let contexts = accept_all(
        HeaderContext::genesis(Network::Testnet3),
        &run,
        Network::Testnet3,
    );
    // The first period took longer than two weeks, and targets stop at the limit.
    let limit = Network::Testnet3.pow_limit_bits();
    assert!(
        contexts
            .iter()
            .all(|context| context.header().bits == limit)
    );
    let gaps = contexts
        .windows(2)
        .filter(|pair| pair[1].header().time > pair[0].header().time + 1200)
        .count();
    assert!(gaps > 0, "the run has blocks under the 20-minute rule");
}

#[test]
fn testnet4_signet_and_regtest_runs_follow_each_other() {
    let testnet4 = headers("headers/testnet4_0_100.bin");
    assert_eq!(testnet4[0], Network::Testnet4.genesis_block().header);
    let signet = headers("headers/signet_0_2015.bin");
    assert_eq!(signet[0], Network::Signet.genesis_block().header);
    let regtest = headers_of(&hex_blocks("bitcoin-core/regtest_blocks.hex.txt"));
    for (network, run, height) in [
        (Network::Testnet4, &testnet4[1..], 100),
        (Network::Signet, &signet[1..], 2015),
        (Network::Regtest, &regtest[..], 206),
    ] {
        let contexts = accept_all(HeaderContext::genesis(network), run, network);
        assert_eq!(contexts.last().unwrap().height(), Height::new(height));
    }
}

#[test]
fn all_413_mainnet_retargets_up_to_832608_are_computed() {
    let records: Vec<(u32, Header)> = file("headers/mainnet_epoch_boundaries.bin")
        .chunks_exact(84)
        .map(|record| {
            let height = u32::from_le_bytes(record[..4].try_into().unwrap());
            (height, deserialize(&record[4..]).unwrap())
        })
        .collect();
    let mut retargets = 0;
    for window in records.windows(3) {
        let [
            (first_height, first),
            (last_height, last),
            (next_height, next),
        ] = window
        else {
            unreachable!("windows of three");
        };
        if first_height % 2016 != 0 || *last_height != first_height + 2015 {
            continue;
        }
        assert_eq!(*next_height, first_height + 2016);
        let context = HeaderContext::trusted(&TrustedHeader {
            header: *last,
            height: Height::new(*last_height),
            chain_work: ChainWork::ZERO,
            earlier_times: Vec::new(),
            period: PeriodStart {
                time: first.time,
                bits: first.bits,
            },
            last_regular_bits: last.bits,
        });
        assert_eq!(
            context.required_bits(next.time, Network::Mainnet),
            next.bits,
            "height {next_height}"
        );
        retargets += 1;
    }
    assert_eq!(retargets, 413);
}

/// Steps recorded by another implementation, with the whole state before and after.
#[test]
fn recorded_steps_lead_to_the_recorded_states() {
    let steps: Vec<serde_json::Value> =
        serde_json::from_slice(&file("headers/raito_light_chain_states.json")).unwrap();
    let number = |value: &serde_json::Value| -> u128 {
        value.as_str().map_or_else(
            || u128::from(value.as_u64().unwrap()),
            |text| text.parse().unwrap(),
        )
    };
    let work_of = |state: &serde_json::Value| {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&number(&state["total_work"]).to_be_bytes());
        ChainWork::from_be_bytes(bytes)
    };
    let small = |value: &serde_json::Value| u32::try_from(number(value)).unwrap();
    let mut checked = 0;
    for step in &steps {
        let before = &step["chain_state"];
        let fields = &step["blocks"][0]["header"];
        let parent_hash = before["best_block_hash"].as_str().unwrap().parse().unwrap();
        let header = Header {
            version: Version::from_consensus(i32::try_from(small(&fields["version"])).unwrap()),
            prev_blockhash: parent_hash,
            merkle_root: step["blocks"][0]["data"]["merkle_root"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap(),
            time: small(&fields["time"]),
            bits: CompactTarget::from_consensus(small(&fields["bits"])),
            nonce: small(&fields["nonce"]),
        };
        let mut times = RecentTimes::EMPTY;
        for time in before["prev_timestamps"].as_array().unwrap() {
            times = times.push(small(time));
        }
        let parent_target = decimal_target(before["current_target"].as_str().unwrap());
        let parent = HeaderContext {
            hash: parent_hash,
            header: Header {
                bits: parent_target.to_compact_lossy(),
                time: times.times[usize::from(times.len) - 1],
                ..header
            },
            height: Height::new(small(&before["block_height"])),
            chain_work: work_of(before),
            times,
            period: PeriodStart {
                time: small(&before["epoch_start_time"]),
                bits: parent_target.to_compact_lossy(),
            },
            last_regular_bits: parent_target.to_compact_lossy(),
        };
        let child = parent.accept(&header, Network::Mainnet, NOW).unwrap();
        let after = &step["expected"];
        assert_eq!(child.height().get(), small(&after["block_height"]));
        assert_eq!(child.chain_work(), work_of(after));
        assert_eq!(
            child.hash().to_string(),
            after["best_block_hash"].as_str().unwrap()
        );
        assert_eq!(child.period_start().time, small(&after["epoch_start_time"]));
        checked += 1;
    }
    assert_eq!(checked, 21);
}

/// Reads a decimal 256-bit number.
fn decimal_target(digits: &str) -> Target {
    let mut bytes = [0u8; 32];
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            let sum = u32::from(*byte) * 10 + carry;
            *byte = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
    }
    Target::from_be_bytes(bytes)
}

#[test]
fn a_header_of_another_parent_is_refused() {
    let genesis = HeaderContext::genesis(Network::Regtest);
    let child = genesis
        .accept(&mine_child(&genesis, 0), Network::Regtest, NOW)
        .unwrap();
    let sibling = mine_child(&genesis, 1);
    let error = child.accept(&sibling, Network::Regtest, NOW).unwrap_err();
    assert_eq!(
        error,
        HeaderError::NotAChild {
            hash: sibling.block_hash(),
            got: genesis.hash(),
            expected: child.hash()
        }
    );
}

#[test]
fn wrong_bits_and_missing_work_are_refused() {
    let run = headers_of(&framed_blocks("blocktools/1M.dat"));
    let genesis = HeaderContext::genesis(Network::Mainnet);

    let mut easier = run[1];
    easier.bits = CompactTarget::from_consensus(0x207f_ffff);
    remine(&mut easier);
    assert_eq!(
        genesis.accept(&easier, Network::Mainnet, NOW),
        Err(HeaderError::WrongBits {
            hash: easier.block_hash(),
            got: 0x207f_ffff,
            expected: 0x1d00_ffff
        })
    );

    let mut unmined = run[1];
    unmined.nonce ^= 1;
    assert_eq!(
        genesis.accept(&unmined, Network::Mainnet, NOW),
        Err(HeaderError::InsufficientWork {
            hash: unmined.block_hash(),
            bits: 0x1d00_ffff
        })
    );
}

#[test]
fn old_bits_after_a_retarget_are_refused() {
    let run = headers_of(&framed_blocks("bitcoin-core/mainnet_alt_blocks_1_2016.dat"));
    let contexts = accept_all(
        HeaderContext::genesis(Network::Mainnet),
        &run[..2015],
        Network::Mainnet,
    );
    let mut lazy = run[2015];
    lazy.bits = run[2014].bits;
    let error = contexts[2015]
        .accept(&lazy, Network::Mainnet, NOW)
        .unwrap_err();
    assert!(
        matches!(
            error,
            HeaderError::WrongBits {
                expected: 0x1c3f_ffc0,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn time_must_exceed_the_median_of_the_last_eleven() {
    let mut context = HeaderContext::genesis(Network::Regtest);
    let start = context.header().time;
    // Times need not rise: of 0, 10, 20, 15, 40, 17, 60, 18, 80, 19 and 100 the median is 19.
    for offset in [10, 20, 15, 40, 17, 60, 18, 80, 19, 100] {
        let header = mine(context.hash(), start + offset, 0);
        context = context.accept(&header, Network::Regtest, NOW).unwrap();
    }
    assert_eq!(context.median_time_past(), start + 19);
    let at_median = mine(context.hash(), start + 19, 0);
    assert_eq!(
        context.accept(&at_median, Network::Regtest, NOW),
        Err(HeaderError::TimeTooOld {
            hash: at_median.block_hash(),
            time: start + 19,
            median: start + 19
        })
    );
    let later = mine(context.hash(), start + 20, 0);
    let child = context.accept(&later, Network::Regtest, NOW).unwrap();
    // The genesis time left the window.
    assert_eq!(child.median_time_past(), start + 20);
}

#[test]
fn medians_from_plain_times_are_those_of_the_records() {
    let run = headers("headers/testnet3_1_2100.bin");
    let contexts = accept_all(
        HeaderContext::genesis(Network::Testnet3),
        &run[..40],
        Network::Testnet3,
    );
    let times: Vec<u32> = contexts
        .iter()
        .map(|context| context.header().time)
        .collect();
    for (height, context) in contexts.iter().enumerate() {
        for first in [0, height.saturating_sub(MEDIAN_TIME_SPAN - 1)] {
            let span = times[first..=height].iter().copied();
            assert_eq!(
                median_time_past(span),
                Some(context.median_time_past()),
                "{height}"
            );
        }
    }
    assert_eq!(median_time_past([]), None);
}

#[test]
fn a_header_from_the_future_is_refused_until_its_time_comes() {
    let genesis = HeaderContext::genesis(Network::Regtest);
    let header = mine_child(&genesis, 0);
    let earliest = UnixSeconds::new(u64::from(header.time) - MAX_FUTURE_SECONDS);
    let error = genesis
        .accept(
            &header,
            Network::Regtest,
            earliest.saturating_sub(UnixSeconds::new(1)),
        )
        .unwrap_err();
    assert!(matches!(error, HeaderError::TimeTooNew { .. }), "{error}");
    assert!(error.is_transient());
    assert!(genesis.accept(&header, Network::Regtest, earliest).is_ok());
}

#[test]
fn old_versions_are_refused_from_their_activation_heights() {
    // A real version 1 header, judged as if it stood at the activation height.
    let run = headers_of(&framed_blocks("blocktools/1M.dat"));
    let mut parent = accept_all(
        HeaderContext::genesis(Network::Mainnet),
        &run[1..100],
        Network::Mainnet,
    )[99];
    parent.height = Height::new(227_929);
    assert!(parent.accept(&run[100], Network::Mainnet, NOW).is_ok());
    parent.height = Height::new(227_930);
    assert_eq!(
        parent.accept(&run[100], Network::Mainnet, NOW),
        Err(HeaderError::OldVersion {
            hash: run[100].block_hash(),
            version: 1,
            height: Height::new(227_931),
            required: 2
        })
    );
}

/// A testnet4 record at the end of a period, built without mining.
fn testnet4_period_end() -> HeaderContext {
    let mut header = Network::Testnet4.genesis_block().header;
    let period = PeriodStart {
        time: header.time,
        bits: CompactTarget::from_consensus(0x1b01_0000),
    };
    header.time += 14 * 24 * 60 * 60;
    header.bits = Network::Testnet4.pow_limit_bits();
    HeaderContext::trusted(&TrustedHeader {
        header,
        height: Height::new(2015),
        chain_work: ChainWork::ZERO,
        earlier_times: Vec::new(),
        period,
        last_regular_bits: period.bits,
    })
}

#[test]
fn bip94_retargets_from_the_first_bits_of_the_period() {
    let end = testnet4_period_end();
    // A period of exactly two weeks leaves the difficulty as it is.
    assert_eq!(
        end.required_bits(end.header().time + 1, Network::Testnet4),
        CompactTarget::from_consensus(0x1b01_0000)
    );
    // Without BIP94 one minimum-difficulty block at the end resets everything.
    assert_eq!(
        end.required_bits(end.header().time + 1, Network::Testnet3),
        Network::Testnet3.pow_limit_bits()
    );
}

#[test]
fn bip94_bounds_the_time_of_a_periods_first_block() {
    let end = HeaderContext {
        // A low median leaves the bound of 600 s as the only one.
        times: RecentTimes::EMPTY.push(1),
        ..testnet4_period_end()
    };
    let mut header = *end.header();
    header.time = end.header().time - 600;
    let hash = header.block_hash();
    let judge = |header: &Header, network| end.check_time(header, hash, network, NOW);
    assert_eq!(judge(&header, Network::Testnet4), Ok(()));
    header.time -= 1;
    assert_eq!(
        judge(&header, Network::Testnet4),
        Err(HeaderError::TimeWarp {
            hash,
            time: header.time,
            earliest: end.header().time - 600
        })
    );
    assert_eq!(judge(&header, Network::Testnet3), Ok(()));
    let mid_period = HeaderContext {
        height: Height::new(2000),
        ..end
    };
    assert_eq!(
        mid_period.check_time(&header, hash, Network::Testnet4, NOW),
        Ok(())
    );
}

#[test]
fn minimum_difficulty_needs_more_than_twenty_minutes() {
    let parent = HeaderContext {
        height: Height::new(2000),
        ..testnet4_period_end()
    };
    let time = parent.header().time;
    let regular = CompactTarget::from_consensus(0x1b01_0000);
    let minimum = Network::Testnet4.pow_limit_bits();
    let cases = [
        ("at once", time, regular),
        ("after 20 minutes", time + 1200, regular),
        ("later", time + 1201, minimum),
        ("earlier than its parent", time - 5, regular),
    ];
    for (name, time, bits) in cases {
        assert_eq!(
            parent.required_bits(time, Network::Testnet4),
            bits,
            "{name}"
        );
    }
}

/// Bitcoin Core's walk for the last regular bits ends at the period's first header, whatever bits
/// that has.
#[test]
fn regular_bits_do_not_reach_into_the_period_before() {
    let end = testnet4_period_end();
    let mut first = *end.header();
    first.prev_blockhash = end.hash();
    first.time += 1;
    let start = end.child(&first, first.block_hash(), Network::Testnet3);
    assert_eq!(start.header().bits, Network::Testnet3.pow_limit_bits());
    assert_eq!(
        start.required_bits(first.time + 1, Network::Testnet3),
        Network::Testnet3.pow_limit_bits()
    );
    let inside = HeaderContext {
        height: Height::new(2000),
        ..end
    }
    .child(&first, first.block_hash(), Network::Testnet3);
    assert_eq!(
        inside.required_bits(first.time + 1, Network::Testnet3),
        CompactTarget::from_consensus(0x1b01_0000)
    );
}

#[test]
fn own_work_is_judged_without_a_parent() {
    let real = headers_of(&framed_blocks("blocktools/1M.dat"))[7];
    assert_eq!(
        check_own_work(&real, Network::Mainnet),
        Ok(real.block_hash())
    );
    let regtest = mine(
        BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros()),
        1,
        0,
    );
    assert!(matches!(
        check_own_work(&regtest, Network::Mainnet),
        Err(HeaderError::ImpossibleBits {
            bits: 0x207f_ffff,
            limit: 0x1d00_ffff,
            ..
        })
    ));
    // Zero, negative, and beyond 256 bits.
    for bits in [0, 0x1d80_ffff, 0xff00_0001, 0x2101_0000] {
        let header = Header {
            bits: CompactTarget::from_consensus(bits),
            ..real
        };
        assert!(
            matches!(
                check_own_work(&header, Network::Mainnet),
                Err(HeaderError::ImpossibleBits { .. })
            ),
            "{bits:08x}"
        );
    }
    let unmined = Header { nonce: 0, ..real };
    assert!(matches!(
        check_own_work(&unmined, Network::Mainnet),
        Err(HeaderError::InsufficientWork { .. })
    ));
}

#[test]
fn records_read_back_and_damaged_ones_are_refused() {
    let context = testnet4_period_end();
    let bytes = context.encode();
    assert_eq!(HeaderContext::decode(&bytes), Ok(context));
    assert_eq!(
        HeaderContext::decode(&bytes[1..]),
        Err(RecordError::Length {
            got: 207,
            expected: 208
        })
    );
    for count in [0, 12] {
        let mut damaged = bytes;
        damaged[192] = count;
        assert_eq!(
            HeaderContext::decode(&damaged),
            Err(RecordError::Field {
                field: "timestamp count",
                value: u64::from(count)
            })
        );
    }
}

#[test]
fn work_sums_carry_and_saturate() {
    let mut one = [0; 32];
    one[31] = 1;
    let one = ChainWork::from_be_bytes(one);
    let low_full = work(&format!("{}{}", "0".repeat(32), "f".repeat(32)));
    let carried = work(&format!("{}1{}", "0".repeat(31), "0".repeat(32)));
    assert_eq!(low_full.saturating_add(one), carried);
    assert!(low_full < carried);
    assert_eq!(ChainWork::MAX.saturating_add(one), ChainWork::MAX);
}

/// A chain of heights as its own skip list.
struct Heights;

impl SkipList for Heights {
    type Id = u32;
    fn height(&self, id: u32) -> Option<Height> {
        Some(Height::new(id))
    }
    fn parent(&self, id: u32) -> Option<u32> {
        id.checked_sub(1)
    }
    fn skip(&self, id: u32) -> Option<u32> {
        Some(skip_height(Height::new(id)).get())
    }
}

#[test]
fn skip_heights_clear_low_bits() {
    let expected = [0, 0, 0, 1, 0, 1, 4, 1, 0, 1, 8, 1, 8, 1, 12, 9, 0];
    for (height, skip) in (0u32..).zip(expected) {
        assert_eq!(skip_height(Height::new(height)).get(), skip, "{height}");
    }
}

proptest! {
    #[test]
    fn every_ancestor_is_found(from in 0u32..2_000_000, to in 0u32..2_000_000) {
        let found = Heights.ancestor(from, Height::new(to));
        prop_assert_eq!(found, (to <= from).then_some(to));
    }

    #[test]
    fn any_record_of_the_right_length_reads_or_fails_cleanly(
        bytes in proptest::collection::vec(any::<u8>(), HEADER_CONTEXT_BYTES)
    ) {
        if let Ok(context) = HeaderContext::decode(&bytes) {
            // Even a damaged record must not make a rule panic.
            let header = *context.header();
            for network in Network::ALL {
                let _ = context.required_bits(header.time, network);
                let _ = context.accept(&header, network, NOW);
            }
            prop_assert_eq!(HeaderContext::decode(&context.encode()), Ok(context));
        }
    }
}
