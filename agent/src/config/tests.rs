//! Drop-ins: the order in which they count, what they may say, and what an error tells.

use super::*;

struct Directory(tempfile::TempDir);

impl Directory {
    fn with<const N: usize>(files: [(&str, &str); N]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    fn read(&self) -> anyhow::Result<Config> {
        Config::read(self.0.path())
    }

    /// The whole error, with its causes.
    fn error(&self) -> String {
        format!("{:#}", self.read().unwrap_err())
    }
}

const HUB: &str = "[hub]\nurl = \"https://hub.example/api\"\nprotocol = \"ratls\"\n";

#[test]
fn nothing_said_is_the_defaults() {
    let config = Directory::with([]).read().unwrap();
    assert_eq!(config.attest.listen, "[::]:7936".parse().unwrap());
    assert_eq!(config.attest.local, "127.0.0.1:14727".parse().unwrap());
    assert_eq!(config.attest.kind, Choice::Auto);
    assert!(config.attest.names.is_empty());
    assert_eq!(config.hub, None);
}

#[test]
fn a_later_file_replaces_what_it_sets_and_no_more() {
    let layer = "[hub]\nprotocol = \"atls\"\n[attest]\nnames = [\"b.example\"]\n";
    let base = format!("{HUB}[attest]\nnames = [\"a.example\"]\nlisten = \"[::1]:1\"\n");
    let config = Directory::with([("50-layer.toml", layer), ("10-base.toml", &base)]).read();
    let config = config.unwrap();
    assert_eq!(
        config.attest.names,
        [ServerName::try_from("b.example").unwrap()]
    );
    assert_eq!(config.attest.listen, "[::1]:1".parse().unwrap());
    let hub = config.hub.unwrap();
    assert_eq!(hub.protocol, HubProtocol::Atls);
    assert_eq!(hub.target, "https://hub.example/api".parse().unwrap());
    assert_eq!(hub.listen, "127.0.0.1:7937".parse().unwrap());
}

#[test]
fn only_toml_files_are_read() {
    let files = [("10-base.toml.bak", "nonsense"), ("README", "nonsense")];
    assert!(Directory::with(files).read().is_ok());
}

#[test]
fn an_unknown_word_is_named_with_file_and_line() {
    for (text, word, line) in [
        (
            "[attest]\nlisten = \"[::]:1\"\nlisen = 3\n",
            "lisen",
            "line 3",
        ),
        (
            "[hub]\nurl = \"https://h\"\ninsecure = true\n",
            "insecure",
            "line 3",
        ),
        ("\n[atest]\n", "atest", "line 2"),
    ] {
        let error = Directory::with([("50-layer.toml", text)]).error();
        for expected in ["50-layer.toml", word, line] {
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    for (text, expected) in [
        ("[attest]\nlisten = \"7936\"\n", "line 2"),
        (
            "[attest]\nlocal = \"0.0.0.0:14727\"\n",
            "attest.local is 0.0.0.0:14727",
        ),
        ("[attest]\nnames = [\"a b\"]\n", "\"a b\" is neither"),
        (
            "[attest]\ntype = \"sgx\"\n",
            "\"sgx\" is no kind of evidence",
        ),
        ("[hub]\nprotocol = \"ratls\"\n", "no file sets hub.url"),
        ("[hub]\nurl = \"https://h\"\n", "no file sets hub.protocol"),
        (
            "[hub]\nurl = \"http://h\"\nprotocol = \"ratls\"\n",
            "\"http://h\" is not https",
        ),
        (
            "[hub]\nurl = \"https://u@h\"\nprotocol = \"ratls\"\n",
            "user name",
        ),
        (
            "[hub]\nurl = \"https://h/?q\"\nprotocol = \"ratls\"\n",
            "has a query",
        ),
        ("[hub]\nurl = \"https://h\"\nprotocol = \"tls\"\n", "tls"),
        ("attest = 3\n", "line 1"),
        ("[attest\n", "line 1"),
    ] {
        let error = Directory::with([("10-base.toml", text)]).error();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let open = format!("{HUB}listen = \"192.0.2.1:7937\"\n");
    let error = Directory::with([("10-base.toml", &open)]).error();
    assert!(error.contains("hub.listen is 192.0.2.1:7937"), "{error}");
}

#[test]
fn a_directory_or_file_that_cannot_be_read_is_named() {
    let error = Config::read(Path::new("/nowhere/conf.d")).unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/conf.d"));

    let directory = Directory::with([]);
    fs::write(directory.0.path().join("10.toml"), [0xff, 0xfe]).unwrap();
    assert!(directory.error().contains("10.toml"));

    let long = " ".repeat(usize::try_from(LONGEST).unwrap() + 1);
    let error = Directory::with([("20.toml", &long)]).error();
    assert!(error.contains("20.toml is longer than"), "{error}");
}
