//! The serial side.
