//! The top of the page: what was promised and not kept, in one sentence; the faults that led to it, with their times; how to see it again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::axis::seconds;
use super::scene::Scene;
use super::spans::Span;
use super::svg::escape;
use crate::trace::{What, Who};

/// A fault that begins so often has one line.
const OFTEN: usize = 3;

/// Each check in plain English.
const CHECKS: [(&str, &str); 23] = [
    ("durability", "an acknowledged write is not in the log"),
    ("one-log", "the nodes do not share one log"),
    ("equal-state", "nodes that applied the same entries hold different states"),
    ("promise", "a node broke its word: what it had confirmed or voted is not on its disk"),
    ("one-leader", "two nodes lead in one term"),
    ("exactly-once", "a request stands in the log more often than it was sent"),
    ("replies", "a reply is not what the log makes of its request"),
    ("real-time", "the log's order contradicts real time"),
    ("honesty", "a request that was refused as not applied stands in the log"),
    ("watch", "a watched key and its transaction disagree"),
    ("expiry", "a key ended at the wrong time"),
    ("stale-read", "a read shows a state older than what was acknowledged before it"),
    ("linearizable", "no order of the operations explains what the clients saw"),
    ("log-time", "the log's time strays from real time"),
    ("incarnations", "the incarnation of a start is not above those before it"),
    ("protocol", "a server said what the protocol does not allow"),
    ("final-state", "a node ends with another content than the log's"),
    ("progress", "the cluster did not finish its work after everything was healed"),
    ("no-node-ends", "a process ended by itself"),
    ("no-panic", "something panicked"),
    ("lock-exclusion", "two clients held one lock at once"),
    ("lock-kept", "a lock was lost while it was held"),
    ("lock-token", "a lock's token did not rise"),
];

/// A check in plain English; of one without words here its name.
pub(super) fn plain(check: &str) -> &str {
    CHECKS.iter().find(|(name, _)| *name == check).map_or("a promise was broken", |(_, text)| text)
}

/// The head of the page.
pub(super) fn head(scene: &Scene<'_>, command: &str) -> String {
    let report = scene.report;
    let plan = &report.plan.head;
    let [answered, refused, open] = report.counts;
    let mut html = format!(
        "<p class=\"run\">{} &middot; seed {} &middot; {} nodes &middot; {} clients &middot; {} simulated &middot; \
         {answered} commands answered, {refused} refused, {open} open</p>\n",
        escape(&plan.scenario),
        plan.seed,
        report.plan.nodes(),
        plan.clients,
        seconds(report.simulated)
    );
    match report.violations.split_first() {
        None => html += "<h1>Every promise held.</h1>\n",
        Some((first, rest)) => {
            let (check, words) = (escape(first.check), escape(plain(first.check)));
            html.extend(["<h1><b>", &check, "</b>: ", &words, ".</h1>\n"]);
            html.extend(["<p class=\"seen\">", &escape(&first.text), "</p>\n"]);
            let others = rest.iter().map(|violation| {
                let (check, text) = (escape(violation.check), escape(&violation.text));
                format!("<li><b>{check}</b> {text}</li>\n")
            });
            if !rest.is_empty() {
                let others: String = others.take(20).collect();
                let more = format!("{} more, further from the cause", rest.len());
                html.extend(["<details><summary>", &more, "</summary>\n<ul>", &others]);
                html += "</ul></details>\n";
            }
        }
    }
    html += &story(scene);
    let command = escape(command);
    html.extend(["<p class=\"replay\"><span>Replay</span> <code>", &command, "</code></p>\n"]);
    html
}

/// The faults that began, as a list.
fn story(scene: &Scene<'_>) -> String {
    if scene.spans.is_empty() {
        return "<p>No fault began.</p>\n".to_owned();
    }
    let mut lines: Vec<(Duration, String)> = Vec::new();
    let mut told: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &scene.spans {
        told.entry(span.text.as_str()).or_default().push(span);
    }
    for spans in told.values() {
        if spans.len() >= OFTEN {
            lines.extend(often(spans));
        } else {
            lines.extend(spans.iter().map(|span| (span.from, once(span))));
        }
    }
    for event in &scene.report.events {
        let text = match (event.who, &event.what) {
            (Who::Node(_), What::Gone(how)) if how.starts_with("ended") => {
                format!("{} {}", event.who, how.trim_end_matches('.'))
            }
            (Who::World, What::Note(text)) if text.contains("healed") => text.clone(),
            _ => continue,
        };
        let (time, text) = (seconds(event.at), escape(&text));
        lines.push((event.at, format!("<li class=\"mute\"><time>{time}</time> {text}.</li>\n")));
    }
    lines.sort_by_key(|(at, _)| *at); // the sort is stable
    let lines: String = lines.into_iter().map(|(_, line)| line).collect();
    format!("<h2>What broke</h2>\n<ol>\n{lines}</ol>\n")
}

fn once(span: &Span) -> String {
    let lasts = match span.to.map(|to| to.saturating_sub(span.from)) {
        Some(lasts) if !lasts.is_zero() => format!(", for {}", seconds(lasts)),
        None if !span.is_moment() => ", to the end".to_owned(),
        _ => String::new(),
    };
    let outcome = match span.outcome.join("; ") {
        text if text.is_empty() => text,
        text => format!(" <i>{}.</i>", escape(&text)),
    };
    let (number, time, text) = (span.number, seconds(span.from), escape(&span.text));
    format!("<li value=\"{number}\"><time>{time}</time> {text}{lasts}.{outcome}</li>\n")
}

/// One line for a fault that comes again and again.
fn often(spans: &[&Span]) -> Option<(Duration, String)> {
    let (first, last) = (spans.first()?, spans.last()?);
    let (number, time, text) = (first.number, seconds(first.from), escape(&first.text));
    let (times, again) = (spans.len(), seconds(last.from));
    let line = format!(
        "<li value=\"{number}\"><time>{time}</time> {text}, {times} times, the last one at {again}.</li>\n"
    );
    Some((first.from, line))
}

/// What the signs mean.
pub(super) fn legend(scene: &Scene<'_>) -> String {
    let sign = |svg: &str, text: &str| {
        format!(
            "<span><svg width=\"22\" height=\"14\" aria-hidden=\"true\">{svg}</svg>{text}</span>\n"
        )
    };
    let lane = |role: &str, letter: &str| {
        format!(
            "<rect x=\"3\" y=\"0\" width=\"16\" height=\"14\" class=\"lane {role}\"/>\
             <text x=\"11\" y=\"11\" class=\"letter {role}\">{letter}</text>"
        )
    };
    let mut html = String::from("<p class=\"legend\">");
    if scene.has_messages() {
        html += &sign(&lane("leader", "L"), "leader");
        html += &sign(&lane("candidate", "C"), "candidate");
        html += &sign(&lane("follower", "F"), "follower");
    }
    html += &sign(&lane("up", ""), "up");
    html += &sign(&lane("down", ""), "down");
    html += &sign("<rect x=\"8\" width=\"7\" height=\"14\" class=\"wall\"/>", "cut off");
    html += &sign("<path d=\"M14 1h-5V13h5\" class=\"bracket\"/>", "other fault");
    html += &sign(
        "<rect x=\"8\" width=\"7\" height=\"14\" rx=\"1.5\" class=\"answered\"/>",
        "answered",
    );
    html += &sign("<path d=\"M8 14v-13h7v13\" class=\"unknown\"/>", "outcome unknown");
    html +=
        &sign("<path d=\"M8 1h7v12h-7zM8 3.5l7 7m0-7l-7 7\" class=\"refused\"/>", "not applied");
    if scene.has_messages() {
        html += &sign(
            "<path d=\"M1 7h12m-3 -3l6 6m0-6l-6 6\" class=\"message lost\"/>",
            "lost message",
        );
        html += &sign("<path d=\"M1 7h5\" class=\"tick\"/>", "heartbeat");
    }
    html += &sign(
        "<rect x=\"4\" y=\"4\" width=\"5\" height=\"5\" class=\"disk write\"/>\
         <rect x=\"12\" y=\"4\" width=\"5\" height=\"5\" class=\"disk sync\"/>",
        "write, sync",
    );
    html += &sign(
        "<rect x=\"1\" y=\"2\" width=\"19\" height=\"10\" class=\"log term-1\"/>",
        "log, coloured by term",
    );
    html += &sign(
        "<rect x=\"1\" y=\"2\" width=\"19\" height=\"10\" class=\"missing\"/>",
        "applied before, not again yet",
    );
    html += &sign("<path d=\"M11 0V14\" class=\"commit\"/>", "applied by any node");
    html + "</p>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every check has words of its own, and an unknown one has some.
    #[test]
    fn checks_have_words() {
        let texts: std::collections::BTreeSet<&str> =
            CHECKS.iter().map(|(name, _)| plain(name)).collect();
        assert_eq!(texts.len(), CHECKS.len());
        assert_eq!(plain("new-check"), "a promise was broken");
    }
}
