//! What a node's answer to a batch says.

use serde::Deserialize;
use serde_json::Value;

use super::NodeError;

/// The code of a node that is starting.
const WARMING_UP: i64 = -28;

/// Longest part of a node's text that is repeated in an error, in characters.
const QUOTE_CHARS: usize = 300;

/// Who was asked what, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) url: &'a str,
    pub(super) method: &'static str,
}

impl Asked<'_> {
    pub(super) fn bad_answer(&self, reason: String) -> NodeError {
        NodeError::BadAnswer {
            url: self.url.to_owned(),
            method: self.method,
            reason,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    #[serde(default)]
    result: Value,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    code: i64,
    message: String,
}

/// Returns the results of a batch of `count` calls, numbered from 0, in the order of the calls.
///
/// # Errors
/// That of the first call that has one, or [`NodeError::BadAnswer`].
pub(super) fn results(
    asked: Asked<'_>,
    body: &[u8],
    count: usize,
) -> Result<Vec<Value>, NodeError> {
    let answers: Vec<Answer> = serde_json::from_slice(body).map_err(|error| {
        let text = quote(&String::from_utf8_lossy(body));
        asked.bad_answer(format!("{error} in {text:?}"))
    })?;
    let mut results = vec![None; count];
    for answer in answers {
        if let Some(fault) = answer.error {
            return Err(refused(asked, fault));
        }
        let id = answer.id.and_then(|id| usize::try_from(id).ok());
        let place = id.and_then(|id| results.get_mut(id));
        let place = place.ok_or_else(|| {
            asked.bad_answer(format!("an answer has the number {id:?}, of {count}"))
        })?;
        *place = Some(answer.result);
    }
    let found: Option<Vec<Value>> = results.into_iter().collect();
    found.ok_or_else(|| asked.bad_answer(format!("fewer answers than the {count} questions")))
}

fn refused(asked: Asked<'_>, fault: Fault) -> NodeError {
    let message = quote(&fault.message);
    if fault.code == WARMING_UP {
        return NodeError::WarmingUp {
            url: asked.url.to_owned(),
            reason: message,
        };
    }
    NodeError::Method {
        method: asked.method,
        code: fault.code,
        message,
    }
}

/// Returns a text on one line and of bounded length.
pub(super) fn quote(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(QUOTE_CHARS) {
        line.truncate(end);
        line.push('…');
    }
    line
}
