//! `/`: a page for people that needs nothing but itself.
//!
//! Everything that is not this file's own text is escaped: reasons of rejections repeat what was
//! delivered. The page has a row for each figure and for each of the recent rejections, 16 at most,
//! and stays below 40 KB.

use std::fmt::{Display, Write};

use ic_stable_structures::Memory;

use crate::App;

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Millrace</title><style>\
body{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}\
th{text-align:left;font-weight:normal;padding-right:2em;vertical-align:top}\
td{overflow-wrap:anywhere}</style></head><body>\n";

const FOOT: &str =
    "<p><a href=\"/metrics\">metrics</a> <a href=\"/health\">health</a></p></body></html>\n";

impl<M: Memory> App<M> {
    /// Returns the page.
    pub(super) fn page(&self) -> String {
        let store = &self.store;
        let (tip, height) = self.tip();
        let best_header = store.tree.best_header_tip();
        let mut out = HEAD.to_owned();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<h1>Millrace on {}</h1>\n<table>",
            Escaped(store.network())
        );
        row(&mut out, "version", env!("CARGO_PKG_VERSION"));
        row(&mut out, "height", height);
        row(&mut out, "tip", tip);
        row(&mut out, "best known header", self.height(&best_header));
        row(&mut out, "synced", yes_or_no(self.is_synced()));
        row(&mut out, "newest stable block", store.anchor_height());
        let utxos = store.view(&tip).map_or(0, |view| view.utxo_count());
        row(&mut out, "unspent outputs", utxos);
        row(&mut out, "blocks queued", store.queue.len());
        row(&mut out, "blocks to connect", store.held().0);
        let is_open = self.config.access.is_api_enabled;
        row(&mut out, "coins can be asked for", yes_or_no(is_open));
        row(
            &mut out,
            "takes new blocks",
            yes_or_no(self.config.is_syncing),
        );
        out.push_str("</table>\n");
        if store.rejections.newest_first().next().is_some() {
            out.push_str("<h2>Blocks refused lately</h2>\n<table>\n");
            for rejection in store.rejections.newest_first() {
                row(&mut out, rejection.hash, &rejection.reason);
            }
            out.push_str("</table>\n");
        }
        out.push_str(FOOT);
        out
    }
}

const fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

fn row(out: &mut String, name: impl Display, value: impl Display) {
    let _ = writeln!(
        out,
        "<tr><th>{}</th><td>{}</td></tr>",
        Escaped(name),
        Escaped(value)
    );
}

/// Shows a value as text of an HTML page.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delivered_is_text_and_not_markup() {
        let text = Escaped("<script a='b' c=\"d\">&</script>").to_string();
        let expected = "&lt;script a=&#39;b&#39; c=&quot;d&quot;&gt;&amp;&lt;/script&gt;";
        assert_eq!(text, expected);
    }
}
