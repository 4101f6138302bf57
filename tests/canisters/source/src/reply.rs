//! What to answer: the blocks that follow those the asker has, within the options' bounds.

use std::collections::{HashSet, VecDeque};

use serde_bytes::ByteBuf;

use crate::blocks::{Blocks, HEADER_BYTES, Hash};
use crate::wire::{GetSuccessorsResponse, Initial, Options};

/// Headers of blocks to come in one reply.
const NEXT_HEADERS: usize = 100;

/// The answer to an initial request, and the pages that follow it.
///
/// Blocks come breadth first from the anchor: those whose parent the asker has, then their children.
/// A first block larger than a page comes alone and in pages.
pub fn successors(
    blocks: &Blocks,
    asker: &Initial,
    options: &Options,
) -> (GetSuccessorsResponse, Vec<ByteBuf>) {
    let mut wanted = missing(blocks, asker).into_iter().peekable();
    let page_bytes = options.page_bytes.max(1) as usize;
    let mut chosen = Vec::new();
    let mut bytes = 0;
    while let Some(block) = wanted.peek() {
        bytes += block.len();
        let is_full = chosen.len() >= options.reply_blocks.max(1) as usize
            || bytes > options.reply_bytes as usize
            || block.len() > page_bytes;
        if is_full && !chosen.is_empty() {
            break;
        }
        let is_large = block.len() > page_bytes;
        chosen.extend(wanted.next());
        if is_large {
            break;
        }
    }
    let next = wanted
        .take(NEXT_HEADERS)
        .map(|block| ByteBuf::from(&block[..HEADER_BYTES]))
        .collect();
    match chosen[..] {
        [large] if large.len() > page_bytes => in_pages(large, page_bytes, next),
        _ => {
            let blocks = chosen.into_iter().map(ByteBuf::from).collect();
            (GetSuccessorsResponse::Complete { blocks, next }, Vec::new())
        }
    }
}

fn in_pages(
    block: &[u8],
    page_bytes: usize,
    next: Vec<ByteBuf>,
) -> (GetSuccessorsResponse, Vec<ByteBuf>) {
    let mut pages = block.chunks(page_bytes).map(ByteBuf::from);
    let partial_block = pages.next().unwrap_or_default();
    // The protocol counts pages in one byte; a test's block and page size keep within it.
    let pages: Vec<_> = pages.take(usize::from(u8::MAX)).collect();
    let response = GetSuccessorsResponse::Partial {
        partial_block,
        next,
        remaining_follow_ups: u8::try_from(pages.len()).unwrap_or(u8::MAX),
    };
    (response, pages)
}

/// The blocks the asker lacks, parents first.
fn missing<'a>(blocks: &'a Blocks, asker: &Initial) -> Vec<&'a [u8]> {
    let processed: HashSet<&[u8]> = asker
        .processed_block_hashes
        .iter()
        .map(|hash| hash.as_slice())
        .collect();
    let mut missing = Vec::new();
    let mut queue: VecDeque<Hash> = Hash::try_from(asker.anchor.as_slice())
        .into_iter()
        .collect();
    while let Some(hash) = queue.pop_front() {
        for child in blocks.children(&hash) {
            if !processed.contains(child.as_slice()) {
                missing.extend(blocks.get(child));
            }
            queue.push_back(*child);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use candid::Reserved;
    use sha2::{Digest, Sha256};

    use super::*;

    fn hash(block: &[u8]) -> Hash {
        Sha256::digest(Sha256::digest(&block[..HEADER_BYTES])).into()
    }

    /// A chain of blocks of `size` bytes on an anchor.
    fn chain(anchor: Hash, lengths: &[usize]) -> Vec<Vec<u8>> {
        let mut parent = anchor;
        let make = |length: &usize| {
            let mut block = vec![0; *length];
            block[4..36].copy_from_slice(&parent);
            parent = hash(&block);
            block
        };
        lengths.iter().map(make).collect()
    }

    fn asker(anchor: Hash, processed: &[&Vec<u8>]) -> Initial {
        Initial {
            network: Reserved,
            anchor: ByteBuf::from(anchor),
            processed_block_hashes: processed
                .iter()
                .map(|block| ByteBuf::from(hash(block)))
                .collect(),
        }
    }

    fn loaded(chain: &[Vec<u8>]) -> Blocks {
        let mut blocks = Blocks::default();
        for block in chain {
            blocks.insert(block.clone());
        }
        blocks
    }

    #[test]
    fn what_the_asker_has_is_left_out_and_bounds_hold() {
        let chain = chain([7; 32], &[100; 5]);
        let options = Options {
            reply_bytes: 250,
            ..Options::default()
        };
        let (answer, pages) = successors(&loaded(&chain), &asker([7; 32], &[&chain[0]]), &options);
        assert_eq!(
            answer,
            GetSuccessorsResponse::Complete {
                blocks: chain[1..3].iter().cloned().map(ByteBuf::from).collect(),
                next: chain[3..]
                    .iter()
                    .map(|block| ByteBuf::from(&block[..80]))
                    .collect(),
            }
        );
        assert!(pages.is_empty());
    }

    #[test]
    fn a_large_block_comes_alone_and_in_pages_that_join() {
        let chain = chain([7; 32], &[100, 1_000, 100]);
        let options = Options {
            page_bytes: 300,
            ..Options::default()
        };
        let blocks = loaded(&chain);
        let (first, _) = successors(&blocks, &asker([7; 32], &[]), &options);
        assert!(
            matches!(first, GetSuccessorsResponse::Complete { blocks, .. } if blocks.len() == 1)
        );
        let (answer, pages) = successors(&blocks, &asker([7; 32], &[&chain[0]]), &options);
        let GetSuccessorsResponse::Partial {
            partial_block,
            remaining_follow_ups,
            ..
        } = answer
        else {
            panic!("{answer:?}");
        };
        assert_eq!(usize::from(remaining_follow_ups), pages.len());
        let joined: Vec<u8> = std::iter::once(partial_block)
            .chain(pages)
            .flatten()
            .collect();
        assert_eq!(joined, chain[1]);
    }

    #[test]
    fn framed_files_are_read_up_to_a_cut_off_record() {
        let chain = chain([7; 32], &[100, 90]);
        let mut file = Vec::new();
        for block in &chain {
            file.extend([1, 2, 3, 4]);
            file.extend(u32::try_from(block.len()).expect("small").to_le_bytes());
            file.extend(block);
        }
        file.extend([1, 2, 3, 4, 200, 0, 0, 0, 9]);
        let mut blocks = Blocks::default();
        blocks.insert_framed(&file);
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks.get(&hash(&chain[1])), Some(chain[1].as_slice()));
    }
}
