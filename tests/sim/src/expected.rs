//! What must have happened in a long run, by the names under which it is counted.

use crate::flaw::Flaw;
use crate::schedule::Question;

/// Groups and their kinds.
const LISTS: [(&str, &[&str]); 18] = [
    (
        "event",
        &[
            "Mine",
            "Push",
            "Flood",
            "Beats",
            "Answer",
            "Wait",
            "Stop",
            "Restart",
            "Limits",
            "Upgrade",
            "Trap",
            "Full",
            "Poison",
            "Pace",
            "Budgets",
            "Threshold",
            "Window",
            "Poor",
            "Syncing",
            "Access",
            "SecondAdapter",
            "Pulling",
            "Read",
            "Send",
            "Report",
            "Audit",
        ],
    ),
    ("mined", &["Plain", "Empty", "Surge", "Large"]),
    (
        "delivery",
        &[
            "Plain", "Reversed", "Twice", "Stripped", "Flipped", "Padded", "Short", "Misnamed",
            "Mutated",
        ],
    ),
    (
        "parts",
        &["Whole", "Cut", "Gap", "Repeated", "Resized", "First"],
    ),
    (
        "answer",
        &[
            "Blocks",
            "Pages",
            "Headers",
            "Anything",
            "Damaged",
            "Padded",
            "Reject",
            "Garbage",
            "WrongKind",
            "Malformed",
            "Lost",
            "Again",
        ],
    ),
    ("asked", &["Initial", "FollowUp"]),
    ("outcome", &["Queued", "Known", "NoRoom", "Incomplete"]),
    (
        "refused part",
        &[
            "HeaderHashMismatch",
            "InsufficientWork",
            "InvalidBlock",
            "UnexpectedOffset",
            "SizeChanged",
        ],
    ),
    ("push", &["NotAnAdapter", "SyncingDisabled"]),
    (
        "rejected",
        &[
            "UnknownParent",
            "TooNew",
            "DamagedBytes",
            "InvalidHeader",
            "InvalidBlock",
            "InvalidAncestor",
            "Quarantined",
        ],
    ),
    (
        "refused read",
        &["ApiDisabled", "NotSynced", "UnknownTip", "Official"],
    ),
    (
        "standing",
        &["Queued", "Announced", "Rejected", "Confirmed"],
    ),
    ("pulled", &["Followed", "Unclear"]),
    ("trap", &["Write", "Read", "Poison"]),
    ("failed upgrade", &["Read"]),
    ("heartbeat", &["Rescue", "Cautious"]),
    ("reorg", &["Shallow", "Deep"]),
    ("end", &["OfOneVersion", "AfterGivingUp"]),
];

/// Returns all names.
pub(crate) fn expected() -> Vec<String> {
    let fixed = LISTS
        .iter()
        .flat_map(|(group, kinds)| kinds.iter().map(move |kind| format!("{group}/{kind}")));
    let flaws = Flaw::ALL.iter().map(|flaw| format!("flaw/{flaw:?}"));
    let reads = Question::ALL
        .iter()
        .map(|question| format!("read/{question:?}"));
    let others = ["read/PageAfterPage"].map(str::to_owned);
    fixed.chain(flaws).chain(reads).chain(others).collect()
}
