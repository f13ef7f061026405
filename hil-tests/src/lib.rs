//! The runtime against the firmware, over a real serial port.
