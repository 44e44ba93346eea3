//! Tables, and texts that stay texts.
//!
//! Whatever comes from the database is escaped, and what a reader would not see is made visible: a
//! name must not look like another one.
//!
//! I/O: none.

use std::fmt::Write;

/// What one place of a table says.
pub(super) struct Cell {
    /// Shown as it is.
    pub(super) text: String,
    /// What is to be noticed about it, shown after it.
    pub(super) remark: String,
    class: &'static str,
}

/// A section of the page: a title, a line, and a table if there is something to show.
pub(super) struct Table<'a> {
    /// Of the section, for links to it.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) summary: String,
    /// What shows the rest, if there may be one.
    pub(super) command: Option<&'a str>,
    pub(super) columns: &'a [&'a str],
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// A text and nothing more.
    pub(super) fn plain(text: String) -> Self {
        Self {
            text,
            remark: String::new(),
            class: "",
        }
    }

    /// A text, or if there is none, what that means.
    pub(super) fn or(text: String, otherwise: &str) -> Self {
        if !text.is_empty() {
            return Self::plain(text);
        }
        Self {
            class: "quiet",
            ..Self::plain(otherwise.to_owned())
        }
    }

    /// A text that needs attention if there is a remark.
    pub(super) fn with_remark(text: String, remark: &str) -> Self {
        Self {
            text,
            remark: remark.to_owned(),
            class: if remark.is_empty() { "" } else { "warning" },
        }
    }

    /// Whether something is in use.
    pub(super) fn state(is_active: bool) -> Self {
        let (state, class) = if is_active {
            ("active", "good")
        } else {
            ("inactive", "quiet")
        };
        Self {
            class,
            ..Self::plain(state.to_owned())
        }
    }

    fn write(&self, html: &mut String, column: &str) {
        let label = escape(column);
        let _ = write!(html, "<td data-label=\"{label}\">");
        let text = escape(&self.text);
        match self.class {
            "" => html.push_str(&text),
            class => {
                let _ = write!(html, "<span class=\"{class}\">{text}");
                if !self.remark.is_empty() {
                    let _ = write!(html, " <strong>{}</strong>", escape(&self.remark));
                }
                html.push_str("</span>");
            }
        }
        html.push_str("</td>");
    }
}

impl Table<'_> {
    pub(super) fn write(&self, html: &mut String) {
        let (id, title, summary) = (self.id, escape(self.title), escape(&self.summary));
        let _ = write!(
            html,
            "<section id=\"{id}\">\n<h2>{title}</h2>\n<p>{summary}"
        );
        if let Some(command) = self.command {
            let _ = write!(html, " <code>{}</code> shows more.", escape(command));
        }
        html.push_str("</p>\n");
        if self.rows.is_empty() {
            html.push_str("</section>\n");
            return;
        }
        html.push_str("<table>\n<thead><tr>");
        for column in self.columns {
            let _ = write!(html, "<th scope=\"col\">{}</th>", escape(column));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (cell, column) in row.iter().zip(self.columns) {
                cell.write(html, column);
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody>\n</table>\n</section>\n");
    }
}

/// As HTML shows it, within an element or an attribute in quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    // Blanks at an end, or beside others, are not shown: both ends count as one.
    let mut before = ' ';
    while let Some(character) = characters.next() {
        let after = characters.peek().copied().unwrap_or(' ');
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            ' ' if before == ' ' || after == ' ' => escaped.extend(' '.escape_unicode()),
            unseen if is_unseen(unseen) => escaped.extend(unseen.escape_unicode()),
            other => escaped.push(other),
        }
        before = character;
    }
    escaped
}

/// Control characters, white space but the blank, what has no width, is filled with nothing, or
/// changes how the text around it looks or which way it runs.
pub(super) fn is_unseen(character: char) -> bool {
    character.is_control()
        || (character != ' ' && character.is_whitespace())
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
                | '\u{e0100}'..='\u{e01ef}'
        )
}
