//! The DNS seeds of the networks: names whose addresses are nodes that somebody found reachable.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use millrace_core::Network;
use millrace_p2p::address::PeerAddress;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_socks::TargetAddr;
use tokio_socks::tcp::Socks5Stream;

use super::dial::Proxy;

/// How long a seed may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Addresses of one seed that are used, at most.
const ADDRESSES_MAX: usize = 256;

/// Asks for nodes that keep all blocks and serve witness data: service bits 1 and 8, in hexadecimal.
const SERVICES_PREFIX: &str = "x9";

/// Returns the names of a network's seeds, as of Bitcoin Core 31.
pub const fn dns_seeds(network: Network) -> &'static [&'static str] {
    match network {
        Network::Mainnet => &[
            "dnsseed.bluematt.me",
            "seed.bitcoin.jonasschnelli.ch",
            "seed.btc.petertodd.net",
            "seed.bitcoin.sprovoost.nl",
            "dnsseed.emzy.de",
            "seed.bitcoin.wiz.biz",
            "seed.mainnet.achownodes.xyz",
        ],
        Network::Testnet3 => &[
            "testnet-seed.bitcoin.jonasschnelli.ch",
            "seed.tbtc.petertodd.net",
            "seed.testnet.bitcoin.sprovoost.nl",
            "testnet-seed.bluematt.me",
            "seed.testnet.achownodes.xyz",
        ],
        Network::Testnet4 => &[
            "seed.testnet4.bitcoin.sprovoost.nl",
            "seed.testnet4.wiz.biz",
        ],
        Network::Signet => &[
            "seed.signet.bitcoin.sprovoost.nl",
            "seed.signet.achownodes.xyz",
        ],
        Network::Regtest => &[],
    }
}

/// Returns the port that a network's nodes listen on.
pub const fn default_port(network: Network) -> u16 {
    match network {
        Network::Mainnet => 8_333,
        Network::Testnet3 => 18_333,
        Network::Testnet4 => 48_333,
        Network::Signet => 38_333,
        Network::Regtest => 18_444,
    }
}

/// Asks all seeds at once; those that do not answer bring nothing. Through a proxy each brings one
/// address, by Tor's own extension of SOCKS5: asking the system would tell who asks.
pub(super) async fn find(names: &[String], port: u16, proxy: Option<&Proxy>) -> Vec<PeerAddress> {
    let answers = join_all(names.iter().map(|name| ask(name, port, proxy))).await;
    let found: Vec<SocketAddr> = answers.into_iter().flatten().collect();
    let addresses = found.into_iter();
    addresses
        .map(|address| PeerAddress::from((address.ip(), port)))
        .collect()
}

async fn ask(name: &str, port: u16, proxy: Option<&Proxy>) -> Vec<SocketAddr> {
    let answer = match proxy {
        None => timeout(PATIENCE, resolve(name, port)).await,
        Some(proxy) => timeout(PATIENCE, resolve_by_tor(name, port, proxy)).await,
    };
    match answer {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(reason)) => {
            tracing::warn!("DNS seed {name} does not answer: {reason}");
            Vec::new()
        }
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            tracing::warn!("DNS seed {name} does not answer within {seconds} s");
            Vec::new()
        }
    }
}

async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    // An address stands for itself; tests and private networks use them.
    let host = match name.parse::<IpAddr>() {
        Ok(_) => name.to_owned(),
        Err(_) => format!("{SERVICES_PREFIX}.{name}"),
    };
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.take(ADDRESSES_MAX).collect())
}

async fn resolve_by_tor(name: &str, port: u16, proxy: &Proxy) -> Result<Vec<SocketAddr>, String> {
    let target = (format!("{SERVICES_PREFIX}.{name}"), port);
    let answer = Socks5Stream::tor_resolve(proxy.address, target).await;
    match answer.map_err(|error| error.to_string())? {
        TargetAddr::Ip(address) => Ok(vec![address]),
        TargetAddr::Domain(..) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_among_the_seeds_stands_for_itself() {
        let names = ["127.0.0.1".to_owned(), "::1".to_owned()];
        let found = find(&names, 18_444, None).await;
        let expected = [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap()];
        let expected = expected.map(|host| PeerAddress::from((host, 18_444)));
        assert_eq!(found, expected);
    }

    #[test]
    fn public_networks_have_seeds_and_ports_of_their_own() {
        let mut ports: Vec<u16> = Network::ALL.map(default_port).to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), Network::ALL.len());
        for network in Network::ALL {
            assert_eq!(dns_seeds(network).is_empty(), network == Network::Regtest);
        }
    }
}
