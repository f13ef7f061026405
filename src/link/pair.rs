//! A line inside of this process.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Instant,
};

use super::{Link, LinkError};

/// One end of a line inside of this process; the other end may be in another thread.
#[derive(Debug)]
pub struct PairLink {
    to_peer: Sender<Vec<u8>>,
    from_peer: Receiver<Vec<u8>>,
    /// What was received and not yet read.
    rest: Vec<u8>,
}

/// Two ends of a line without limit. When one is dropped, the other sees the line vanish after what was sent.
#[must_use]
pub fn pair() -> (PairLink, PairLink) {
    let (to_right, from_left) = channel();
    let (to_left, from_right) = channel();
    let end = |to_peer, from_peer| PairLink {
        to_peer,
        from_peer,
        rest: Vec::new(),
    };
    (end(to_right, from_right), end(to_left, from_left))
}

impl Link for PairLink {
    fn name(&self) -> &str {
        "in-process line"
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, LinkError> {
        if self.rest.is_empty() {
            let patience = deadline.saturating_duration_since(Instant::now());
            self.rest = match self.from_peer.recv_timeout(patience) {
                Ok(bytes) => bytes,
                Err(RecvTimeoutError::Timeout) => return Ok(0),
                Err(RecvTimeoutError::Disconnected) => return Err(self.vanished()),
            };
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.to_peer
            .send(bytes.to_vec())
            .map_err(|_| self.vanished())
    }
}

impl PairLink {
    fn vanished(&self) -> LinkError {
        LinkError::Vanished {
            port: self.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_what_does_not_fit_waits() {
        let (mut left, mut right) = pair();
        left.write_all(&[1, 2, 3]).unwrap();
        left.write_all(&[4]).unwrap();
        let mut received: Vec<u8> = Vec::new();
        let mut buffer = [0; 2];
        loop {
            match right.read(&mut buffer, Instant::now()).unwrap() {
                0 => break,
                count => received.extend(&buffer[..count]),
            }
        }
        assert_eq!(received, [1, 2, 3, 4]);
    }

    #[test]
    fn a_dropped_end_is_seen_after_its_last_bytes() {
        let (mut left, mut right) = pair();
        left.write_all(&[7]).unwrap();
        drop(left);
        let mut buffer = [0; 2];
        assert_eq!(right.read(&mut buffer, Instant::now()), Ok(1));
        let vanished = Err(LinkError::Vanished {
            port: "in-process line".to_owned(),
        });
        assert_eq!(right.read(&mut buffer, Instant::now()), vanished);
        assert_eq!(right.write_all(&[1]).map(|()| 0), vanished);
    }
}
