//! Drop-ins: the order in which they count, what they may say, and what an error tells.

use super::node::Keep;
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

const BOOT: &str = r#"
[attest]
identity = "/run/cvm-agent/identity/attest.pem"
[configuration]
path = "/api/configuration"
[configuration.required]
dns_name = "name"
[identity]
names = ["dns_name"]
[identity.copies.attest]
file = "/run/cvm-agent/identity/attest.pem"
owner = "cvm-attest"
reload = "cvm-attest.service"
[registration]
path = "/api/register"
service = "instance"
"#;

#[test]
fn the_boot_is_told_by_base_and_layer_together() {
    let base = format!("{HUB}{BOOT}");
    let layer = "[configuration]\nrefresh_seconds = 5\n[configuration.required]\n\"disk.key\" = \"text\"\n\
                 [identity.copies.proxy]\nfile = \"/run/proxy.pem\"\nowner = \"root\"\n\
                 [registration]\nchallenge = \"/api/challenge\"\n";
    let config = Directory::with([("10-base.toml", &base), ("50-layer.toml", layer)]).read();
    let boot = config.unwrap().boot;
    assert!(!boot.clock.danger_unsynchronised);
    assert_eq!(boot.identity.keep, Keep::default());
    let configuration = boot.configuration.unwrap();
    assert_eq!(configuration.refresh.as_secs(), 5);
    let required: Vec<_> = configuration.required.keys().collect();
    assert_eq!(required, ["disk.key", "dns_name"]);
    assert_eq!(boot.identity.names, ["dns_name"]);
    let owners: Vec<_> = boot.identity.copies.iter().map(|it| &it.owner).collect();
    assert_eq!(owners, ["cvm-attest", "root"]);
    let registration = boot.registration.unwrap();
    assert_eq!(registration.challenge.unwrap(), "/api/challenge");
}

#[test]
fn templates_switches_and_signers_add_up() {
    let base =
        format!("{HUB}{BOOT}[switches.one]\nunit = \"one.service\"\nwhen = \"one.enabled\"\n");
    let layer = "[templates]\n[switches.one]\ndefault = true\n\
                 [switches.two]\nunit = \"two@x.socket\"\nwhen = \"two\"\ndefault = false\n\
                 [registration.signers.two]\nfile = \"/run/two/signer\"\nowner = \"two\"\n";
    let config = Directory::with([("10-base.toml", &base), ("50-layer.toml", layer)]).read();
    let boot = config.unwrap().boot;
    let directory = boot.templates.unwrap().directory;
    assert_eq!(directory, Path::new("/usr/share/cvm-agent/templates"));
    let one = &boot.switches["one"];
    assert_eq!((one.unit.as_str(), one.default), ("one.service", true));
    let optional: Vec<_> = boot.configuration.unwrap().optional.into_iter().collect();
    let boolean = |key: &str| (key.to_owned(), node::Kind::Boolean);
    assert_eq!(optional, [boolean("one.enabled"), boolean("two")]);
    assert_eq!(boot.registration.unwrap().signers["two"].owner, "two");
    assert_eq!(Directory::with([]).read().unwrap().boot.templates, None);
}

#[test]
fn templates_switches_and_signers_that_cannot_be_are_refused_and_named() {
    const SWITCH: &str =
        "[switches.one]\nunit = \"one.service\"\nwhen = \"one.enabled\"\ndefault = true\n";
    const SIGNER: &str = "[registration.signers.one]\nfile = \"/run/one\"\nowner = \"one\"\n";
    for (from, to, expected) in [
        (
            "[templates]\n",
            "[templates]\ndirectory = \"x\"\n",
            "templates.directory is x",
        ),
        (
            "[templates]\n",
            "[templates]\ndirectory = \"/a/../b\"\n",
            "templates.directory is /a/../b",
        ),
        ("[templates]\n", "[templates]\nfolder = \"/a\"\n", "folder"),
        (
            "unit = \"one.service\"\n",
            "",
            "no file sets switches.one.unit",
        ),
        (
            "when = \"one.enabled\"\n",
            "",
            "no file sets switches.one.when",
        ),
        ("default = true\n", "", "no file sets switches.one.default"),
        ("\"one.service\"", "\"one\"", "switches.one.unit is \"one\""),
        (
            "\"one.service\"",
            "\"--now.service\"",
            "switches.one.unit is \"--now.service\"",
        ),
        (
            "\"one.service\"",
            "\"*.service\"",
            "switches.one.unit is \"*.service\"",
        ),
        (
            "\"one.service\"",
            "\"a b.service\"",
            "switches.one.unit is \"a b.service\"",
        ),
        (
            "\"one.enabled\"",
            "\"one..enabled\"",
            "switches.one.when is \"one..enabled\"",
        ),
        ("default = true\n", "default = \"on\"\n", "line"),
        (
            "[switches.one]",
            "[switches.two]\nunit = \"one.service\"\nwhen = \"two\"\ndefault = true\n[switches.one]",
            "switches.one and switches.two are both for one.service",
        ),
        (
            "signers.one]",
            "signers.instance]",
            "registration.signers has \"instance\"",
        ),
        (
            "signers.one]",
            "signers.\"a/b\"]",
            "registration.signers has \"a/b\"",
        ),
        (
            "\"/run/one\"",
            "\"/var/one\"",
            "registration.signers.one.file is /var/one",
        ),
        (
            "\"/run/one\"",
            "\"/run/../etc/one\"",
            "registration.signers.one.file is /run/../etc/one",
        ),
        ("owner = \"one\"\n", "", "owner"),
    ] {
        let text = format!("{HUB}{BOOT}[templates]\n{SWITCH}{SIGNER}");
        Directory::with([("10-base.toml", text.as_str())])
            .read()
            .unwrap();
        assert!(text.contains(from), "{from}");
        let error =
            Directory::with([("10-base.toml", text.replacen(from, to, 1).as_str())]).error();
        assert!(error.contains(expected), "{to:?}: {error}");
    }
}

#[test]
fn roots_of_a_later_file_replace_those_of_another_kind() {
    let base = format!("{HUB}roots = \"/etc/roots.pem\"\n");
    let layer = "[hub]\nroots_pem = \"pem\"\n[clock]\ndanger_unsynchronised = true\n";
    let config =
        Directory::with([("10-base.toml", base.as_str()), ("90-layer.toml", layer)]).read();
    let config = config.unwrap();
    assert_eq!(config.hub.unwrap().roots, Roots::Pem("pem".to_owned()));
    assert!(config.boot.clock.danger_unsynchronised);
    let files = [("10-base.toml", layer), ("90-layer.toml", base.as_str())];
    let config = Directory::with(files).read().unwrap();
    assert_eq!(
        config.hub.unwrap().roots,
        Roots::File("/etc/roots.pem".into())
    );
    let both = format!("{base}roots_pem = \"pem\"\n");
    let error = Directory::with([("10-base.toml", both.as_str())]).error();
    assert!(error.contains("10-base.toml"), "{error}");
    assert!(error.contains("hub.roots and hub.roots_pem"), "{error}");
}

#[test]
fn what_the_boot_cannot_do_is_refused_and_named() {
    for (from, to, expected) in [
        (HUB, "", "but no [hub] to ask"),
        (
            "protocol = \"ratls\"\n",
            "protocol = \"ratls\"\nopen = [\"builders\"]\n",
            "hub.open has \"builders\"",
        ),
        (
            "protocol = \"ratls\"\n",
            "protocol = \"ratls\"\nopen = [\"/\"]\n",
            "hub.open has \"/\"",
        ),
        (
            "path = \"/api/configuration\"\n",
            "",
            "no file sets configuration.path",
        ),
        (
            "\"/api/configuration\"",
            "\"api\"",
            "configuration.path is \"api\"",
        ),
        (
            "\"/api/configuration\"",
            "\"/a?b\"",
            "configuration.path is \"/a?b\"",
        ),
        (
            "\"/api/register\"",
            "\"/a b\"",
            "registration.path is \"/a b\"",
        ),
        (
            "service = \"instance\"",
            "",
            "no file sets registration.service",
        ),
        ("\"instance\"", "\"a/b\"", "registration.service is \"a/b\""),
        ("\"name\"", "\"secret\"", "secret"),
        ("\"name\"", "\"text\"", "identity.names has \"dns_name\""),
        (
            "names = [\"dns_name\"]",
            "names = [\"a\"]",
            "identity.names has \"a\"",
        ),
        (
            "\"/api/register\"",
            "\"/api/\"",
            "registration.path is \"/api/\"",
        ),
        (
            "\"/api/register\"",
            "\"/a<b\"",
            "registration.path is \"/a<b\"",
        ),
        (
            "[identity.copies.attest]",
            "[identity.copies.b]\nfile = \"/run/cvm-agent/identity/attest.pem\"\nowner = \"b\"\n[identity.copies.attest]",
            "two of identity.copies",
        ),
        (
            "[identity.copies.attest]",
            "[identity.copies.b]\nfile = \"/run/b.pem\"\nowner = \"b\"\naddress = \"192.0.2.7:443\"\n[identity.copies.attest]",
            "identity.copies.b.address is 192.0.2.7:443",
        ),
        (
            "[identity.copies.attest]",
            "[identity.copies.b]\nfile = \"/run/b.pem\"\nowner = \"b\"\naddress = \"127.0.0.1:0\"\n[identity.copies.attest]",
            "identity.copies.b.address is 127.0.0.1:0",
        ),
        (
            "[identity.copies.attest]",
            "[identity.copies.b]\nfile = \"/run/b.pem\"\nowner = \"b\"\naddress = \"localhost:443\"\n[identity.copies.attest]",
            "invalid socket address",
        ),
        (
            "identity = \"/run/cvm-agent/identity/attest.pem\"\n",
            "",
            "none is attest.identity",
        ),
        (
            "file = \"/run/cvm-agent/identity/attest.pem\"",
            "file = \"/etc/a.pem\"",
            "below /run only",
        ),
        (
            "file = \"/run/cvm-agent/identity/attest.pem\"",
            "file = \"/run/../etc/a.pem\"",
            "below /run only",
        ),
        ("owner = \"cvm-attest\"\n", "", "owner"),
        (
            "names = [\"dns_name\"]",
            "names = [\"dns_name\"]\nkeep = \"identity.pem\"",
            "identity.keep is identity.pem: expected an absolute path",
        ),
        (
            "names = [\"dns_name\"]",
            "names = [\"dns_name\"]\nkeep = \"/data/identity.pem\"",
            "identity.valid_days has to say",
        ),
        (
            "names = [\"dns_name\"]",
            "names = [\"dns_name\"]\nkeep = \"/data/identity.pem\"\nvalid_days = 0",
            "identity.valid_days is 0",
        ),
        (
            "names = [\"dns_name\"]",
            "names = [\"dns_name\"]\nvalid_days = 90",
            "which ends with the machine's run",
        ),
        (
            "names = [\"dns_name\"]",
            "names = [\"dns_name\"]\nkeep = \"/run/cvm-agent/identity/attest.pem\"",
            "identity.keep is one of identity.copies",
        ),
    ] {
        let text = format!("{HUB}{BOOT}");
        assert!(text.contains(from), "{from}");
        let error =
            Directory::with([("10-base.toml", text.replacen(from, to, 1).as_str())]).error();
        assert!(error.contains(expected), "{to:?}: {error}");
    }
    let text = format!("{HUB}[registration]\npath = \"/a\"\nservice = \"instance\"\n");
    let error = Directory::with([("10-base.toml", text.as_str())]).error();
    assert!(error.contains("nobody serves"), "{error}");
    let text = format!("{HUB}[configuration]\npath = \"/a\"\nrefresh_seconds = 0\n");
    let error = Directory::with([("10-base.toml", text.as_str())]).error();
    assert!(error.contains("refresh_seconds is 0"), "{error}");
}

const DISK: &str = r#"
[disk]
azure_lun = 10
key = "disk.key"
[configuration.required]
"disk.key" = "text"
"#;

fn with_disk(layer: &str, later: &str) -> Directory {
    // One table of required keys.
    let boot = BOOT.replace("[configuration.required]\ndns_name = \"name\"\n", "");
    let boot = boot.replace("names = [\"dns_name\"]\n", "");
    let base = format!("{HUB}{boot}");
    Directory::with([
        ("10-base.toml", base.as_str()),
        ("50-layer.toml", layer),
        ("90-later.toml", later),
    ])
}

#[test]
fn the_disk_is_named_by_one_file_and_may_be_named_anew_by_a_later_one() {
    use encrypted_disk::{Check, Selector, Settings};

    assert_eq!(with_disk("", "").read().unwrap().boot.disk, None);
    let disk = with_disk(DISK, "").read().unwrap().boot.disk.unwrap();
    assert_eq!(disk.selector, Selector::AzureLun(10));
    let key = "disk.key".to_owned();
    let previous = None;
    let source = disk::KeySource::Configuration { key, previous };
    assert_eq!(disk.key, source);
    assert_eq!(disk.settings, Settings::default());

    let later = "[disk]\ndanger_any_controller_lun = 3\nprevious_key = \"disk.old\"\n\
                 mount_point = \"/data\"\ncheck = \"danger-repair-all\"\nformats_blank = false\n";
    let disk = with_disk(DISK, later).read().unwrap().boot.disk.unwrap();
    assert_eq!(disk.selector, Selector::DangerAnyControllerLun(3));
    assert_eq!(disk.settings.check, Check::DangerRepairAll);
    assert_eq!(disk.settings.mount_point, Path::new("/data"));
    assert!(!disk.settings.formats_blank);
    let disk::KeySource::Configuration { previous, .. } = disk.key;
    assert_eq!(previous.as_deref(), Some("disk.old"));
    for point in [
        "/persistent",
        "/srv/data",
        "/var/lib/node",
        "/data-1.b_c",
        "/runs",
    ] {
        let later = format!("[disk]\nmount_point = \"{point}\"\n");
        with_disk(DISK, &later).read().unwrap();
    }
}

#[test]
fn a_disk_that_could_never_be_used_is_refused_and_named() {
    for (from, to, expected) in [
        ("azure_lun = 10\n", "", "no file sets which"),
        (
            "azure_lun = 10\n",
            "azure_lun = 10\nserial = \"s\"\n",
            "answers to one question",
        ),
        ("key = \"disk.key\"\n", "", "no file sets disk.key"),
        ("\"text\"", "\"number\"", "disk.key is \"disk.key\""),
        (
            "key = \"disk.key\"",
            "key = \"disk.keys\"",
            "disk.key is \"disk.keys\"",
        ),
        (
            "[disk]\n",
            "[disk]\nmapping = \"../x\"\n",
            "disk.mapping is \"../x\"",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/\"\n",
            "disk.mount_point is /",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/a/../b\"\n",
            "disk.mount_point is /a/../b",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/run/data\"\n",
            "/run is not for disks",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/run\"\n",
            "/run is not for disks",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/usr/lib/x\"\n",
            "/usr is not",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/home\"\n",
            "/home is not",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/var\"\n",
            "/var is not",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/tmp/data\"\n",
            "/tmp is not",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"//data\"\n",
            "expected an absolute path",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/data/\"\n",
            "expected an absolute path",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/a/./b\"\n",
            "expected an absolute path",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/my data\"\n",
            "expected an absolute path",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"/a\\u001bb\"\n",
            "expected an absolute path",
        ),
        (
            "[disk]\n",
            "[disk]\nmount_point = \"data\"\n",
            "disk.mount_point is data",
        ),
        (
            "[disk]\n",
            "[disk]\ncheck = \"none\"\n",
            "danger-repair-all",
        ),
        ("[disk]\n", "[disk]\nscratch = \"/tmp\"\n", "scratch"),
        ("[disk]\n", "[disk]\nlargest = true\n", "largest"),
    ] {
        assert!(DISK.contains(from), "{from}");
        let error = with_disk(&DISK.replacen(from, to, 1), "").error();
        assert!(error.contains(expected), "{to:?}: {error}");
    }
}

#[test]
fn an_identity_on_the_disk_has_an_end() {
    let on = |path: &str| {
        let keep = format!("[identity]\nkeep = \"{path}\"\nvalid_days = 90\n");
        with_disk(DISK, &keep)
    };
    let config = on("/persistent/cvm-agent/identity.pem").read().unwrap();
    let Keep { file, lifetime } = config.boot.identity.keep;
    assert_eq!(file, Path::new("/persistent/cvm-agent/identity.pem"));
    assert_eq!(lifetime.unwrap().as_secs(), 90 * 24 * 3600);
    for elsewhere in ["/var/identity.pem", "/persistents/identity.pem"] {
        let error = on(elsewhere).error();
        assert!(error.contains("nor on the data disk"), "{error}");
    }
}

#[test]
fn optional_keys_of_all_files_and_switches_add_up() {
    let base = "[configuration.optional]\nlimit = \"count\"\n";
    let later = "[configuration.optional]\nlist = \"list\"\n\
                 [switches.one]\nunit = \"one.service\"\nwhen = \"one.enabled\"\ndefault = true\n";
    let boot = format!("{HUB}{BOOT}");
    let config = Directory::with([
        ("10-a.toml", &boot),
        ("20-b.toml", base),
        ("30-c.toml", later),
    ]);
    let optional = config.read().unwrap().boot.configuration.unwrap().optional;
    let expected = [
        ("limit", node::Kind::Count),
        ("list", node::Kind::List),
        ("one.enabled", node::Kind::Boolean),
    ];
    let expected = expected.map(|(key, kind)| (key.to_owned(), kind));
    assert_eq!(optional, expected.into_iter().collect());
}
