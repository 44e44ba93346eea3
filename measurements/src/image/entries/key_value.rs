//! Lines of keys and values, as systemd-boot reads os-release and `loader.conf`.
//!
//! Mirrors systemd v257 `src/boot/util.c`, `line_get_key_value`.
//!
//! I/O: none.

/// Returns the value of the last line that begins with `key` and one of `separators`.
///
/// An empty value is none: what systemd-boot takes it for is not the same in all versions.
pub(super) fn last_value(text: &str, key: &str, separators: &[char]) -> Option<String> {
    last_text(text, key, separators).filter(|value| !value.is_empty())
}

/// As [`last_value`], but an empty value is one.
pub(super) fn last_text(text: &str, key: &str, separators: &[char]) -> Option<String> {
    let mut values = text.split(['\n', '\r']).filter_map(|line| {
        let line = line.trim_matches([' ', '\t']);
        if line.starts_with('#') {
            return None;
        }
        let (name, value) = line.split_once(separators)?;
        let value = value.trim_start_matches(separators);
        let unquoted = ['"', '\''].iter().find_map(|quote| {
            let inner = value.strip_prefix(*quote)?;
            inner.strip_suffix(*quote)
        });
        (name == key).then(|| unquoted.unwrap_or(value).to_owned())
    });
    values.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_line_counts_and_quotes_are_taken_off() {
        let text = "# ID=no\nID=debian\n VERSION_ID=\"13\"\nID='other'\nEMPTY=\n";
        assert_eq!(last_value(text, "ID", &['=']).as_deref(), Some("other"));
        assert_eq!(
            last_value(text, "VERSION_ID", &['=']).as_deref(),
            Some("13")
        );
        assert_eq!(last_value(text, "EMPTY", &['=']), None);
        assert_eq!(last_text(text, "EMPTY", &['=']).as_deref(), Some(""));
        let conf = "timeout 3\ndefault \t node-*.efi\n";
        let value = last_value(conf, "default", &[' ', '\t']);
        assert_eq!(value.as_deref(), Some("node-*.efi"));
    }
}
