//! Messages to frames on a line, and back; sealed if there is a key.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher, RandomState},
    time::Instant,
};

use surefoot_wire::{
    Decoder, FrameError, HostSeal, Key, MAX_FRAME, Sealed, ToHost, ToRobot, encode,
};

use super::{Link, LinkError};

/// The host's side of the frames of both directions.
#[derive(Debug)]
pub(super) struct Frames {
    hearing: Hearing,
    /// What came and was not yet looked at.
    bytes: VecDeque<u8>,
}

#[derive(Debug)]
enum Hearing {
    Plain(Box<Decoder<ToHost>>),
    Keyed(Box<Decoder<Sealed<ToHost>>>, HostSeal),
}

/// A frame that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// It is damaged.
    Damaged,
    /// It is without proof that the robot sent it in this conversation, for the first time.
    Forged,
}

impl Frames {
    pub(super) fn plain() -> Self {
        Self {
            hearing: Hearing::Plain(Box::default()),
            bytes: VecDeque::new(),
        }
    }

    /// Frames of one conversation under a key.
    pub(super) fn keyed(key: Key) -> Self {
        // The standard library's hasher state is the random number that needs no further crate.
        let nonce = RandomState::new().build_hasher().finish().max(1);
        Self {
            hearing: Hearing::Keyed(Box::default(), HostSeal::new(key, nonce)),
            bytes: VecDeque::new(),
        }
    }

    /// Sends one message.
    pub(super) fn send(&mut self, link: &mut impl Link, message: ToRobot) -> Result<(), LinkError> {
        let mut buffer = [0; MAX_FRAME];
        let frame = match &mut self.hearing {
            Hearing::Plain(_) => encode(&message, &mut buffer),
            Hearing::Keyed(_, seal) => seal
                .seal(message)
                .ok_or(FrameError::TooLong)
                .and_then(|sealed| encode(&sealed, &mut buffer)),
        };
        link.write_all(frame.expect("MAX_FRAME holds every message"))
    }

    /// The next frame's message; nothing if no frame ended until `deadline`.
    pub(super) fn next(
        &mut self,
        link: &mut impl Link,
        deadline: Instant,
    ) -> Result<Option<Result<ToHost, Unheard>>, LinkError> {
        loop {
            while let Some(byte) = self.bytes.pop_front() {
                if let Some(heard) = self.hearing.push(byte) {
                    return Ok(Some(heard));
                }
            }
            let mut buffer = [0; 1024];
            let count = link.read(&mut buffer, deadline)?;
            if count == 0 {
                return Ok(None);
            }
            self.bytes.extend(&buffer[..count]);
        }
    }
}

impl Hearing {
    fn push(&mut self, byte: u8) -> Option<Result<ToHost, Unheard>> {
        match self {
            Self::Plain(decoder) => Some(decoder.push(byte)?.map_err(|_| Unheard::Damaged)),
            Self::Keyed(decoder, seal) => Some(match decoder.push(byte)? {
                Ok(sealed) => seal.open(sealed).ok_or(Unheard::Forged),
                Err(_) => Err(Unheard::Damaged),
            }),
        }
    }
}
