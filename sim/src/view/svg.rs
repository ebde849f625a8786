//! Elements of SVG as text: everything that comes from a run is escaped, and numbers have one decimal at the most, so that a page is the
//! same bytes on every machine.

/// Longest text that is shown on hover, in characters.
const LONGEST: usize = 240;

/// Text for an element or an attribute. What XML forbids becomes the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

/// The beginning of a text, with an ellipsis if it is cut.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let head: String = text.chars().take(longest.saturating_sub(1)).collect();
    head + "\u{2026}"
}

/// A number of pixels.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// One element.
#[derive(Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: String,
    inside: String,
}

impl Element {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, attributes: String::new(), inside: String::new() }
    }

    /// A line.
    pub(super) fn line(from: (f64, f64), to: (f64, f64)) -> Self {
        Self::new("line").num("x1", from.0).num("y1", from.1).num("x2", to.0).num("y2", to.1)
    }

    /// A rectangle, by its corner and its size.
    pub(super) fn rect(x: f64, y: f64, width: f64, height: f64) -> Self {
        Self::new("rect").num("x", x).num("y", y).num("width", width).num("height", height)
    }

    /// A path.
    pub(super) fn path(path: &str) -> Self {
        Self::new("path").set("d", path)
    }

    /// A line of text.
    pub(super) fn text(x: f64, y: f64, text: &str) -> Self {
        let mut element = Self::new("text").num("x", x).num("y", y);
        element.inside = escape(text);
        element
    }

    pub(super) fn set(mut self, key: &str, value: &str) -> Self {
        self.attributes.extend([" ", key, "=\"", &escape(value), "\""]);
        self
    }

    pub(super) fn num(self, key: &str, value: f64) -> Self {
        self.set(key, &px(value))
    }

    pub(super) fn class(self, class: &str) -> Self {
        self.set("class", class)
    }

    /// What is shown on hover.
    pub(super) fn title(mut self, text: &str) -> Self {
        self.inside.extend(["<title>", &escape(&shortened(text, LONGEST)), "</title>"]);
        self
    }

    /// Puts another element inside.
    pub(super) fn holds(mut self, other: Self) -> Self {
        self.inside += &other.done();
        self
    }

    pub(super) fn done(self) -> String {
        let Self { name, attributes, inside } = self;
        if inside.is_empty() {
            format!("<{name}{attributes}/>")
        } else {
            format!("<{name}{attributes}>{inside}</{name}>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing that a run says can leave its element.
    #[test]
    fn text_stays_text() {
        let hostile = "<script>'a' & \"b\"\u{0}</script>";
        let safe = "&lt;script&gt;&#39;a&#39; &amp; &quot;b&quot;\u{fffd}&lt;/script&gt;";
        assert_eq!(escape(hostile), safe);
        let element = Element::text(1.0, -0.01, hostile).set("class", "\"><b>").title("a<b");
        let due = format!(
            "<text x=\"1\" y=\"0\" class=\"&quot;&gt;&lt;b&gt;\">{safe}<title>a&lt;b</title></text>"
        );
        assert_eq!(element.done(), due);
        assert_eq!(Element::new("g").holds(Element::new("path")).done(), "<g><path/></g>");
    }

    /// Long texts are cut between characters, not bytes.
    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shortened("\u{e4}\u{f6}\u{fc}", 3), "\u{e4}\u{f6}\u{fc}");
        assert_eq!(shortened("\u{e4}\u{f6}\u{fc}\u{df}", 3), "\u{e4}\u{f6}\u{2026}");
    }
}
