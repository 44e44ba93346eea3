//! Tells the Azure host that the machine is ready, or why it is not.
