//! Rows that only the typed interface has: batches, blocks, transactions and proofs.

use super::question::Outcome::Reply;
use super::question::Row;
use super::table::{ask, typed};

/// Asked of blocks that are held, and of those that are not.
pub const ROWS: &[Row] = &[
    // ----------------------------------------------------------------------------- batches
    typed(
        "balances at one tip",
        ask(
            "get_balances",
            "(record { owners = vec {
                variant { address = \"$a\" };
                variant { script = $script_b };
                variant { address = \"$c\" };
                variant { script = blob \"\\51\" };
            } })",
            Reply(
                "(variant { Ok = record {
                    balances = vec {
                        record { balance = 22_000; utxo_count = 4 };
                        record { balance = 34_000; utxo_count = 3 };
                        record { balance = 107; utxo_count = 3 };
                        record { balance = 0; utxo_count = 0 };
                    };
                    tip = $id8;
                } })",
            ),
        ),
    ),
    typed(
        "confirmed balances",
        ask(
            "get_balances",
            "(record { owners = vec { variant { address = \"$b\" } }; min_confirmations = opt 5 })",
            Reply(
                "(variant { Ok = record { balances = vec { record { balance = 20_000; utxo_count = 1 } }; tip = $id4 } })",
            ),
        ),
    ),
    typed(
        "balances of too many owners",
        ask(
            "get_balances",
            "(record { owners = $many_owners })",
            Reply("(variant { Err = variant { too_many_items = record { given = 101; max = 100 } } })"),
        ),
    ),
    typed(
        "balances, one of them of no address",
        ask(
            "get_balances",
            "(record { owners = vec { variant { address = \"$a\" }; variant { script = $long_script } } })",
            Reply("(variant { Err = variant { script_too_long = record { given = 10_001; max = 10_000 } } })"),
        ),
    ),
    typed(
        "outputs unspent, spent and unknown",
        ask(
            "get_outpoints",
            "(record { outpoints = vec {
                record { txid = $coinbase8; vout = 0 };
                record { txid = $coinbase1; vout = 0 };
                record { txid = $nowhere; vout = 0 };
                record { txid = $pay; vout = 0 };
            } })",
            Reply(
                "(variant { Ok = record {
                    outputs = vec {
                        opt record { value = 8_000; script = $script_a; height = 8; confirmations = 1; coinbase = true };
                        null;
                        null;
                        opt record { value = 9_000; script = $script_b; height = 5; confirmations = 4; coinbase = false };
                    };
                    tip = $id8;
                } })",
            ),
        ),
    ),
    typed(
        "an output before it was spent",
        ask(
            "get_outpoints",
            "(record { outpoints = vec { record { txid = $coinbase1; vout = 0 } }; at_tip = opt $block4 })",
            Reply(
                "(variant { Ok = record {
                    outputs = vec {
                        opt record { value = 10_000; script = $script_a; height = 1; confirmations = 4; coinbase = true };
                    };
                    tip = $id4;
                } })",
            ),
        ),
    ),
    typed(
        "too many outputs",
        ask(
            "get_outpoints",
            "(record { outpoints = $many_outpoints })",
            Reply("(variant { Err = variant { too_many_items = record { given = 101; max = 100 } } })"),
        ),
    ),
    typed(
        "an output of what is no id",
        ask(
            "get_outpoints",
            "(record { outpoints = vec { record { txid = $short; vout = 0 } } })",
            Reply("(variant { Err = variant { malformed_hash = record { given_bytes = 31; expected_bytes = 32 } } })"),
        ),
    ),
    // ------------------------------------------------------------------------------ blocks
    typed(
        "a block by height",
        ask(
            "get_block",
            "(record { select = variant { height = 5 } })",
            Reply(
                "(variant { Ok = record { block = $id5; size = $block5_size; offset = 0; bytes = $block5_bytes; tip = $id8 } })",
            ),
        ),
    ),
    typed(
        "some bytes of a block by hash",
        ask(
            "get_block",
            "(record { select = variant { hash = $block5 }; offset = opt 100; max_bytes = opt 50 })",
            Reply(
                "(variant { Ok = record { block = $id5; size = $block5_size; offset = 100; bytes = $block5_some_bytes; tip = $id8 } })",
            ),
        ),
    ),
    typed(
        "bytes after the end of a block",
        ask(
            "get_block",
            "(record { select = variant { hash = $block5 }; offset = opt $block5_size })",
            Reply(
                "(variant { Err = variant { offset_out_of_range = record { given = $block5_size; size = $block5_size } } })",
            ),
        ),
    ),
    typed(
        "a block above the tip",
        ask(
            "get_block",
            "(record { select = variant { height = 9 } })",
            Reply("(variant { Err = variant { start_height_does_not_exist = record { requested = 9; tip_height = 8 } } })"),
        ),
    ),
    typed(
        "a stable block",
        ask(
            "get_block",
            "(record { select = variant { height = 2 } })",
            Reply("(variant { Err = variant { block_not_held = record { hash = $block2; min_height = 5 } } })"),
        ),
    ),
    typed(
        "a block nobody knows",
        ask(
            "get_block",
            "(record { select = variant { hash = $nowhere } })",
            Reply("(variant { Err = variant { unknown_block = record { hash = $nowhere } } })"),
        ),
    ),
    typed(
        "a block of what is no hash",
        ask(
            "get_block",
            "(record { select = variant { hash = $short } })",
            Reply("(variant { Err = variant { malformed_hash = record { given_bytes = 31; expected_bytes = 32 } } })"),
        ),
    ),
    // ------------------------------------------------------------------------ transactions
    typed(
        "a transaction by its id alone",
        ask(
            "get_transaction",
            "(record { txid = $pay })",
            Reply(
                "(variant { Ok = record { transaction = $pay_bytes; block = $id5; index = 1; confirmations = 4; tip = $id8 } })",
            ),
        ),
    ),
    typed(
        "a transaction of a named block",
        ask(
            "get_transaction",
            "(record { txid = $fork_coinbase; block = opt $fork; at_tip = opt $fork })",
            Reply(
                "(variant { Ok = record {
                    transaction = $fork_coinbase_bytes;
                    block = record { hash = $fork; height = 8 };
                    index = 0;
                    confirmations = 1;
                    tip = record { hash = $fork; height = 8 };
                } })",
            ),
        ),
    ),
    typed(
        "a transaction of a branch that is not read",
        ask(
            "get_transaction",
            "(record { txid = $fork_coinbase; block = opt $fork })",
            Reply("(variant { Err = variant { unknown_block = record { hash = $fork } } })"),
        ),
    ),
    typed(
        "a transaction nobody knows",
        ask(
            "get_transaction",
            "(record { txid = $nowhere })",
            Reply("(variant { Err = variant { transaction_not_found = record { txid = $nowhere; min_height = 5 } } })"),
        ),
    ),
    typed(
        "a transaction of another block",
        ask(
            "get_transaction",
            "(record { txid = $pay; block = opt $block6 })",
            Reply("(variant { Err = variant { transaction_not_found = record { txid = $pay; min_height = 5 } } })"),
        ),
    ),
    typed(
        "a transaction of a stable block",
        ask(
            "get_transaction",
            "(record { txid = $coinbase2; block = opt $block2 })",
            Reply("(variant { Err = variant { block_not_held = record { hash = $block2; min_height = 5 } } })"),
        ),
    ),
    typed(
        "a transaction that no response holds",
        ask(
            "get_transaction",
            "(record { txid = $large })",
            Reply("(variant { Err = variant { transaction_too_large = record { size = $large_size; max = 1_900_000 } } })"),
        ),
    ),
    typed(
        "a transaction of what is no id",
        ask(
            "get_transaction",
            "(record { txid = $short })",
            Reply("(variant { Err = variant { malformed_hash = record { given_bytes = 31; expected_bytes = 32 } } })"),
        ),
    ),
    // ------------------------------------------------------------------------------ proofs
    typed(
        "a merkle block",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { merkle_block = $proof } })",
            Reply(
                "(variant { Ok = record { block = $id5; position = 1; confirmations = 4; transactions = opt 2; tip = $id8 } })",
            ),
        ),
    ),
    typed(
        "a branch in a held block",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { branch = record {
                block = $block5; position = 1; siblings = vec { $coinbase5 };
            } } })",
            Reply(
                "(variant { Ok = record { block = $id5; position = 1; confirmations = 4; transactions = opt 2; tip = $id8 } })",
            ),
        ),
    ),
    typed(
        "a branch in a stable block",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $coinbase2; proof = variant { branch = record {
                block = $block2; position = 0; siblings = vec {};
            } } })",
            Reply(
                "(variant { Ok = record { block = $id2; position = 0; confirmations = 7; transactions = opt 1; tip = $id8 } })",
            ),
        ),
    ),
    typed(
        "a branch beside the best one",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $fork_coinbase; proof = variant { branch = record {
                block = $fork; position = 0; siblings = vec {};
            } } })",
            Reply(
                "(variant { Ok = record {
                    block = record { hash = $fork; height = 8 };
                    position = 0;
                    confirmations = 0;
                    transactions = opt 1;
                    tip = $id8;
                } })",
            ),
        ),
    ),
    typed(
        "a merkle block for another transaction",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $coinbase5; proof = variant { merkle_block = $proof } })",
            Reply("(variant { Err = variant { transaction_not_proven = record { txid = $coinbase5 } } })"),
        ),
    ),
    typed(
        "a merkle block with a byte too many",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { merkle_block = $longer_proof } })",
            Reply(
                "(variant { Err = variant { malformed_proof = record {
                    reason = \"merkle block ends after $proof_size bytes, 1 more follow\";
                } } })",
            ),
        ),
    ),
    typed(
        "more bytes than a merkle block has",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { merkle_block = $too_long_proof } })",
            Reply("(variant { Err = variant { proof_too_large = record { given = 600_001; max = 600_000 } } })"),
        ),
    ),
    typed(
        "a branch of another length than the block's",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { branch = record {
                block = $block5; position = 1; siblings = vec {};
            } } })",
            Reply(
                "(variant { Err = variant { proof_fails = record {
                    reason = \"branch has 0 siblings, in a block of 2 transactions it has 1\";
                } } })",
            ),
        ),
    ),
    typed(
        "a branch of more levels than there are",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { branch = record {
                block = $block5; position = 1; siblings = $many_siblings;
            } } })",
            Reply("(variant { Err = variant { too_many_items = record { given = 16; max = 15 } } })"),
        ),
    ),
    typed(
        "a branch in a block nobody knows",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { branch = record {
                block = $nowhere; position = 0; siblings = vec {};
            } } })",
            Reply("(variant { Err = variant { unknown_block = record { hash = $nowhere } } })"),
        ),
    ),
    typed(
        "a branch of what is no hash",
        ask(
            "verify_tx_inclusion",
            "(record { txid = $pay; proof = variant { branch = record {
                block = $block5; position = 1; siblings = vec { $short };
            } } })",
            Reply("(variant { Err = variant { malformed_hash = record { given_bytes = 31; expected_bytes = 32 } } })"),
        ),
    ),
];
