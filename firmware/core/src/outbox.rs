//! Bytes on their way to the host.

use heapless::Deque;
use surefoot_wire::{MAX_FRAME, ToHost, encode};

/// Whole frames, in the order in which they were put in.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Deque<u8, 2048>,
}

impl Outbox {
    /// Puts in one message, or nothing of it if it does not fit. Returns whether it was put in.
    #[must_use]
    pub(crate) fn put(&mut self, message: &ToHost) -> bool {
        let mut buffer = [0; MAX_FRAME];
        let Ok(frame) = encode(message, &mut buffer) else {
            return false;
        };
        let fits = self.bytes.capacity() - self.bytes.len() >= frame.len();
        fits && frame.iter().all(|byte| self.bytes.push_back(*byte).is_ok())
    }

    /// Moves bytes to `out`, as many as there are or fit. Returns how many.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let mut taken = 0;
        for slot in out {
            let Some(byte) = self.bytes.pop_front() else {
                break;
            };
            *slot = byte;
            taken += 1;
        }
        taken
    }
}
