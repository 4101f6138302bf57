//! Rows about coins and balances, which both interfaces have.

use super::question::Outcome::{Reject, Reply};
use super::question::Row;
use super::table::{ask, both, typed};

/// Asked at the tip, from which both interfaces answer, and at other tips, which only the typed knows.
pub const ROWS: &[Row] = &[
    // ------------------------------------------------------------------------------- coins
    both(
        "all coins, newest first",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { regtest }; address = \"$a\" })",
            Reply(
                "(record {
                    utxos = vec {
                        record { outpoint = record { txid = $coinbase8; vout = 0 }; value = 8_000; height = 8 };
                        record { outpoint = record { txid = $coinbase7; vout = 0 }; value = 7_000; height = 7 };
                        record { outpoint = record { txid = $coinbase4; vout = 0 }; value = 4_000; height = 4 };
                        record { outpoint = record { txid = $coinbase2; vout = 0 }; value = 3_000; height = 2 };
                    };
                    tip_block_hash = $block8;
                    tip_height = 8;
                    next_page = null;
                })",
            ),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" } })",
            Reply(
                "(variant { Ok = record {
                    utxos = vec {
                        record { outpoint = record { txid = $coinbase8; vout = 0 }; value = 8_000; height = 8; coinbase = true };
                        record { outpoint = record { txid = $coinbase7; vout = 0 }; value = 7_000; height = 7; coinbase = true };
                        record { outpoint = record { txid = $coinbase4; vout = 0 }; value = 4_000; height = 4; coinbase = true };
                        record { outpoint = record { txid = $coinbase2; vout = 0 }; value = 3_000; height = 2; coinbase = true };
                    };
                    tip = $id8;
                    next_page = null;
                } })",
            ),
        ),
    ),
    both(
        "coins with as many confirmations as there can be",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { Regtest }; address = \"$a\"; filter = opt variant { MinConfirmations = 5 } })",
            Reply(
                "(record {
                    utxos = vec {
                        record { outpoint = record { txid = $coinbase4; vout = 0 }; value = 4_000; height = 4 };
                        record { outpoint = record { txid = $coinbase2; vout = 0 }; value = 3_000; height = 2 };
                        record { outpoint = record { txid = $coinbase1; vout = 0 }; value = 10_000; height = 1 };
                    };
                    tip_block_hash = $block4;
                    tip_height = 4;
                    next_page = null;
                })",
            ),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { script = $script_a }; filter = opt variant { min_confirmations = 5 } })",
            Reply(
                "(variant { Ok = record {
                    utxos = vec {
                        record { outpoint = record { txid = $coinbase4; vout = 0 }; value = 4_000; height = 4; coinbase = true };
                        record { outpoint = record { txid = $coinbase2; vout = 0 }; value = 3_000; height = 2; coinbase = true };
                        record { outpoint = record { txid = $coinbase1; vout = 0 }; value = 10_000; height = 1; coinbase = true };
                    };
                    tip = $id4;
                    next_page = null;
                } })",
            ),
        ),
    ),
    both(
        "coins with more confirmations than there can be",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { regtest }; address = \"$a\"; filter = opt variant { min_confirmations = 6 } })",
            Reject("$method failed: MinConfirmationsTooLarge { given: 6, max: 5 }"),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; filter = opt variant { min_confirmations = 6 } })",
            Reply("(variant { Err = variant { min_confirmations_too_large = record { given = 6; max = 5 } } })"),
        ),
    ),
    both(
        "the address is looked at before the confirmations",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { regtest }; address = \"nobody\"; filter = opt variant { min_confirmations = 6 } })",
            Reject("$method failed: MalformedAddress"),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"nobody\" }; filter = opt variant { min_confirmations = 6 } })",
            Reply("(variant { Err = variant { malformed_address = record { address = \"nobody\"; reason = \"base58 error: incorrect checksum: base58 checksum 0x2824ebff does not match expected 0x795c03f3\" } } })"),
        ),
    ),
    both(
        "coins of an address of another network",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { regtest }; address = \"$mainnet_address\" })",
            Reject("$method failed: AddressForWrongNetwork { expected: Regtest }"),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$mainnet_address\" } })",
            Reply(
                "(variant { Err = variant { address_for_wrong_network = record {
                    address = \"$mainnet_address\";
                    expected = variant { regtest };
                } } })",
            ),
        ),
    ),
    both(
        "a page goes on at its tip",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { regtest }; address = \"$a\"; filter = opt variant { Page = $page } })",
            Reply(
                "(record {
                    utxos = vec {
                        record { outpoint = record { txid = $coinbase4; vout = 0 }; value = 4_000; height = 4 };
                        record { outpoint = record { txid = $coinbase2; vout = 0 }; value = 3_000; height = 2 };
                    };
                    tip_block_hash = $block8;
                    tip_height = 8;
                    next_page = null;
                })",
            ),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; filter = opt variant { page = $page }; at_tip = opt $block8 })",
            Reply(
                "(variant { Ok = record {
                    utxos = vec {
                        record { outpoint = record { txid = $coinbase4; vout = 0 }; value = 4_000; height = 4; coinbase = true };
                        record { outpoint = record { txid = $coinbase2; vout = 0 }; value = 3_000; height = 2; coinbase = true };
                    };
                    tip = $id8;
                    next_page = null;
                } })",
            ),
        ),
    ),
    both(
        "the page is looked at before the address",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { regtest }; address = \"nobody\"; filter = opt variant { page = $short_page } })",
            Reject(
                "$method failed: MalformedPage { err: \"Could not parse the page, the length is 71, but the expected length is 72.\" }",
            ),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"nobody\" }; filter = opt variant { page = $short_page } })",
            Reply(
                "(variant { Err = variant { malformed_page = record {
                    reason = \"page token has 71 bytes, expected are 72; pass back the token of the previous answer unchanged\";
                } } })",
            ),
        ),
    ),
    both(
        "a page of a tip nobody knows",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { regtest }; address = \"nobody\"; filter = opt variant { page = $foreign_page } })",
            Reject(
                "$method failed: UnknownTipBlockHash { tip_block_hash: [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7] }",
            ),
        ),
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"nobody\" }; filter = opt variant { page = $foreign_page } })",
            Reply("(variant { Err = variant { unknown_tip = record { hash = $nowhere; min_height = 4 } } })"),
        ),
    ),
    typed(
        "a first page of two coins",
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; limit = opt 2 })",
            Reply(
                "(variant { Ok = record {
                    utxos = vec {
                        record { outpoint = record { txid = $coinbase8; vout = 0 }; value = 8_000; height = 8; coinbase = true };
                        record { outpoint = record { txid = $coinbase7; vout = 0 }; value = 7_000; height = 7; coinbase = true };
                    };
                    tip = $id8;
                    next_page = opt $page;
                } })",
            ),
        ),
    ),
    typed(
        "coins at an earlier block",
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; at_tip = opt $block5 })",
            Reply(
                "(variant { Ok = record {
                    utxos = vec {
                        record { outpoint = record { txid = $pay; vout = 1 }; value = 400; height = 5; coinbase = false };
                        record { outpoint = record { txid = $coinbase4; vout = 0 }; value = 4_000; height = 4; coinbase = true };
                        record { outpoint = record { txid = $coinbase2; vout = 0 }; value = 3_000; height = 2; coinbase = true };
                    };
                    tip = $id5;
                    next_page = null;
                } })",
            ),
        ),
    ),
    typed(
        "a page of no coins",
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; limit = opt 0 })",
            Reply("(variant { Err = variant { limit_out_of_range = record { given = 0; max = 1_000 } } })"),
        ),
    ),
    typed(
        "a page of too many coins",
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; limit = opt 1_001 })",
            Reply("(variant { Err = variant { limit_out_of_range = record { given = 1_001; max = 1_000 } } })"),
        ),
    ),
    typed(
        "a page at another tip than its own",
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; filter = opt variant { page = $page }; at_tip = opt $block7 })",
            Reply("(variant { Err = variant { page_for_other_tip = record { page_tip = $block8; at_tip = $block7 } } })"),
        ),
    ),
    typed(
        "coins of a script that is too long",
        ask(
            "get_utxos",
            "(record { owner = variant { script = $long_script } })",
            Reply("(variant { Err = variant { script_too_long = record { given = 10_001; max = 10_000 } } })"),
        ),
    ),
    typed(
        "coins at a block below the newest stable one",
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; at_tip = opt $block3 })",
            Reply("(variant { Err = variant { unknown_tip = record { hash = $block3; min_height = 4 } } })"),
        ),
    ),
    typed(
        "coins at what is no hash",
        ask(
            "get_utxos",
            "(record { owner = variant { address = \"$a\" }; at_tip = opt $short })",
            Reply("(variant { Err = variant { malformed_hash = record { given_bytes = 31; expected_bytes = 32 } } })"),
        ),
    ),
    // ---------------------------------------------------------------------------- balances
    both(
        "balance",
        ask(
            "bitcoin_get_balance",
            "(record { network = variant { regtest }; address = \"$a\" })",
            Reply("(22_000)"),
        ),
        ask(
            "get_balance",
            "(record { owner = variant { address = \"$a\" } })",
            Reply("(variant { Ok = record { balance = 22_000; utxo_count = 4; tip = $id8 } })"),
        ),
    ),
    both(
        "balance of outputs of several transactions",
        ask(
            "bitcoin_get_balance",
            "(record { network = variant { Regtest }; address = \"$b\"; min_confirmations = opt 0 })",
            Reply("(34_000)"),
        ),
        ask(
            "get_balance",
            "(record { owner = variant { script = $script_b }; min_confirmations = opt 0 })",
            Reply("(variant { Ok = record { balance = 34_000; utxo_count = 3; tip = $id8 } })"),
        ),
    ),
    both(
        "confirmed balance",
        ask(
            "bitcoin_get_balance",
            "(record { network = variant { regtest }; address = \"$a\"; min_confirmations = opt 2 })",
            Reply("(14_000)"),
        ),
        ask(
            "get_balance",
            "(record { owner = variant { address = \"$a\" }; min_confirmations = opt 2 })",
            Reply("(variant { Ok = record { balance = 14_000; utxo_count = 3; tip = $id7 } })"),
        ),
    ),
    both(
        "balance with more confirmations than there can be",
        ask(
            "bitcoin_get_balance",
            "(record { network = variant { regtest }; address = \"$a\"; min_confirmations = opt 4_294_967_295 })",
            Reject("$method failed: MinConfirmationsTooLarge { given: 4294967295, max: 5 }"),
        ),
        ask(
            "get_balance",
            "(record { owner = variant { address = \"$a\" }; min_confirmations = opt 4_294_967_295 })",
            Reply(
                "(variant { Err = variant { min_confirmations_too_large = record { given = 4_294_967_295; max = 5 } } })",
            ),
        ),
    ),
    both(
        "balance of no address",
        ask(
            "bitcoin_get_balance",
            "(record { network = variant { regtest }; address = \"\"; min_confirmations = opt 9 })",
            Reject("$method failed: MalformedAddress"),
        ),
        ask(
            "get_balance",
            "(record { owner = variant { address = \"\" }; min_confirmations = opt 9 })",
            Reply("(variant { Err = variant { malformed_address = record { address = \"\"; reason = \"base58 error: too short: base58 decoded data was not long enough, must be at least 4 byte: 0\" } } })"),
        ),
    ),
    both(
        "balance of an address of another network",
        ask(
            "bitcoin_get_balance",
            "(record { network = variant { regtest }; address = \"$mainnet_address\" })",
            Reject("$method failed: AddressForWrongNetwork { expected: Regtest }"),
        ),
        ask(
            "get_balance",
            "(record { owner = variant { address = \"$mainnet_address\" } })",
            Reply(
                "(variant { Err = variant { address_for_wrong_network = record {
                    address = \"$mainnet_address\";
                    expected = variant { regtest };
                } } })",
            ),
        ),
    ),
    typed(
        "balance on a branch beside the best one",
        ask(
            "get_balance",
            "(record { owner = variant { address = \"$b\" }; at_tip = opt $fork })",
            Reply(
                "(variant { Ok = record { balance = 34_080; utxo_count = 4; tip = record { hash = $fork; height = 8 } } })",
            ),
        ),
    ),
    typed(
        "balance at a tip nobody knows",
        ask(
            "get_balance",
            "(record { owner = variant { address = \"$b\" }; at_tip = opt $nowhere })",
            Reply("(variant { Err = variant { unknown_tip = record { hash = $nowhere; min_height = 4 } } })"),
        ),
    ),
];
