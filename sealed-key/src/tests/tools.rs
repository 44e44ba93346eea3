//! tpm2-tools, which are another implementation: they compute the same policy, and open what we sealed.

use std::fs;
use std::process::{Command, Output};

use super::*;
use crate::registers::hex;
use crate::seal;
use crate::structure::{branch, name, policy, sealed_public};
use crate::wire::sized;

/// Registers of the policy.
const SELECTION: &str = "sha256:4,9,11,12,13,15";

/// With the attributes of the TCG's template, which are not their default.
const CREATE_PRIMARY: &str = "tpm2_createprimary -C o -g sha256 -G ecc:aes128cfb -u unique -c primary \
     -a restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda";

/// The program behind a tool's TPM: standard input and output are a connection.
const CONNECT: &str = "exec 3<>/dev/tcp/127.0.0.1/$1; cat <&3 & cat >&3; kill $!";

struct Tools {
    directory: TempDir,
    tcti: String,
}

impl Tools {
    fn of(machine: &Machine) -> Self {
        let directory = TempDir::new().unwrap();
        let script = directory.path().join("connect");
        fs::write(&script, CONNECT).unwrap();
        let tcti = format!("cmd:bash {} {}", script.display(), machine.listen_on_tcp());
        Self { directory, tcti }
    }

    fn try_run(&self, line: &str) -> Output {
        let mut words = line.split(' ');
        let output = Command::new(words.next().unwrap())
            .args(words)
            .env("TPM2TOOLS_TCTI", &self.tcti)
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        // There is no resource manager.
        if !line.starts_with("tpm2_flushcontext") && !line.contains("session") {
            self.try_run("tpm2_flushcontext -t");
        }
        output
    }

    fn run(&self, line: &str) -> Vec<u8> {
        let output = self.try_run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        output.stdout
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(name)).unwrap()
    }

    /// Computes a policy in a trial session: `TPM2_PolicyPCR`, and what is said to follow.
    fn policy(&self, then: &[String]) -> Vec<u8> {
        self.run("tpm2_startauthsession -S session");
        self.run(&format!(
            "tpm2_policypcr -S session -l {SELECTION} -L digest"
        ));
        for line in then {
            self.run(line);
        }
        self.run("tpm2_flushcontext session");
        self.read("digest")
    }

    /// Opens a loaded object by its policy.
    fn unseal(&self, or: Option<&str>) -> Output {
        self.run("tpm2_startauthsession --policy-session -S session");
        self.run(&format!("tpm2_policypcr -S session -l {SELECTION}"));
        if let Some(or) = or {
            // It fails where no branch is fulfilled, and then so does what follows.
            self.try_run(or);
        }
        let output = self.try_run("tpm2_unseal -c object -p session:session");
        self.run("tpm2_flushcontext session");
        self.run("tpm2_flushcontext -t");
        output
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tpm2_tools_agree_and_open_it() {
    if !needed::programs(&["swtpm", "bash", "tpm2_unseal", "tpm2_policyor"]) {
        return;
    }
    let Some(machine) = Machine::start() else {
        return;
    };
    let tools = Tools::of(&machine);
    let mut images = [machine.boot(1), machine.boot(2)];
    images.sort();
    let key = Key32::random().unwrap();

    // The primary key of the template is the one that theirs gives.
    // The tool takes C structures: a length, and room for the longest coordinate.
    let zeros = [&[32, 0][..], &[0; 128]].concat();
    tools.write("unique", &zeros.repeat(2));
    tools.run(CREATE_PRIMARY);
    tools.run("tpm2_readpublic -c primary -n name");

    let or = format!(
        "tpm2_policyor -S session -L digest sha256:{}",
        images
            .map(|image| format!("branch.{}", hex(&image.pcr4[..4])))
            .join(",")
    );
    for image in [1, 2] {
        let registers = machine.boot(image);
        let theirs = tools.policy(&[]);
        assert_eq!(theirs, branch(&registers));
        assert_eq!(theirs, policy(&[registers]));
        tools.write(&format!("branch.{}", hex(&registers.pcr4[..4])), &theirs);
    }
    assert_eq!(tools.policy(std::slice::from_ref(&or)), policy(&images));

    for (images, or) in [(&images[..], Some(&or[..])), (&[machine.boot(1)], None)] {
        machine.boot(1);
        let sealed = seal(&machine.tpm(), &key, images).await.unwrap();
        assert_eq!(tools.read("name"), sealed.primary);
        let public = sealed_public(&policy(images), &sealed.unique);
        tools.write("public", &sized(&public));
        tools.write("private", &sized(&sealed.private));
        let load = || {
            tools.run(CREATE_PRIMARY);
            tools.run("tpm2_load -C primary -u public -r private -c object -n object.name");
        };
        load();
        assert_eq!(tools.read("object.name"), name(&public));
        let opened = tools.unseal(or);
        assert_eq!(
            opened.stdout,
            key.as_bytes(),
            "{}",
            String::from_utf8_lossy(&opened.stderr)
        );
        // Nothing but the policy.
        let by_password = tools.try_run("tpm2_unseal -c object");
        assert!(!by_password.status.success() && by_password.stdout.is_empty());
        machine.boot(3);
        load();
        let refused = tools.unseal(or);
        assert!(!refused.status.success() && refused.stdout.is_empty());
    }
}
