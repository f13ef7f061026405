//! What a run leaves behind: an MCAP file with one protobuf message a tick.

pub mod schema;
