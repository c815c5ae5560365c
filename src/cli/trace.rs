//! `copydesk trace`: the way of events as trees.

use copydesk_actors::desk::trace::{Node, Trace};
use serde::Deserialize;

use super::client::AdminClient;
use super::output::{Output, plain, time};

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Trace>,
}

pub(super) async fn trace(of: &str, client: &AdminClient, output: &Output) -> anyhow::Result<()> {
    let mut path = vec!["traces"];
    match of.split_once('/') {
        Some((site, post)) => path.extend([site, post]),
        None => path.push(of),
    }
    let Rows { rows } = client.get(&path, &()).await?;
    if output.json {
        // An event is one; a post has several.
        match (rows.as_slice(), path.len()) {
            ([only], 2) => output.value(only)?,
            (rows, _) => output.value(&rows)?,
        }
        return Ok(());
    }
    for (place, trace) in rows.iter().enumerate() {
        if place > 0 {
            output.line("")?;
        }
        for line in lines(trace) {
            output.line(&line)?;
        }
    }
    Ok(())
}

fn lines(trace: &Trace) -> Vec<String> {
    let outcome = if trace.outcome.is_empty() { "not at its end" } else { &trace.outcome };
    let mut lines = vec![
        format!("{}  {}  {}", trace.post, trace.event_type, plain(outcome)),
        format!("event {}  position {}", trace.event_id, trace.position),
    ];
    if !trace.trace_id.is_empty() {
        lines.push(format!("trace {}", trace.trace_id));
    }
    branches(&trace.nodes, "", &mut lines);
    lines
}

fn branches(nodes: &[Node], indent: &str, lines: &mut Vec<String>) {
    for (place, node) in nodes.iter().enumerate() {
        let is_last = place + 1 == nodes.len();
        let (turn, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let took = node.took_ms.map_or_else(|| "so far".to_owned(), duration);
        let mark = if node.failed { "failed: " } else { "" };
        let name = format!("{indent}{turn}{}", plain(&node.name));
        let line =
            format!("{name:<40} {}  {took:>9}  {mark}{}", time(node.at_ms), plain(&node.said));
        lines.push(line.trim_end().to_owned());
        branches(&node.nodes, &format!("{indent}{below}"), lines);
    }
}

/// `12 ms`, `1.50 s`, `3 min 12 s`.
fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, at_ms: i64, took_ms: Option<u64>, nodes: Vec<Node>) -> Node {
        let (said, failed) = (String::new(), false);
        Node { name: name.to_owned(), at_ms, took_ms, said, failed, nodes }
    }

    #[test]
    fn a_way_is_a_tree() {
        let mut tried = node("enrich summary #1", 1_795_435_200_010, Some(1_500), Vec::new());
        (tried.failed, tried.said) = (true, "provider_error: it broke".to_owned());
        let again = node("enrich summary #2", 1_795_435_202_000, None, Vec::new());
        let trace = Trace {
            event_id: "0199".to_owned(),
            post: "news/42".to_owned(),
            event_type: "post.updated".to_owned(),
            position: 7,
            trace_id: "0af7".to_owned(),
            outcome: String::new(),
            nodes: vec![
                node("store", 1_795_435_200_000, Some(3), Vec::new()),
                node("process", 1_795_435_200_004, None, vec![tried, again]),
            ],
        };
        let expected = "\
news/42  post.updated  not at its end
event 0199  position 7
trace 0af7
├─ store                                 2026-11-23 12:00:00.000Z       3 ms
└─ process                               2026-11-23 12:00:00.004Z     so far
   ├─ enrich summary #1                  2026-11-23 12:00:00.010Z     1.50 s  failed: provider_error: it broke
   └─ enrich summary #2                  2026-11-23 12:00:02.000Z     so far";
        assert_eq!(lines(&trace).join("\n"), expected);
        assert_eq!(duration(192_000), "3 min 12 s");
    }
}
