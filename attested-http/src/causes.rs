//! An error with all its causes, in one line.
//!
//! I/O: none.

use std::error::Error;
use std::fmt;

/// Shows an error and what caused it, with colons between them.
///
/// Control characters, which a peer may have put there, are shown as `\u{…}`.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = String::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let text = error.to_string();
            // Some errors already say their cause.
            if !told.ends_with(&text) {
                if !told.is_empty() {
                    told.push_str(": ");
                }
                told.push_str(&text);
            }
            next = error.source();
        }
        for character in told.chars() {
            match character.is_control() {
                true => write!(f, "{}", character.escape_unicode())?,
                false => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn each_cause_once_and_on_one_line() {
        let error = Outer(std::io::Error::other("in\nner"));
        assert_eq!(Causes(&error).to_string(), "outer: in\\u{a}ner");
    }
}
