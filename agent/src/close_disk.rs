//! `cvm-agent close-disk`: lets go of the data disk after everything that uses it, when the machine stops.
//!
//! Nothing is forced: what is still in use is said after a minute, and is left to systemd, which ends
//! everything, unmounts and removes mappings once more before the machine is off.
//!
//! I/O: reads the drop-ins; runs systemd-mount and dmsetup; logs.

use std::path::PathBuf;

use anyhow::Context;
use encrypted_disk::{Sysfs, System, Tools};

use crate::boot;
use crate::config::{self, Config};

/// What `cvm-agent close-disk` is told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the image's drop-ins are
    #[arg(long, value_name = "DIR", default_value = config::DIRECTORY)]
    config: PathBuf,

    /// Below which directory the machine's /sys and /proc are
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Where the programs for the data disk are looked for, folders separated by colons
    #[arg(long, value_name = "PATH", default_value = boot::PROGRAMS)]
    programs: String,
}

/// Closes the disk, if there is one and it is open.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::read(&args.config).context("read the configuration")?;
    let Some(disk) = &config.boot.disk else {
        tracing::info!("disk: this image has none");
        return Ok(());
    };
    let mut tools = Tools {
        settings: &boot::disk_settings(disk, &args.root),
        sysfs: &Sysfs::below(&args.root),
        run: &mut System::looking_in(args.programs.as_str()),
        progress: &mut |event| tracing::info!("disk: {event}"),
    };
    tools.close().context("close the data disk")?;
    tracing::info!("disk: it is unmounted and closed");
    Ok(())
}
