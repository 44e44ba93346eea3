//! What UKIs are made of: random recipes of a seed, so that a run can be repeated.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// How many UKIs a run makes.
const COUNT: usize = 32;

/// Sections that [`Recipe::stretched`] may name.
const STRETCHABLE: [&str; 5] = [".linux", ".initrd", ".osrel", ".cmdline", ".uname"];

/// Bytes that need not be written down: a length, and what tells them from others as long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob {
    length: usize,
    salt: u8,
}

impl Blob {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 16).to_le_bytes()[0] ^ self.salt;
        (0..self.length).map(byte).collect()
    }
}

/// Which program plays the kernel: a PE that says it loads its initrd itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    /// systemd-boot, with this much behind its end.
    Large(Blob),
    /// The stub of add-ons.
    Small,
}

/// Who signs what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    No,
    Uki,
    UkiAndKernel,
}

/// One profile of a UKI that has some.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) text: String,
    /// Its own; the first profile takes the UKI's.
    pub(crate) command_line: Option<String>,
    pub(crate) initrd: Option<Blob>,
}

/// What a UKI is made of.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) kernel: Kernel,
    pub(crate) command_line: Option<Vec<u8>>,
    pub(crate) os_release: Option<String>,
    pub(crate) initrds: Vec<Blob>,
    pub(crate) microcode: Option<Blob>,
    pub(crate) splash: Option<Blob>,
    pub(crate) key: Option<Blob>,
    pub(crate) device_tree: Option<Blob>,
    pub(crate) uname: Option<String>,
    pub(crate) sbat: Option<String>,
    pub(crate) has_hardware_ids: bool,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) signed: Signed,
    /// A section that is larger in memory than in the file, and by which part of what there is
    /// room for. Only where it is there once, and nothing is signed.
    pub(crate) stretched: Option<(&'static str, u8)>,
}

/// The recipes of this run. Their seed is 0, or DIFFERENTIAL_SEED.
pub(crate) fn all() -> Vec<Recipe> {
    let seed = std::env::var("DIFFERENTIAL_SEED").unwrap_or_default();
    let seed: u64 = if seed.is_empty() {
        0
    } else {
        seed.parse().unwrap()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let recipe = recipe();
    let recipes: Vec<_> = (0..COUNT)
        .map(|_| recipe.new_tree(&mut runner).unwrap().current())
        .collect();
    check_coverage(&recipes);
    recipes
}

/// Says whether a recipe has something.
type Claim = fn(&Recipe) -> bool;

/// A generator that leaves something out would prove less than it says.
fn check_coverage(recipes: &[Recipe]) {
    let features: [(&str, Claim); 18] = [
        ("command line", |r| r.command_line.is_some()),
        ("os-release", |r| r.os_release.is_some()),
        ("initrd", |r| !r.initrds.is_empty()),
        ("several initrds", |r| r.initrds.len() > 1),
        ("microcode", |r| r.microcode.is_some()),
        ("splash", |r| r.splash.is_some()),
        ("key", |r| r.key.is_some()),
        ("device tree", |r| r.device_tree.is_some()),
        ("uname", |r| r.uname.is_some()),
        ("sbat", |r| r.sbat.is_some()),
        ("hardware ids", |r| r.has_hardware_ids),
        ("profiles", |r| !r.profiles.is_empty()),
        ("a profile alone", |r| r.profiles.len() == 1),
        ("several profiles", |r| r.profiles.len() > 1),
        ("signed", |r| r.signed == Signed::Uki),
        ("signed kernel", |r| r.signed == Signed::UkiAndKernel),
        ("small kernel", |r| matches!(r.kernel, Kernel::Small)),
        ("stretched", |r| r.stretched.is_some()),
    ];
    for (name, has) in features {
        let count = recipes.iter().filter(|recipe| has(recipe)).count();
        assert!(count > 0 && count < COUNT, "{name}: {count} of {COUNT}");
    }
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let texts = (
        kernel(),
        option::of(command_line()),
        option::of("(ID=[a-z]{1,8}\n){1,3}"),
        option::of("[0-9]\\.[0-9]{1,2}\\.[0-9]{1,2}-[a-z]{1,8}"),
        option::of("sbat,1,[a-z]{1,9}\n[a-z]{1,9},1,[a-z]{1,9},[a-z]{1,9},1,x\n"),
    );
    let blobs = (
        vec(blob(), 0..4),
        option::of(blob()),
        option::of(blob()),
        option::of(blob()),
        option::of(blob()),
    );
    let others = (
        any::<bool>(),
        prop_oneof![3 => Just(Vec::new()), 2 => vec(profile(), 1..4)],
        prop_oneof![
            3 => Just(Signed::No),
            1 => Just(Signed::Uki),
            1 => Just(Signed::UkiAndKernel)
        ],
        option::weighted(0.75, (any::<Index>(), any::<u8>())),
    );
    let all = (texts, blobs, others);
    all.prop_map(|(texts, blobs, others)| {
        let (kernel, command_line, os_release, uname, sbat) = texts;
        let (initrds, microcode, splash, key, device_tree) = blobs;
        let (has_hardware_ids, profiles, signed, stretched) = others;
        // A changed header would make the signature void, and the place of a section is known
        // where there is one of its name.
        let is_plain = profiles.is_empty() && signed == Signed::No;
        let mut recipe = Recipe {
            kernel,
            command_line,
            os_release,
            initrds,
            microcode,
            splash,
            key,
            device_tree,
            uname,
            sbat,
            has_hardware_ids,
            profiles,
            signed,
            stretched: None,
        };
        let mut there = STRETCHABLE.to_vec();
        there.retain(|name| recipe.contents().contains_key(name));
        let stretched = stretched.filter(|_| is_plain);
        recipe.stretched = stretched.map(|(index, part)| (*index.get(&there), part));
        recipe
    })
}

fn kernel() -> impl Strategy<Value = Kernel> {
    // Programs that sign pad to eight bytes and firmware does not: what is aligned is unambiguous.
    let behind = (0..300usize, any::<u8>()).prop_map(|(eights, salt)| {
        let length = eights * 8;
        Kernel::Large(Blob { length, salt })
    });
    prop_oneof![3 => behind, 1 => Just(Kernel::Small)]
}

/// Around the sizes of alignments, and of what is read at once, things go wrong first.
fn blob() -> impl Strategy<Value = Blob> {
    let length = prop_oneof![
        4 => 1..6000usize,
        1 => 510..515usize,
        1 => 4094..4099usize,
        1 => (256 << 10) - 2..(256 << 10) + 3usize,
    ];
    (length, any::<u8>()).prop_map(|(length, salt)| Blob { length, salt })
}

fn command_line() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        "[a-z]{1,9}=[a-z0-9/]{1,20}( [a-z.]{1,12}=[ -~]{0,30}){0,4}",
        "[ \t\n]{0,3}[ -~é€😀\t\n]{0,60}[ \t\n]{0,3}",
    ];
    let end = prop_oneof![Just(""), Just("\0"), Just("\n"), Just("\n\0\0")];
    let text = (text, end).prop_map(|(text, end)| (text + end).into_bytes());
    let bytes = vec(any::<u8>(), 1..80);
    let is_there = |text: &Vec<u8>| !text.is_empty();
    prop_oneof![4 => text, 1 => bytes].prop_filter("empty", is_there)
}

fn profile() -> impl Strategy<Value = Profile> {
    let parts = (
        "ID=[a-z]{1,8}(\nTITLE=[A-Za-z ]{1,20})?",
        option::of("[a-z]{1,9}( [a-z.]{1,12}=[!-~]{1,9}){0,3}"),
        option::of(blob()),
    );
    parts.prop_map(|(text, command_line, initrd)| Profile {
        text,
        command_line,
        initrd,
    })
}
