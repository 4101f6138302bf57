//! Rows about headers and fees, which both interfaces have.

use super::question::Outcome::{Reject, Reply};
use super::question::Row;
use super::table::{ask, both, official, typed};

/// Asked at the tip, from which both interfaces answer, and at other tips, which only the typed knows.
pub const ROWS: &[Row] = &[
    // ----------------------------------------------------------------------------- headers
    both(
        "all headers",
        ask(
            "bitcoin_get_block_headers",
            "(record { start_height = 0; network = variant { regtest } })",
            Reply(
                "(record {
                    tip_height = 8;
                    block_headers = vec { $header0; $header1; $header2; $header3; $header4; $header5; $header6; $header7; $header8 };
                })",
            ),
        ),
        ask(
            "get_block_headers",
            "(record { select = variant { range = record { start_height = 0 } } })",
            Reply(
                "(variant { Ok = record {
                    headers = vec { $header0; $header1; $header2; $header3; $header4; $header5; $header6; $header7; $header8 };
                    first_height = 0; on_chain = true;
                    tip = $id8;
                } })",
            ),
        ),
    ),
    both(
        "headers of stable and unstable blocks",
        ask(
            "bitcoin_get_block_headers",
            "(record { start_height = 4; end_height = opt 5; network = variant { Regtest } })",
            Reply("(record { tip_height = 5; block_headers = vec { $header4; $header5 } })"),
        ),
        ask(
            "get_block_headers",
            "(record { select = variant { range = record { start_height = 4; end_height = opt 5 } } })",
            Reply("(variant { Ok = record { headers = vec { $header4; $header5 }; first_height = 4; on_chain = true; tip = $id8 } })"),
        ),
    ),
    both(
        "headers from above the tip",
        ask(
            "bitcoin_get_block_headers",
            "(record { start_height = 9; network = variant { regtest } })",
            Reject("$method failed: StartHeightDoesNotExist { requested: 9, chain_height: 8 }"),
        ),
        ask(
            "get_block_headers",
            "(record { select = variant { range = record { start_height = 9 } } })",
            Reply("(variant { Err = variant { start_height_does_not_exist = record { requested = 9; tip_height = 8 } } })"),
        ),
    ),
    both(
        "headers to above the tip",
        ask(
            "bitcoin_get_block_headers",
            "(record { start_height = 1; end_height = opt 9; network = variant { regtest } })",
            Reject("$method failed: EndHeightDoesNotExist { requested: 9, chain_height: 8 }"),
        ),
        ask(
            "get_block_headers",
            "(record { select = variant { range = record { start_height = 1; end_height = opt 9 } } })",
            Reply("(variant { Err = variant { end_height_does_not_exist = record { requested = 9; tip_height = 8 } } })"),
        ),
    ),
    both(
        "headers the wrong way round",
        ask(
            "bitcoin_get_block_headers",
            "(record { start_height = 3; end_height = opt 2; network = variant { regtest } })",
            Reject("$method failed: StartHeightLargerThanEndHeight { start_height: 3, end_height: 2 }"),
        ),
        ask(
            "get_block_headers",
            "(record { select = variant { range = record { start_height = 3; end_height = opt 2 } } })",
            Reply(
                "(variant { Err = variant { start_height_larger_than_end_height = record { start_height = 3; end_height = 2 } } })",
            ),
        ),
    ),
    typed(
        "header of a stable block by hash",
        ask(
            "get_block_headers",
            "(record { select = variant { hash = $block2 } })",
            Reply("(variant { Ok = record { headers = vec { $header2 }; first_height = 2; on_chain = true; tip = $id8 } })"),
        ),
    ),
    typed(
        "header of a branch that is not read",
        ask(
            "get_block_headers",
            "(record { select = variant { hash = $fork } })",
            Reply(
                "(variant { Ok = record {
                    headers = vec { $fork_header };
                    first_height = 8;
                    on_chain = false;
                    tip = $id8;
                } })",
            ),
        ),
    ),
    typed(
        "header of a branch that is read",
        ask(
            "get_block_headers",
            "(record { select = variant { hash = $fork }; at_tip = opt $fork })",
            Reply(
                "(variant { Ok = record {
                    headers = vec { $fork_header };
                    first_height = 8; on_chain = true;
                    tip = record { hash = $fork; height = 8 };
                } })",
            ),
        ),
    ),
    typed(
        "header of what is no hash",
        ask(
            "get_block_headers",
            "(record { select = variant { hash = $short } })",
            Reply("(variant { Err = variant { malformed_hash = record { given_bytes = 31; expected_bytes = 32 } } })"),
        ),
    ),
    // -------------------------------------------------------------------------------- fees
    both(
        "fee percentiles",
        ask(
            "bitcoin_get_current_fee_percentiles",
            "(record { network = variant { regtest } })",
            Reply("($percentiles)"),
        ),
        ask(
            "get_fee_percentiles",
            "(record {})",
            Reply("(variant { Ok = record { millisatoshi_per_vbyte = $percentiles; tip = $id8 } })"),
        ),
    ),
    typed(
        "fee percentiles at an earlier block",
        ask(
            "get_fee_percentiles",
            "(record { at_tip = opt $block5 })",
            Reply("(variant { Ok = record { millisatoshi_per_vbyte = $percentiles5; tip = $id5 } })"),
        ),
    ),
    typed(
        "fee percentiles of no transactions",
        ask(
            "get_fee_percentiles",
            "(record { at_tip = opt $block4 })",
            Reply("(variant { Ok = record { millisatoshi_per_vbyte = vec {}; tip = $id4 } })"),
        ),
    ),
    typed(
        "fee percentiles at a tip nobody knows",
        ask(
            "get_fee_percentiles",
            "(record { at_tip = opt $nowhere })",
            Reply("(variant { Err = variant { unknown_tip = record { hash = $nowhere; min_height = 4 } } })"),
        ),
    ),
    official(
        "fee percentiles by the other spelling of the network",
        ask(
            "bitcoin_get_current_fee_percentiles",
            "(record { network = variant { Regtest } })",
            Reply("($percentiles)"),
        ),
    ),
];
