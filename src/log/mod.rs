//! MCAP logs: writer, reader, recovery.
