//! Renders configuration files strictly: a missing value is an error, every value is escaped.
