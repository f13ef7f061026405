//! The wire between the host and the microcontroller: messages, framing, versions.
