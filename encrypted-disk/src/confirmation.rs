//! An operator's word that a refused disk is to be formatted.
//!
//! I/O: none.

use crate::find::Disk;

/// What was typed is not the disk's serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk's serial is {expected:?}, and has to be typed exactly")]
pub struct ConfirmationError {
    /// The serial.
    pub expected: String,
}

/// The serial of a disk, typed by an operator who wants it formatted whatever is on it. Good for one try: it is
/// given away to [`crate::Tools::prepare`], and there is no second one.
///
/// ```compile_fail
/// # fn twice(tools: &mut encrypted_disk::Tools<'_>, disk: &encrypted_disk::Disk, key: &encrypted_disk::Key,
/// #     confirmation: encrypted_disk::Confirmation) {
/// let _ = tools.prepare(disk, key, Some(confirmation.clone()));
/// let _ = tools.prepare(disk, key, Some(confirmation));
/// # }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Confirmation(String);

impl Confirmation {
    /// Accepts what was typed if it is the disk's [serial](Disk::serial), exactly.
    ///
    /// # Errors
    ///
    /// [`ConfirmationError`] if it is not.
    pub fn of(disk: &Disk, typed: &str) -> Result<Self, ConfirmationError> {
        let confirmation = Self(typed.to_owned());
        if confirmation.is_for(disk) {
            return Ok(confirmation);
        }
        Err(ConfirmationError {
            expected: disk.serial.clone(),
        })
    }

    /// Whether it is this disk that was meant: another one may be in its place meanwhile.
    pub(crate) fn is_for(&self, disk: &Disk) -> bool {
        self.0 == disk.serial
    }
}
