//! An Azure machine's vTPM: a software TPM with what the paravisor leaves in it, and the paravisor's
//! part of its life.
//!
//! As `spec/azure-sim.md` has it: the AK, the HCL report that names it, and the AK's certificate with
//! bytes after it. The index of user data is the guest's to make, as on a new machine; when the guest
//! writes to it, the report is written anew. libtpms keeps at most 2,048 bytes in an index, so the report has no EK.
//!
//! [`Vtpm::listen`] offers the TPM on a Unix socket that takes plain commands, as a program without a
//! machine around it opens it, and lets a test come between.
//!
//! I/O: the TPM's socket; a Unix socket that the caller names.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::tee::{AkPublic, Machine, Tee};
use crate::tpm::control::{Channel, read_tpm_message};
use crate::tpm::wire::{Fields, sized};
use crate::tpm::{Tpm, TpmError};

/// NV index of the HCL report.
pub const HCL_REPORT: u32 = 0x0140_0001;
/// NV index of the guest's user data.
pub const USER_DATA: u32 = 0x0140_0002;
/// NV index of the AK's certificate.
pub const AK_CERTIFICATE: u32 = 0x01c1_01d0;

/// `TPM_CC` of the commands that are used here: TPM 2.0 Library, Part 2, 6.5.2.
pub mod code {
    /// `TPM2_NV_UndefineSpace`.
    pub const NV_UNDEFINE_SPACE: u32 = 0x122;
    /// `TPM2_NV_DefineSpace`.
    pub const NV_DEFINE_SPACE: u32 = 0x12a;
    /// `TPM2_NV_Write`.
    pub const NV_WRITE: u32 = 0x137;
    /// `TPM2_NV_Read`.
    pub const NV_READ: u32 = 0x14e;
    /// `TPM2_Quote`.
    pub const QUOTE: u32 = 0x158;
    /// `TPM2_ReadPublic`.
    pub const READ_PUBLIC: u32 = 0x173;
    /// `TPM2_PCR_Read`.
    pub const PCR_READ: u32 = 0x17e;
}

/// `TPM_RH_OWNER`, `TPM_RH_PLATFORM`: Part 2, 7.4.
const OWNER: u32 = 0x4000_0001;
const PLATFORM: u32 = 0x4000_000c;

/// `TPMA_NV`, Part 2, 13.4: ppwrite, authwrite, ppread, ownerread, authread, no_da, platformcreate.
const PARAVISORS: u32 = 0x4207_0005;
/// ownerwrite, authwrite, ownerread, authread, no_da.
const GUESTS: u32 = 0x0206_0006;

/// What only the paravisor knows: with it, and without the platform's authorization, which the
/// firmware changes, an index can be written.
const SECRET: &[u8] = b"only the paravisor knows";

/// Bytes that one command reads or writes.
const PIECE: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(20);

/// A vTPM, and the paravisor beside it.
#[derive(Clone)]
pub struct Vtpm {
    channel: Arc<Channel>,
    tee: Tee,
    machine: Machine,
    reports_another: Arc<AtomicBool>,
    /// How long the paravisor takes to write a report anew; 3 s on Azure.
    pub refresh: Duration,
}

impl fmt::Debug for Vtpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vtpm")
    }
}

impl Vtpm {
    /// Provisions a TPM that is powered on and factory-new for a machine of `tee`.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn provision(tpm: &Tpm, tee: &Tee) -> Result<Self, TpmError> {
        let public = tpm.client().create_ak()?;
        // `TPMT_PUBLIC` ends with the modulus.
        let modulus = public.last_chunk::<256>();
        let modulus = modulus.ok_or(TpmError::Malformed("a public area without a modulus"))?;
        let machine = Machine {
            ak: AkPublic::new(modulus),
            ek: None,
            ..tee.machine()
        };
        let vtpm = Self {
            channel: Arc::new(Channel::connect(tpm.socket(), TIMEOUT)?),
            tee: tee.clone(),
            machine,
            reports_another: Arc::default(),
            refresh: Duration::from_millis(100),
        };
        vtpm.put(HCL_REPORT, &vtpm.report([0; 64]))?;
        let certificate = vtpm.tee.ak_certificates(&vtpm.machine.ak).leaf;
        vtpm.put(
            AK_CERTIFICATE,
            &[&certificate[..], b"\xff\0trailing"].concat(),
        )?;
        Ok(vtpm)
    }

    /// The machine as its HCL report describes it.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The HCL report with these user data.
    pub fn report(&self, user_data: [u8; 64]) -> Vec<u8> {
        if self.reports_another.load(Ordering::SeqCst) {
            let another = Machine {
                ek: None,
                ..self.tee.machine()
            };
            return self.tee.hcl_report(&another, user_data);
        }
        self.tee.hcl_report(&self.machine, user_data)
    }

    /// Has the report be about another key than the one at the AK's handle, or about that again. Also
    /// while a machine runs.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn report_another_ak(&self, is_wanted: bool) -> Result<(), TpmError> {
        self.reports_another.store(is_wanted, Ordering::SeqCst);
        self.write(HCL_REPORT, &self.report([0; 64]))
    }

    /// Makes an index anew, with this content.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn put(&self, index: u32, content: &[u8]) -> Result<(), TpmError> {
        match self.remove(index) {
            // It was not there: `TPM_RC_HANDLE` for the second handle.
            Ok(()) | Err(TpmError::Refused { code: 0x28b, .. }) => {}
            Err(error) => return Err(error),
        }
        let (hierarchy, attributes, secret) = owner_of(index);
        let size = u16::try_from(content.len()).unwrap_or(u16::MAX);
        let mut public = index.to_be_bytes().to_vec();
        public.extend(0x000b_u16.to_be_bytes()); // named by SHA-256
        public.extend(attributes.to_be_bytes());
        public.extend(sized(&[])); // no policy
        public.extend(size.to_be_bytes());
        let parameters = [sized(secret), sized(&public)].concat();
        self.send(code::NV_DEFINE_SPACE, &[hierarchy], b"", &parameters)?;
        self.write(index, content)
    }

    /// Removes an index.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if there is none.
    pub fn remove(&self, index: u32) -> Result<(), TpmError> {
        let (hierarchy, ..) = owner_of(index);
        self.send(code::NV_UNDEFINE_SPACE, &[hierarchy, index], b"", &[])
            .map(drop)
    }

    /// Writes an index as only its owner can.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn write(&self, index: u32, content: &[u8]) -> Result<(), TpmError> {
        let (.., secret) = owner_of(index);
        for (number, piece) in content.chunks(PIECE).enumerate() {
            let offset = u16::try_from(number * PIECE).unwrap_or(u16::MAX);
            let parameters = [&sized(piece)[..], &offset.to_be_bytes()].concat();
            self.send(code::NV_WRITE, &[index, index], secret, &parameters)?;
        }
        Ok(())
    }

    /// Listens on a Unix socket for programs that speak to the TPM, until the process ends.
    ///
    /// Each command goes through `between` first, which may answer in the TPM's place.
    ///
    /// # Errors
    ///
    /// An I/O error if the socket cannot be made.
    pub fn listen(
        &self,
        path: &Path,
        between: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<()> {
        if path.exists() {
            fs::remove_file(path)?;
        }
        let (listener, vtpm) = (UnixListener::bind(path)?, self.clone());
        let between = Arc::new(between);
        thread::spawn(move || {
            for program in listener.incoming().map_while(Result::ok) {
                let (vtpm, between) = (vtpm.clone(), Arc::clone(&between));
                // An error on either side means that the program or the TPM has gone.
                thread::spawn(move || vtpm.relay(program, between.as_ref()));
            }
        });
        Ok(())
    }

    fn relay(
        &self,
        mut program: UnixStream,
        between: &impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> io::Result<()> {
        loop {
            let command = read_tpm_message(&mut program)?;
            let response = match between(&command) {
                Some(response) => response,
                None => self.channel.transact(&command)?,
            };
            if code_of(&command) == code::NV_WRITE
                && command.get(14..18) == Some(&USER_DATA.to_be_bytes()[..])
                && Fields::of_response(0, &response).is_ok()
            {
                let vtpm = self.clone();
                thread::spawn(move || vtpm.take_up_user_data());
            }
            program.write_all(&response)?;
        }
    }

    /// What the paravisor does after the guest has written user data.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn take_up_user_data(&self) -> Result<(), TpmError> {
        thread::sleep(self.refresh);
        let parameters = [0, 64, 0, 0]; // size, offset
        let response = self.send(code::NV_READ, &[OWNER, USER_DATA], b"", &parameters)?;
        let mut fields = Fields::of_response(code::NV_READ, &response)?;
        fields.u32()?;
        let user_data = fields.sized()?.try_into();
        let user_data = user_data.map_err(|_| TpmError::Malformed("user data of another size"))?;
        self.write(HCL_REPORT, &self.report(user_data))
    }

    /// Sends a command whose first handle is authorized by a password.
    fn send(
        &self,
        code: u32,
        handles: &[u32],
        password: &[u8],
        parameters: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        let mut session = 0x4000_0009_u32.to_be_bytes().to_vec(); // TPM_RS_PW
        session.extend(sized(&[])); // no nonce
        session.push(0); // no attributes
        session.extend(sized(password));
        let mut body: Vec<u8> = handles
            .iter()
            .flat_map(|handle| handle.to_be_bytes())
            .collect();
        body.extend(
            u32::try_from(session.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        body.extend(session);
        body.extend(parameters);
        let size = u32::try_from(body.len() + 10).unwrap_or(u32::MAX);
        let mut command = 0x8002_u16.to_be_bytes().to_vec(); // TPM_ST_SESSIONS
        command.extend(size.to_be_bytes());
        command.extend(code.to_be_bytes());
        command.extend(body);
        let response = self.channel.transact(&command)?;
        Fields::of_response(code, &response)?;
        Ok(response)
    }
}

/// The `TPM_CC` of a command; 0 if it has none.
pub fn code_of(command: &[u8]) -> u32 {
    command
        .get(6..10)
        .and_then(|code| code.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// Who makes an index, how it may be used, and the password of who may write it always.
fn owner_of(index: u32) -> (u32, u32, &'static [u8]) {
    match index {
        USER_DATA => (OWNER, GUESTS, b""),
        _ => (PLATFORM, PARAVISORS, SECRET),
    }
}
