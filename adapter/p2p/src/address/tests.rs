//! Addresses as text, in gossip, and by group.

use proptest::prelude::*;

use super::*;

/// Tor's own example of the version 3 form, from its proposal 224.
const ONION: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd";

fn parse(text: &str) -> Result<PeerAddress, AddressError> {
    PeerAddress::parse(text, Network::Mainnet)
}

#[test]
fn addresses_are_read_and_written() {
    let with_port = format!("{ONION}.onion:9000");
    let bare = format!("{ONION}.onion");
    let upper = format!("{}.ONION", ONION.to_uppercase());
    let default = format!("{ONION}.onion:8333");
    let cases = [
        ("1.2.3.4:8334", "1.2.3.4:8334"),
        ("1.2.3.4", "1.2.3.4:8333"),
        ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ("[2001:db8::1]", "[2001:db8::1]:8333"),
        ("2001:db8::1", "[2001:db8::1]:8333"),
        ("::1", "[::1]:8333"),
        ("::ffff:1.2.3.4", "1.2.3.4:8333"),
        ("[::ffff:1.2.3.4]:5", "1.2.3.4:5"),
        (with_port.as_str(), with_port.as_str()),
        (bare.as_str(), default.as_str()),
        (upper.as_str(), default.as_str()),
    ];
    for (text, expected) in cases {
        assert_eq!(
            parse(text).map(|address| address.to_string()),
            Ok(expected.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn texts_that_are_no_addresses_are_refused_with_the_reason() {
    let long = "1".repeat(1_000);
    let mistyped = format!("{}.onion", ONION.replacen('p', "q", 1));
    let version = format!("{}a.onion", &ONION[..55]);
    let cases = [
        ("", "is no address"),
        ("node.example:8333", "is no address"),
        ("1.2.3", "is no address"),
        ("1.2.3.4.5:8333", "is no address"),
        ("[2001:db8::1", "is no address"),
        ("[1.2.3.4]:8333", "is no address"),
        ("2001:db8::1]:8333", "is no address"),
        (long.as_str(), "is no address"),
        ("1.2.3.4:", "is no port"),
        ("1.2.3.4:0", "is no port"),
        ("1.2.3.4:65536", "is no port"),
        ("1.2.3.4:+80", "is no port"),
        ("1.2.3.4:http", "is no port"),
        ("expyuzz4wqqyqhjn.onion", "16 characters"),
        (".onion", "0 characters"),
        (mistyped.as_str(), "checksum"),
        (version.as_str(), "version is"),
        (
            "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscry1.onion",
            "'1'",
        ),
    ];
    for (text, reason) in cases {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn each_network_has_its_port() {
    let ports = Network::ALL.map(default_port);
    assert_eq!(ports, [8_333, 18_333, 48_333, 38_333, 18_444]);
}

#[test]
fn strangers_may_only_name_hosts_of_the_public_internet() {
    let onion = format!("{ONION}.onion");
    // Text, whether it may be dialled on mainnet, and on regtest.
    let cases = [
        ("1.2.3.4", true, true),
        ("172.32.0.1", true, true),
        ("100.128.0.1", true, true),
        ("2a01:4f8::1", true, true),
        ("2001:4860::1", true, true),
        (onion.as_str(), true, true),
        ("1.2.3.4:22", false, true),
        ("1.2.3.4:1023", false, true),
        ("1.2.3.4:1024", true, true),
        ("0.1.2.3", false, true),
        ("0.0.0.0", false, false),
        ("10.0.0.1", false, true),
        ("127.0.0.1", false, true),
        ("172.16.0.1", false, true),
        ("192.168.1.1", false, true),
        ("169.254.1.1", false, true),
        ("100.64.0.1", false, true),
        ("192.0.0.1", false, true),
        ("192.0.2.1", false, true),
        ("192.88.99.1", false, true),
        ("198.18.0.1", false, true),
        ("198.51.100.1", false, true),
        ("203.0.113.1", false, true),
        ("224.0.0.1", false, false),
        ("240.0.0.1", false, true),
        ("255.255.255.255", false, false),
        ("::", false, false),
        ("::1", false, true),
        ("64:ff9b::1.2.3.4", false, true),
        ("2001:db8::1", false, true),
        ("2001::1", false, true),
        ("2001:20::1", false, true),
        ("2002:102:304::1", false, true),
        ("3fff:fff::1", false, true),
        ("fc00::1", false, true),
        ("fd87:d87e:eb43::1", false, true),
        ("fe80::1", false, true),
        ("ff02::1", false, false),
    ];
    for (text, mainnet, regtest) in cases {
        let address = parse(text).expect(text);
        assert_eq!(address.may_be_dialled(Network::Mainnet), mainnet, "{text}");
        assert_eq!(address.may_be_dialled(Network::Regtest), regtest, "{text}");
    }
    let no_port = PeerAddress {
        port: 0,
        ..parse("1.2.3.4").expect("an address")
    };
    assert!(!no_port.may_be_dialled(Network::Regtest));
}

#[test]
fn groups_follow_the_prefix_and_not_the_port() {
    let group = |text: &str| parse(text).expect(text).group();
    assert_eq!(group("1.2.3.4:5"), group("1.2.200.1:6"));
    assert_ne!(group("1.2.3.4"), group("1.3.3.4"));
    assert_eq!(group("2a01:4f8:1::1"), group("2a01:4f8:2::2"));
    assert_ne!(group("2a01:4f8::1"), group("2a01:4f9::1"));
    assert_eq!(group(&format!("{ONION}.onion")), NetworkGroup::Onion(0x7));
}

#[test]
fn kinds_of_gossip_that_cannot_be_reached_are_left_out() {
    let kinds = [
        AddrV2::TorV2([1; 10]),
        AddrV2::I2p([1; 32]),
        AddrV2::Cjdns(Ipv6Addr::LOCALHOST),
        AddrV2::Unknown(9, vec![1, 2]),
    ];
    for kind in kinds {
        assert_eq!(PeerAddress::from_addr_v2(&kind, 8_333), None, "{kind:?}");
    }
}

#[test]
fn one_wrong_character_of_an_onion_name_is_noticed() {
    for at in 0..ONION.len() {
        for digit in "abcdefghijklmnopqrstuvwxyz234567".chars() {
            let mut name: Vec<char> = ONION.chars().collect();
            if name[at] == digit {
                continue;
            }
            name[at] = digit;
            let text = format!("{}.onion", name.into_iter().collect::<String>());
            let refused = matches!(parse(&text), Err(AddressError::Onion { .. }));
            assert!(refused, "{text}");
        }
    }
}

/// Any address, of each kind alike.
pub(crate) fn any_address() -> impl Strategy<Value = PeerAddress> {
    let host = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Host::V4(octets.into())),
        any::<[u8; 16]>()
            .prop_map(Ipv6Addr::from)
            .prop_filter("written as IPv4", |address| address
                .to_ipv4_mapped()
                .is_none())
            .prop_map(Host::V6),
        any::<[u8; 32]>().prop_map(Host::Onion),
    ];
    (host, 1..=u16::MAX).prop_map(|(host, port)| PeerAddress { host, port })
}

proptest! {
    #[test]
    fn every_address_survives_text_and_gossip(address in any_address()) {
        prop_assert_eq!(parse(&address.to_string()), Ok(address));
        let gossip = address.to_addr_v2();
        prop_assert_eq!(PeerAddress::from_addr_v2(&gossip, address.port), Some(address));
        let group = address.group();
        prop_assert_eq!(NetworkGroup::from_bytes(group.to_bytes()), Some(group));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,120}") {
        let _ = parse(&text);
    }
}
