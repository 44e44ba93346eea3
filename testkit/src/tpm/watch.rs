//! Whoever wants to know what a machine has its TPM do, as the firmware of a host that emulates one.
//!
//! I/O: none.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Watcher = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Those who are told; clones share the list.
#[derive(Clone, Default)]
pub(super) struct Watchers(Arc<Mutex<Vec<Watcher>>>);

impl Watchers {
    /// Adds one.
    pub(super) fn add(&self, watcher: impl Fn(&[u8]) + Send + Sync + 'static) {
        let watchers = self.0.lock();
        let mut watchers = watchers.unwrap_or_else(PoisonError::into_inner);
        watchers.push(Arc::new(watcher));
    }

    /// Tells all of them of a command that the TPM has obeyed.
    pub(super) fn tell(&self, command: &[u8]) {
        let watchers = self.0.lock();
        let watchers = watchers.unwrap_or_else(PoisonError::into_inner).clone();
        for watcher in watchers {
            watcher(command);
        }
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watchers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_watchers_are_told() {
        let watchers = Watchers::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        for number in 0..2 {
            let told = Arc::clone(&told);
            watchers.add(move |command| told.lock().unwrap().push((number, command.to_vec())));
        }
        watchers.clone().tell(b"c");
        let expected = [(0, b"c".to_vec()), (1, b"c".to_vec())];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
