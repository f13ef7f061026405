//! A line that damages what it carries, as seeded middleware on any other line.

use std::{collections::VecDeque, time::Instant};

use rand::RngExt;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{Link, LinkError};

/// How often each fault hits a frame, as probabilities from 0 to 1. They are drawn for each frame alone, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The frame is lost.
    pub drop: f64,
    /// One of its bits is flipped.
    pub flip: f64,
    /// It loses its end, its zero included.
    pub truncate: f64,
    /// It comes twice.
    pub duplicate: f64,
    /// One to [`delay_frames`](Self::delay_frames) frames overtake it.
    pub delay: f64,
    /// The most frames that overtake a delayed one.
    pub delay_frames: usize,
    /// Up to 32 bytes of garbage come before it.
    pub garbage: f64,
}

/// How many frames met which fault, and how many were given in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Frames that were given in.
    pub frames: u64,
    /// Frames that were lost.
    pub dropped: u64,
    /// Frames with a flipped bit.
    pub flipped: u64,
    /// Frames without their end.
    pub truncated: u64,
    /// Frames that came twice.
    pub duplicated: u64,
    /// Frames that were overtaken.
    pub delayed: u64,
    /// Frames after garbage.
    pub garbage: u64,
}

/// A line that damages frames in both directions, the same ones for the same seed and frames.
#[derive(Debug)]
pub struct FaultInjector<L> {
    link: L,
    to_robot: Lane,
    to_host: Lane,
    /// What came from the robot, after its faults, and was not yet read.
    ready: VecDeque<u8>,
}

impl<L: Link> FaultInjector<L> {
    /// Puts faults on a line, in each direction its own.
    #[must_use]
    pub fn new(link: L, seed: u64, to_robot: Faults, to_host: Faults) -> Self {
        Self {
            link,
            to_robot: Lane::new(seed, 0, to_robot),
            to_host: Lane::new(seed, 1, to_host),
            ready: VecDeque::new(),
        }
    }

    /// What was done so far: on the way to the robot, and to the host.
    #[must_use]
    pub fn injected(&self) -> [Injected; 2] {
        [self.to_robot.injected, self.to_host.injected]
    }
}

impl<L: Link> Link for FaultInjector<L> {
    fn name(&self) -> &str {
        self.link.name()
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, LinkError> {
        while self.ready.is_empty() {
            let mut bytes = [0; 512];
            let count = self.link.read(&mut bytes, deadline)?;
            if count == 0 {
                return Ok(0);
            }
            self.to_host
                .pass(&bytes[..count], |bytes| self.ready.extend(bytes));
        }
        let count = buffer.len().min(self.ready.len());
        for (slot, byte) in buffer.iter_mut().zip(self.ready.drain(..count)) {
            *slot = byte;
        }
        Ok(count)
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let mut damaged = Vec::new();
        self.to_robot
            .pass(bytes, |bytes| damaged.extend_from_slice(bytes));
        if damaged.is_empty() {
            Ok(())
        } else {
            self.link.write_all(&damaged)
        }
    }
}

/// One direction.
#[derive(Debug)]
struct Lane {
    faults: Faults,
    random: ChaCha8Rng,
    /// The frame that is coming in.
    frame: Vec<u8>,
    /// Delayed frames, and how many more frames overtake each.
    held: Vec<(usize, Vec<u8>)>,
    injected: Injected,
}

impl Lane {
    fn new(seed: u64, direction: u64, faults: Faults) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(direction);
        Self {
            faults,
            random,
            frame: Vec::new(),
            held: Vec::new(),
            injected: Injected::default(),
        }
    }

    /// Takes bytes, and gives out what is left of each frame when it is whole.
    fn pass(&mut self, bytes: &[u8], mut out: impl FnMut(&[u8])) {
        for byte in bytes {
            self.frame.push(*byte);
            if *byte == 0 {
                let frame = std::mem::take(&mut self.frame);
                self.pass_frame(frame, &mut out);
            }
        }
    }

    fn pass_frame(&mut self, mut frame: Vec<u8>, out: &mut impl FnMut(&[u8])) {
        let faults = self.faults;
        self.injected.frames += 1;
        let due: Vec<_> = self.held.extract_if(.., |(left, _)| *left == 0).collect();
        self.held.iter_mut().for_each(|(left, _)| *left -= 1);
        if self.hits(faults.drop) {
            self.injected.dropped += 1;
            frame.clear();
        }
        if !frame.is_empty() && self.hits(faults.flip) {
            self.injected.flipped += 1;
            let bit = self.random.random_range(0..frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        if !frame.is_empty() && self.hits(faults.truncate) {
            self.injected.truncated += 1;
            frame.truncate(self.random.random_range(0..frame.len()));
        }
        let copies = if self.hits(faults.duplicate) { 2 } else { 1 };
        self.injected.duplicated += copies - 1;
        if self.hits(faults.garbage) {
            self.injected.garbage += 1;
            let garbage: [u8; 32] = self.random.random();
            out(&garbage[..self.random.random_range(1..=32)]);
        }
        if faults.delay_frames > 0 && self.hits(faults.delay) {
            self.injected.delayed += 1;
            let overtaking = self.random.random_range(1..=faults.delay_frames);
            self.held
                .push((overtaking - 1, frame.repeat(copies as usize)));
        } else {
            (0..copies).for_each(|_| out(&frame));
        }
        due.iter().for_each(|(_, late)| out(late));
    }

    fn hits(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.random_bool(probability.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::pair;

    /// What arrives of 2000 frames of three bytes that count up.
    fn carried(seed: u64, faults: Faults) -> (Vec<u8>, Injected) {
        let (link, mut robot) = pair();
        let mut link = FaultInjector::new(link, seed, faults, Faults::default());
        for index in 0..2000u32 {
            link.write_all(&[(index % 255) as u8 + 1, (index / 255) as u8 + 1, 0])
                .unwrap();
        }
        let mut arrived = Vec::new();
        let mut buffer = [0; 512];
        loop {
            match robot.read(&mut buffer, Instant::now()).unwrap() {
                0 => break,
                count => arrived.extend(&buffer[..count]),
            }
        }
        (arrived, link.injected()[0])
    }

    fn only(change: impl Fn(&mut Faults)) -> Faults {
        let mut faults = Faults {
            delay_frames: 3,
            ..Faults::default()
        };
        change(&mut faults);
        faults
    }

    #[test]
    fn without_faults_nothing_changes() {
        let (arrived, injected) = carried(1, Faults::default());
        assert_eq!(arrived.len(), 6000);
        assert_eq!(
            injected,
            Injected {
                frames: 2000,
                ..Injected::default()
            }
        );
    }

    #[test]
    fn each_fault_is_what_it_says_and_as_often() {
        let usual = |count: u64| (150..250).contains(&count);
        let whole = carried(1, Faults::default()).0;

        let (arrived, injected) = carried(1, only(|faults| faults.drop = 0.1));
        assert!(usual(injected.dropped) && arrived.len() as u64 == 6000 - 3 * injected.dropped);

        let (arrived, injected) = carried(1, only(|faults| faults.flip = 0.1));
        let bits: u32 = whole
            .iter()
            .zip(&arrived)
            .map(|(sent, came)| (sent ^ came).count_ones())
            .sum();
        assert!(usual(injected.flipped) && u64::from(bits) == injected.flipped);

        let (arrived, injected) = carried(1, only(|faults| faults.truncate = 0.1));
        let zeros = arrived.iter().filter(|byte| **byte == 0).count() as u64;
        assert!(usual(injected.truncated) && zeros == 2000 - injected.truncated);

        let (arrived, injected) = carried(1, only(|faults| faults.duplicate = 0.1));
        assert!(
            usual(injected.duplicated) && arrived.len() as u64 == 6000 + 3 * injected.duplicated
        );

        let (arrived, injected) = carried(1, only(|faults| faults.garbage = 0.1));
        assert!(usual(injected.garbage) && arrived.len() as u64 > 6000 + injected.garbage);

        let (arrived, injected) = carried(1, only(|faults| faults.delay = 0.1));
        let numbers: Vec<u32> = arrived
            .chunks(3)
            .map(|frame| u32::from(frame[0]) + 255 * u32::from(frame[1]))
            .collect();
        let overtaken = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        assert!(usual(injected.delayed) && overtaken > 100 && overtaken <= injected.delayed);
    }

    #[test]
    fn a_seed_is_a_line() {
        let faults = Faults {
            drop: 0.1,
            flip: 0.1,
            truncate: 0.1,
            duplicate: 0.1,
            delay: 0.1,
            delay_frames: 5,
            garbage: 0.1,
        };
        assert_eq!(carried(7, faults), carried(7, faults));
        assert_ne!(carried(7, faults), carried(8, faults));
    }
}
