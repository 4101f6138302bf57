//! The source that the settings choose.

use std::future::Future;
use std::pin::Pin;

use bitcoin::BlockHash;

use super::file::FileSource;
use super::node::{NodeSource, Rest, Rpc};
use super::{BlockSource, Discovery, SourceError};
use crate::p2p::P2pHandle;

/// A source of any kind.
pub enum AnySource {
    /// Block files.
    Files(FileSource),
    /// A node's REST interface.
    Rest(NodeSource<Rest>),
    /// A node's JSON-RPC interface.
    Rpc(NodeSource<Rpc>),
    /// Bitcoin's peer-to-peer network.
    Peers(P2pHandle),
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send>>;

impl BlockSource for AnySource {
    fn reads_max(&self) -> usize {
        match self {
            Self::Files(source) => source.reads_max(),
            Self::Rest(source) => source.reads_max(),
            Self::Rpc(source) => source.reads_max(),
            Self::Peers(source) => source.reads_max(),
        }
    }

    fn discover(
        &self,
        locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send + 'static {
        let answer: Answer<Discovery> = match self {
            Self::Files(source) => Box::pin(source.discover(locator)),
            Self::Rest(source) => Box::pin(source.discover(locator)),
            Self::Rpc(source) => Box::pin(source.discover(locator)),
            Self::Peers(source) => Box::pin(source.discover(locator)),
        };
        answer
    }

    fn read(
        &self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static {
        let answer: Answer<Vec<u8>> = match self {
            Self::Files(source) => Box::pin(source.read(hash)),
            Self::Rest(source) => Box::pin(source.read(hash)),
            Self::Rpc(source) => Box::pin(source.read(hash)),
            Self::Peers(source) => Box::pin(source.read(hash)),
        };
        answer
    }
}
