//! The table: reads that both interfaces have, reads that only the typed one has, and the rest here.

use super::question::Outcome::{Reject, Reply, Trap, Undecodable};
use super::question::{Argument, Outcome, Question, Row};
use super::{blocks, coins, headers};

/// Every row.
pub fn rows() -> Vec<&'static Row> {
    [
        coins::ROWS,
        headers::ROWS,
        blocks::ROWS,
        STATE,
        SENDING,
        REFUSED,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A row asked of both interfaces, the official one first.
pub const fn both(about: &'static str, official: Question, typed: Question) -> Row {
    Row {
        about,
        official: Some(official),
        typed: Some(typed),
    }
}

/// A row asked of the official interface.
pub const fn official(about: &'static str, question: Question) -> Row {
    Row {
        about,
        official: Some(question),
        typed: None,
    }
}

/// A row asked of the typed interface.
pub const fn typed(about: &'static str, question: Question) -> Row {
    Row {
        about,
        official: None,
        typed: Some(question),
    }
}

/// A call and what must come of it.
pub const fn ask(method: &'static str, argument: &'static str, outcome: Outcome) -> Question {
    Question {
        method,
        argument: Argument::Text(argument),
        outcome,
    }
}

/// The page `/health`.
pub const HEALTH: &str = "{\"status\":\"ok\",\"network\":\"regtest\",\"height\":8,\"tip\":\"$tip_hex\",\"pending_blocks\":0}\n";

/// The canister's own state, and its pages as queries.
const STATE: &[Row] = &[
    official(
        "summary of the best chain",
        ask(
            "get_blockchain_info",
            "()",
            Reply(
                "(record { height = 8; block_hash = $block8; timestamp = $time8; difficulty = 1; utxos_length = 11 })",
            ),
        ),
    ),
    official(
        "configuration",
        ask(
            "get_config",
            "()",
            Reply(
                "(record {
                    stability_threshold = 5;
                    network = variant { regtest };
                    chain = variant { regtest };
                    blocks_source = $management;
                    pull = variant { disabled };
                    adapters = vec { $adapter };
                    syncing = variant { enabled };
                    budgets = record {
                        instructions_per_heartbeat = 10_000_000_000;
                        stable_pages_per_heartbeat = 100_000;
                    };
                    fees = record {
                        get_utxos_base = 0;
                        get_utxos_cycles_per_ten_instructions = 0;
                        get_utxos_maximum = 0;
                        get_balance = 0;
                        get_balance_maximum = 0;
                        get_current_fee_percentiles = 0;
                        get_current_fee_percentiles_maximum = 0;
                        send_transaction_base = 0;
                        send_transaction_per_byte = 0;
                        get_block_headers_base = 0;
                        get_block_headers_cycles_per_ten_instructions = 0;
                        get_block_headers_maximum = 0;
                    };
                    api_access = variant { enabled };
                    disable_api_if_not_fully_synced = variant { enabled };
                    watchdog_canister = null;
                    burn_cycles = variant { disabled };
                    lazily_evaluate_fee_percentiles = variant { disabled };
                    block_validation = variant { proof_of_work };
                    stable_pages_per_ten_minutes = 4_194_304;
                    cycles_reserve = 100_000_000_000;
                    utxo_set_commitment = variant { disabled };
                })",
            ),
        ),
    ),
    typed(
        "state of the canister",
        ask(
            "get_status",
            "(null)",
            Reply(
                "(variant { Ok = record {
                    version = \"$version\";
                    chain = variant { regtest };
                    tip = $id8;
                    chain_work = \"0000000000000000000000000000000000000000000000000000000000000012\";
                    anchor = $id4;
                    best_header = $id8;
                    synced = true;
                    syncing = variant { enabled };
                    api_access = variant { enabled };
                    utxos_length = 11;
                    unstable_blocks = 5;
                    queued_blocks = 0;
                    pending_blocks = 0;
                    outbox_transactions = 0;
                    outbox_bytes = 0;
                    limits = record {
                        instructions_per_heartbeat = 0; stable_pages_per_heartbeat = 0;
                        stable_pages_per_ten_minutes = 0; cycles_reserve = 0;
                        free_blocks = 0; free_bytes = 0;
                        last_heartbeat_instructions = 0; last_heartbeat_stable_pages = 0;
                        stable_pages_in_ten_minutes = 0;
                        low_on_cycles = false; low_on_memory = false; cautious = false;
                        instructions_hit = 0; stable_pages_hit = 0; ten_minutes_hit = 0;
                        low_on_cycles_heartbeats = 0; memory_refusals = 0; no_room = 0;
                    };
                    utxo_set_commitment = variant { off };
                } })",
            ),
        ),
    ),
    typed(
        "a commitment that nobody asked for",
        ask(
            "get_utxo_set_info",
            "(opt record { height = opt 4 })",
            Reply("(variant { Err = variant { commitment_off } })"),
        ),
    ),
    typed(
        "state at a tip nobody knows",
        ask(
            "get_status",
            "(opt record { at_tip = opt $nowhere })",
            Reply("(variant { Err = variant { unknown_tip = record { hash = $nowhere; min_height = 4 } } })"),
        ),
    ),
    typed(
        "ends of branches beside a tip nobody knows",
        ask(
            "get_chain_tips",
            "(opt record { at_tip = opt $nowhere })",
            Reply("(variant { Err = variant { unknown_tip = record { hash = $nowhere; min_height = 4 } } })"),
        ),
    ),
    typed(
        "ends of all branches",
        ask(
            "get_chain_tips",
            "(null)",
            Reply(
                "(variant { Ok = record {
                    tips = vec {
                        record { block = $id8; status = variant { active }; branch_length = 0 };
                        record {
                            block = record { hash = $fork; height = 8 };
                            status = variant { connected };
                            branch_length = 1;
                        };
                    };
                    omitted = 0;
                    tip = $id8;
                } })",
            ),
        ),
    ),
    official(
        "a page",
        ask(
            "http_request",
            "(record { url = \"/health?x\"; method = \"GET\"; body = blob \"\"; headers = vec {} })",
            Reply(
                "(record {
                    body = $health;
                    headers = vec {
                        record { \"Content-Type\"; \"application/json\" };
                        record { \"Content-Length\"; \"$health_size\" };
                    };
                    status_code = 200;
                })",
            ),
        ),
    ),
    official(
        "a page there is not",
        ask(
            "http_request",
            "(record { url = \"/metric\"; method = \"GET\"; body = blob \"\"; headers = vec {} })",
            Reply(
                "(record {
                    body = blob \"Not found.\";
                    headers = vec {
                        record { \"Content-Type\"; \"text/plain\" };
                        record { \"Content-Length\"; \"10\" };
                    };
                    status_code = 404;
                })",
            ),
        ),
    ),
];

/// Transactions that are none, and those the canister does not know.
const SENDING: &[Row] = &[
    official(
        "sending what is no transaction",
        ask(
            "bitcoin_send_transaction",
            "(record { network = variant { regtest }; transaction = blob \"\\01\\02\\03\" })",
            Reject("$method failed: MalformedTransaction"),
        ),
    ),
    typed(
        "sending what is no transaction",
        ask(
            "send_transaction",
            "(record { transaction = blob \"\\01\\02\\03\" })",
            Reply(
                "(variant { Err = variant { malformed_transaction = record { reason = \"IO error: I/O Error: UnexpectedEof\" } } })",
            ),
        ),
    ),
    typed(
        "status of a transaction nobody sent",
        ask(
            "get_transaction_status",
            "(record { txid = $nowhere })",
            Reply(
                "(variant { Err = variant { unknown_transaction = record { txid = $nowhere } } })",
            ),
        ),
    ),
    typed(
        "status of what is no id",
        ask(
            "get_transaction_status",
            "(record { txid = $short })",
            Reply(
                "(variant { Err = variant { malformed_hash = record { given_bytes = 31; expected_bytes = 32 } } })",
            ),
        ),
    ),
    typed(
        "the outbox is for adapters",
        ask(
            "get_transactions_to_relay",
            "(record {})",
            Reply("(variant { Err = variant { not_an_adapter = record { caller = $caller } } })"),
        ),
    ),
    typed(
        "what to feed is for adapters",
        ask(
            "feed_state",
            "(record { locator = vec {} })",
            Reply("(variant { Err = variant { not_an_adapter = record { caller = $caller } } })"),
        ),
    ),
];

/// Calls that end in a trap: the caller may not make them, or means another network or method.
const REFUSED: &[Row] = &[
    official(
        "changing the configuration",
        ask(
            "set_config",
            "(record {})",
            Trap("Only controllers can call set_config"),
        ),
    ),
    official(
        "another network",
        ask(
            "bitcoin_get_balance",
            "(record { network = variant { mainnet }; address = \"$a\" })",
            Trap("Network must be regtest. Found mainnet"),
        ),
    ),
    official(
        "another network in capitals",
        ask(
            "bitcoin_get_utxos",
            "(record { network = variant { Mainnet }; address = \"$a\" })",
            Trap("Network must be regtest. Found mainnet"),
        ),
    ),
    official(
        "another test network",
        ask(
            "bitcoin_get_current_fee_percentiles",
            "(record { network = variant { testnet } })",
            Trap("Network must be regtest. Found testnet"),
        ),
    ),
    official(
        "another test network in capitals",
        ask(
            "bitcoin_get_block_headers",
            "(record { start_height = 0; network = variant { Testnet } })",
            Trap("Network must be regtest. Found testnet"),
        ),
    ),
    official(
        "sending to another network",
        ask(
            "bitcoin_send_transaction",
            "(record { network = variant { Testnet }; transaction = blob \"\" })",
            Trap("Network must be regtest. Found testnet"),
        ),
    ),
    official(
        "no argument",
        undecodable("bitcoin_get_balance", b"DIDL\0\0"),
    ),
    typed("no argument", undecodable("get_balance", b"DIDL\0\0")),
    typed("no Candid", undecodable("get_utxos", b"no Candid")),
    official(
        "a number",
        undecodable("bitcoin_get_utxos", b"DIDL\0\x01\x7d\x2a"),
    ),
];

const fn undecodable(method: &'static str, bytes: &'static [u8]) -> Question {
    Question {
        method,
        argument: Argument::Bytes(bytes),
        outcome: Undecodable,
    }
}
