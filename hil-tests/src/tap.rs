//! A line that counts what is sent on it, and can be cut at any byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use surefoot::link::{Link, LinkError};

/// What a test sees and does of a tapped line while a session owns it.
#[derive(Clone, Debug)]
pub struct Wire {
    sent: Arc<AtomicU64>,
    cut_at: Arc<AtomicU64>,
}

impl Wire {
    /// How many bytes went to the robot.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Counts bytes that somebody else put on the line.
    pub(crate) fn count(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// Cuts the line behind the `bytes` next bytes to the robot: the host notices nothing.
    pub fn cut_after(&self, bytes: u64) {
        self.cut_at.store(self.sent() + bytes, Ordering::SeqCst);
    }

    /// Mends the line.
    pub fn mend(&self) {
        self.cut_at.store(u64::MAX, Ordering::SeqCst);
    }
}

/// A line whose bytes to the robot are counted and can be cut off.
#[derive(Debug)]
pub struct Tap<L> {
    link: L,
    wire: Wire,
}

impl<L: Link> Tap<L> {
    /// Taps a line.
    #[must_use]
    pub fn new(link: L) -> (Self, Wire) {
        let wire = Wire {
            sent: Arc::new(AtomicU64::new(0)),
            cut_at: Arc::new(AtomicU64::new(u64::MAX)),
        };
        let tap = Self {
            link,
            wire: wire.clone(),
        };
        (tap, wire)
    }
}

impl<L: Link> Link for Tap<L> {
    fn name(&self) -> &str {
        self.link.name()
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, LinkError> {
        self.link.read(buffer, deadline)
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let cut_at = self.wire.cut_at.load(Ordering::SeqCst);
        let left = cut_at.saturating_sub(self.wire.sent());
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.link.write_all(&bytes[..count])?;
        self.wire.count(count);
        Ok(())
    }
}
