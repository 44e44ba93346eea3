//! Whether there is memory for the nodes: a machine that swaps looks like one that hangs.
//!
//! I/O: reads `/proc/meminfo`.

use anyhow::{Context, Result, ensure};

/// QEMU, swtpm and services besides each guest's memory, in MiB.
const BESIDE: u64 = 384;

/// Fails if `nodes` with `memory` MiB each do not fit into what is available.
pub(crate) fn ensure_enough(nodes: usize, memory: u32) -> Result<()> {
    let available = available_now()?;
    let nodes = u64::try_from(nodes).unwrap_or(u64::MAX);
    let wanted = nodes.saturating_mul(of_one(memory));
    ensure!(
        wanted <= available,
        "{nodes} nodes with {memory} MiB each need {wanted} MiB, and {available} MiB are available: run \
         fewer, or give them less with --memory"
    );
    Ok(())
}

/// How many nodes with `memory` MiB each fit, of so many that are wanted; fails if not even one does.
pub(crate) fn fitting(wanted: usize, memory: u32) -> Result<usize> {
    ensure_enough(1, memory)?;
    let fit = available_now()? / of_one(memory);
    Ok(usize::try_from(fit)
        .unwrap_or(usize::MAX)
        .clamp(1, wanted.max(1)))
}

fn of_one(memory: u32) -> u64 {
    u64::from(memory) + BESIDE
}

fn available_now() -> Result<u64> {
    let table = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    available(&table).context("understand /proc/meminfo")
}

/// `MemAvailable:   12345 kB`, in MiB.
fn available(table: &str) -> Option<u64> {
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_parsed() {
        let table = "MemTotal:  4194304 kB\nMemAvailable:  2097152 kB\n";
        assert_eq!(available(table), Some(2048));
        assert_eq!(available("MemTotal: 1 kB"), None);
    }

    #[test]
    fn too_many_nodes_are_refused() {
        assert!(ensure_enough(0, 2048).is_ok());
        let error = ensure_enough(1_000_000, 2048).unwrap_err().to_string();
        assert!(error.contains("--memory"), "{error}");
        assert!(fitting(1, u32::MAX).is_err());
        assert_eq!(fitting(2, 0).unwrap(), 2);
        // As many as there is memory for, and not one more.
        let nodes = fitting(100_000, 8).unwrap();
        assert!((1..100_000).contains(&nodes), "{nodes}");
    }
}
