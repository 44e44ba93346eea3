//! Asks the TPM: reads registers, makes an attestation key, quotes.
//!
//! I/O: TPM commands through the [`Channel`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use measurements::Digest;

use super::TpmError;
use super::control::Channel;
use super::wire::{
    ALG_NULL, ALG_RSA, ALG_RSASSA, ALG_SHA256, ALG_SHA384, Code, Command, ENDORSEMENT, Fields,
    OWNER, pcr_selection, sized,
};

/// Where Azure keeps a confidential VM's attestation key.
pub const AK_HANDLE: u32 = 0x8100_0003;

/// Registers of a PC client TPM.
const REGISTERS: u8 = 24;
/// Most digests in one `TPM2_PCR_Read` response: `TPML_DIGEST`, Part 2, 10.9.5.
const REGISTERS_PER_READ: usize = 8;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign: Part 2, 8.3.
const AK_ATTRIBUTES: u32 = 0x0005_0472;

/// One bank, all 24 registers; its digests have `N` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bank<const N: usize>(BTreeMap<u8, Digest<N>>);

/// The SHA-256 bank, which is the one that is quoted.
pub type Pcrs = Bank<32>;

impl<const N: usize> Bank<N> {
    /// The value of one register; zero for a register that a TPM does not have.
    pub fn value(&self, register: u8) -> Digest<N> {
        self.0.get(&register).copied().unwrap_or(Digest::ZERO)
    }

    /// Whether nothing was ever extended into the register.
    pub fn is_zero(&self, register: u8) -> bool {
        self.value(register) == Digest::ZERO
    }
}

impl<const N: usize> FromIterator<(u8, Digest<N>)> for Bank<N> {
    fn from_iter<I: IntoIterator<Item = (u8, Digest<N>)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<const N: usize> fmt::Display for Bank<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (register, value) in &self.0 {
            writeln!(f, "PCR {register:>2}  {value}")?;
        }
        Ok(())
    }
}

/// A quote as the TPM returns it, still unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The signed `TPMS_ATTEST`.
    pub attest: Vec<u8>,
    /// The signature's algorithm, hash and bytes: a `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
}

/// Sends commands to a TPM.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Arc<Channel>,
}

impl Client {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { channel }
    }

    /// `TPM2_Startup(CLEAR)`: what firmware does first.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn startup(&self) -> Result<(), TpmError> {
        self.send(&Command::new(Code::Startup).u16(0)).map(drop)
    }

    /// `TPM2_Shutdown(CLEAR)`: what an operating system does last.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn shutdown(&self) -> Result<(), TpmError> {
        self.send(&Command::new(Code::Shutdown).u16(0)).map(drop)
    }

    /// Reads all registers of the SHA-256 bank.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] if the TPM returns other registers than asked for, as it does when
    /// the bank is not active.
    pub fn read_pcrs(&self) -> Result<Pcrs, TpmError> {
        self.read_bank(ALG_SHA256)
    }

    /// Reads all registers of the SHA-384 bank.
    ///
    /// # Errors
    ///
    /// As [`Self::read_pcrs`].
    pub fn read_sha384_pcrs(&self) -> Result<Bank<48>, TpmError> {
        self.read_bank(ALG_SHA384)
    }

    fn read_bank<const N: usize>(&self, bank: u16) -> Result<Bank<N>, TpmError> {
        let mut values = BTreeMap::new();
        let registers: Vec<u8> = (0..REGISTERS).collect();
        for some in registers.chunks(REGISTERS_PER_READ) {
            let selection = pcr_selection(bank, some.iter().copied());
            let response = self.send(&Command::new(Code::PcrRead).bytes(&selection))?;
            values.extend(parse_pcr_read(&response, bank, some)?);
        }
        Ok(Bank(values))
    }

    /// Extends one register of the SHA-256 bank.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn extend_pcr(&self, register: u8, digest: &Digest<32>) -> Result<(), TpmError> {
        let command = Command::new(Code::PcrExtend)
            .handle(u32::from(register))
            .authorized()
            .u32(1)
            .u16(ALG_SHA256)
            .bytes(&digest.0);
        self.send(&command).map(drop)
    }

    /// Makes an RSA-2048 attestation key like Azure's and keeps it at [`AK_HANDLE`].
    ///
    /// Returns the public area, a `TPMT_PUBLIC`. Needs the empty owner and endorsement
    /// authorization, so it comes before the first boot.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn create_ak(&self) -> Result<Vec<u8>, TpmError> {
        let command = Command::new(Code::CreatePrimary)
            .handle(ENDORSEMENT)
            .authorized()
            .sized(&[0; 4]) // no authorization value, no data
            .sized(&ak_template())
            .sized(&[])
            .u32(0);
        let response = self.send(&command)?;
        let mut fields = Fields::of_response(command.code(), &response)?;
        let transient = fields.u32()?;
        fields.u32()?;
        let public = fields.sized()?.to_vec();
        self.send(
            &Command::new(Code::EvictControl)
                .handle(OWNER)
                .handle(transient)
                .authorized()
                .u32(AK_HANDLE),
        )?;
        self.send(&Command::new(Code::FlushContext).u32(transient))?;
        Ok(public)
    }

    /// Removes the key at [`AK_HANDLE`], if there is one; [`create_ak`](Self::create_ak) makes the
    /// same again in the same TPM.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn forget_ak(&self) -> Result<(), TpmError> {
        let forgotten = self.send(
            &Command::new(Code::EvictControl)
                .handle(OWNER)
                .handle(AK_HANDLE)
                .authorized()
                .u32(AK_HANDLE),
        );
        match forgotten {
            // `TPM_RC_HANDLE` for the second handle: there was none.
            Ok(_) | Err(TpmError::Refused { code: 0x28b, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Quotes `registers` of the SHA-256 bank with the key at [`AK_HANDLE`] over `nonce`.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if there is no such key.
    pub fn quote(&self, nonce: &[u8], registers: &[u8]) -> Result<Quote, TpmError> {
        let command = Command::new(Code::Quote)
            .handle(AK_HANDLE)
            .authorized()
            .sized(nonce)
            .u16(ALG_NULL) // the key's own scheme
            .bytes(&pcr_selection(ALG_SHA256, registers.iter().copied()));
        let response = self.send(&command)?;
        let mut fields = Fields::of_response(command.code(), &response)?;
        let parameters = fields.u32()? as usize;
        let mut fields = Fields::of_bytes(fields.bytes(parameters)?);
        let attest = fields.sized()?.to_vec();
        let signature = fields.rest().to_vec();
        Ok(Quote { attest, signature })
    }

    fn send(&self, command: &Command) -> Result<Vec<u8>, TpmError> {
        let response = self.channel.transact(&command.to_bytes())?;
        Fields::of_response(command.code(), &response)?;
        Ok(response)
    }
}

/// The template of [`Client::create_ak`]: a `TPMT_PUBLIC` without the key.
fn ak_template() -> Vec<u8> {
    let mut public = Vec::new();
    public.extend(ALG_RSA.to_be_bytes());
    public.extend(ALG_SHA256.to_be_bytes());
    public.extend(AK_ATTRIBUTES.to_be_bytes());
    public.extend(sized(&[])); // no policy
    public.extend(ALG_NULL.to_be_bytes()); // no symmetric cipher
    public.extend(ALG_RSASSA.to_be_bytes());
    public.extend(ALG_SHA256.to_be_bytes());
    public.extend(2048u16.to_be_bytes());
    public.extend(0u32.to_be_bytes()); // exponent 65537
    public.extend(sized(&[]));
    public
}

/// Parses a whole `TPM2_PCR_Read` response that must hold exactly `registers` of `bank`, in order.
fn parse_pcr_read<const N: usize>(
    response: &[u8],
    bank: u16,
    registers: &[u8],
) -> Result<Vec<(u8, Digest<N>)>, TpmError> {
    let mut fields = Fields::of_response(Code::PcrRead as u32, response)?;
    fields.u32()?; // update counter
    let expected = pcr_selection(bank, registers.iter().copied());
    if fields.bytes(expected.len())? != expected {
        return Err(TpmError::Malformed("other registers than asked for"));
    }
    if fields.u32()? as usize != registers.len() {
        return Err(TpmError::Malformed("another number of registers"));
    }
    registers
        .iter()
        .map(|&register| {
            let value: [u8; N] = fields
                .sized()?
                .try_into()
                .map_err(|_| TpmError::Malformed("a register of another size than its bank's"))?;
            Ok((register, Digest(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(selection: &[u8], values: &[&[u8]]) -> Vec<u8> {
        let mut body = 7u32.to_be_bytes().to_vec();
        body.extend(selection);
        body.extend(u32::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            body.extend(sized(value));
        }
        let mut out = vec![0x80, 1];
        out.extend(u32::try_from(body.len() + 10).unwrap().to_be_bytes());
        out.extend([0; 4]);
        out.extend(body);
        out
    }

    #[test]
    fn pcr_read_assigns_values_to_registers() {
        let bytes = response(&pcr_selection(ALG_SHA256, [4, 9]), &[&[1; 32], &[2; 32]]);
        let values = parse_pcr_read::<32>(&bytes, ALG_SHA256, &[4, 9]).unwrap();
        assert_eq!(values[0], (4, Digest([1; 32])));
        assert_eq!(values[1], (9, Digest([2; 32])));
    }

    #[test]
    fn pcr_read_of_another_selection_is_refused() {
        let bytes = response(&pcr_selection(ALG_SHA256, [4, 16]), &[&[1; 32], &[2; 32]]);
        assert!(parse_pcr_read::<32>(&bytes, ALG_SHA256, &[4, 9]).is_err());
    }

    #[test]
    fn pcr_read_of_another_bank_is_refused() {
        let bytes = response(&pcr_selection(ALG_SHA256, [4]), &[&[1; 32]]);
        assert!(parse_pcr_read::<48>(&bytes, ALG_SHA384, &[4]).is_err());
        assert!(parse_pcr_read::<48>(&bytes, ALG_SHA256, &[4]).is_err());
        let bytes = response(&pcr_selection(ALG_SHA384, [4]), &[&[1; 48]]);
        let values = parse_pcr_read::<48>(&bytes, ALG_SHA384, &[4]).unwrap();
        assert_eq!(values, [(4, Digest([1; 48]))]);
    }

    #[test]
    fn pcr_read_of_an_inactive_bank_is_refused() {
        let bytes = response(&pcr_selection(ALG_SHA256, []), &[]);
        assert!(parse_pcr_read::<32>(&bytes, ALG_SHA256, &[4, 9]).is_err());
    }

    #[test]
    fn ak_template_has_the_known_bytes() {
        let expected = [
            0, 1, 0, 0x0B, 0, 5, 4, 0x72, // RSA, SHA-256, attributes
            0, 0, 0, 0x10, 0, 0x14, 0, 0x0B, // no policy, no cipher, RSASSA with SHA-256
            8, 0, 0, 0, 0, 0, 0, 0, // 2048 bits, usual exponent, no modulus
        ];
        assert_eq!(ak_template(), expected);
    }
}
