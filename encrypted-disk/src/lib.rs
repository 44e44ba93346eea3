//! The node's data disk: finds it, decides, and opens it without believing it.
