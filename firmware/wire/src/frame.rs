//! Frames: postcard, CRC-32C, COBS, and a zero at the end.
//!
//! COBS leaves no zero inside of a frame, so a zero always ends one: after any damage the decoder is in step again at the next
//! zero, and a frame inside of a payload can never be taken for one.

use core::marker::PhantomData;

use crc::{CRC_32_ISCSI, Crc};
use heapless::Vec;
use postcard::ser_flavors::{Cobs, Slice, crc::CrcModifier};
use serde::{Serialize, de::DeserializeOwned};

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// No frame of either direction is longer, its zero included, bytes.
pub const MAX_FRAME: usize = 566;

/// Why a frame was not made or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More bytes without a zero than any frame has.
    #[error("frame longer than {MAX_FRAME} bytes")]
    TooLong,
    /// The byte stuffing is broken.
    #[error("frame with broken COBS stuffing")]
    Stuffing,
    /// The bytes are not those that were sent.
    #[error("frame with a wrong CRC")]
    Crc,
    /// The bytes are no message, or more than one.
    #[error("frame that holds no message, or more than one")]
    Malformed,
}

/// Writes one message as a frame, and returns the frame's bytes, its zero included.
///
/// # Errors
///
/// [`FrameError::TooLong`] if `buffer` is too short; one of [`MAX_FRAME`] bytes never is.
pub fn encode<'b, M: Serialize>(message: &M, buffer: &'b mut [u8]) -> Result<&'b [u8], FrameError> {
    let stuffed = Cobs::try_new(Slice::new(buffer)).map_err(|_| FrameError::TooLong)?;
    postcard::serialize_with_flavor(message, CrcModifier::new(stuffed, CRC.digest()))
        .map(|frame| &*frame)
        .map_err(|_| FrameError::TooLong)
}

/// Finds frames in a stream of bytes. `M` is the message that this side expects.
#[derive(Debug)]
pub struct Decoder<M> {
    buffer: Vec<u8, MAX_FRAME>,
    overflowed: bool,
    message: PhantomData<M>,
}

impl<M: DeserializeOwned> Decoder<M> {
    /// A decoder that is between two frames.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            overflowed: false,
            message: PhantomData,
        }
    }

    /// Takes the next byte. Returns something at the end of each frame: its message, or why there is none. Zeros between
    /// frames are nothing; an overlong frame is reported once, at its end, and no part of it is looked at.
    pub fn push(&mut self, byte: u8) -> Option<Result<M, FrameError>> {
        if byte != 0 {
            self.overflowed |= self.buffer.push(byte).is_err();
            return None;
        }
        let ended = if core::mem::take(&mut self.overflowed) {
            Some(Err(FrameError::TooLong))
        } else if self.buffer.is_empty() {
            None
        } else {
            Some(decode(&mut self.buffer))
        };
        self.buffer.clear();
        ended
    }
}

impl<M: DeserializeOwned> Default for Decoder<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// Decodes one frame without its zero, in place.
fn decode<M: DeserializeOwned>(frame: &mut [u8]) -> Result<M, FrameError> {
    let length = cobs::decode_in_place(frame).map_err(|_| FrameError::Stuffing)?;
    let payload = frame.get(..length).ok_or(FrameError::Stuffing)?;
    match postcard::take_from_bytes_crc32(payload, CRC.digest()) {
        Ok((message, [])) => Ok(message),
        Err(postcard::Error::DeserializeBadCrc) => Err(FrameError::Crc),
        Ok(_) | Err(_) => Err(FrameError::Malformed),
    }
}
