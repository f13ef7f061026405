//! The line to the host: its frames in, ours out, sealed in keyed mode.

use heapless::Deque;
use surefoot_wire::{
    Decoder, FrameError, Key, MAX_FRAME, Refusal, RobotSeal, Sealed, ToHost, ToRobot, encode,
};

/// The frames of both directions.
#[derive(Debug)]
pub(crate) struct Line {
    hearing: Hearing,
    /// Whole frames, in the order in which they were put in.
    out: Deque<u8, 2048>,
}

#[derive(Debug)]
enum Hearing {
    Plain(Decoder<ToRobot>),
    Keyed(Decoder<Sealed<ToRobot>>, RobotSeal),
}

impl Line {
    /// A line on which everybody is heard.
    pub(crate) const fn plain() -> Self {
        Self {
            hearing: Hearing::Plain(Decoder::new()),
            out: Deque::new(),
        }
    }

    /// A line on which only those are heard who know the key.
    pub(crate) const fn keyed(key: Key, start: u64) -> Self {
        Self {
            hearing: Hearing::Keyed(Decoder::new(), RobotSeal::new(key, start)),
            out: Deque::new(),
        }
    }

    /// Takes a byte of the host. Returns something at the end of each frame.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Result<ToRobot, Refusal>> {
        let frame = match &mut self.hearing {
            Hearing::Plain(decoder) => decoder.push(byte)?,
            Hearing::Keyed(decoder, seal) => match decoder.push(byte)? {
                Ok(sealed) => return Some(seal.open(sealed).ok_or(Refusal::Forged)),
                Err(error) => Err(error),
            },
        };
        Some(frame.map_err(|error| match error {
            FrameError::TooLong => Refusal::OverlongFrame,
            _ => Refusal::BadFrame,
        }))
    }

    /// Puts in one message for the host, or nothing of it if it does not fit. Returns whether it was put in.
    #[must_use]
    pub(crate) fn put(&mut self, message: ToHost) -> bool {
        let mut buffer = [0; MAX_FRAME];
        let frame = match &mut self.hearing {
            Hearing::Plain(_) => encode(&message, &mut buffer),
            Hearing::Keyed(_, seal) => match seal.seal(message) {
                Some(sealed) => encode(&sealed, &mut buffer),
                // There is nobody to tell.
                None => return true,
            },
        };
        let Ok(frame) = frame else {
            return false;
        };
        let fits = self.out.capacity() - self.out.len() >= frame.len();
        fits && frame.iter().all(|byte| self.out.push_back(*byte).is_ok())
    }

    /// Moves bytes for the host to `out`, as many as there are or fit. Returns how many.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let mut taken = 0;
        for slot in out {
            let Some(byte) = self.out.pop_front() else {
                break;
            };
            *slot = byte;
            taken += 1;
        }
        taken
    }
}
