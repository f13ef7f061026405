//! When a hardware watchdog may be fed.

/// Feeds a hardware watchdog only when every part of the firmware has checked in since it was fed last, so that one part that
/// hangs resets the microcontroller, however busy the others are.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog<const PARTS: usize> {
    checked_in: [bool; PARTS],
}

impl<const PARTS: usize> Watchdog<PARTS> {
    /// A watchdog over this many parts, none of which has checked in.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            checked_in: [false; PARTS],
        }
    }

    /// Part `part`, from 0, has done its work once more. A part that there is not changes nothing.
    pub fn check_in(&mut self, part: usize) {
        if let Some(checked_in) = self.checked_in.get_mut(part) {
            *checked_in = true;
        }
    }

    /// Whether the hardware watchdog is to be fed now; then every part must check in again.
    #[must_use]
    pub fn take_feed(&mut self) -> bool {
        let all = self.checked_in.iter().all(|checked_in| *checked_in);
        if all {
            self.checked_in = [false; PARTS];
        }
        all
    }
}

impl<const PARTS: usize> Default for Watchdog<PARTS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_once_for_all_parts() {
        let mut watchdog = Watchdog::<3>::new();
        for part in [0, 2, 7, 0] {
            watchdog.check_in(part);
            assert!(!watchdog.take_feed());
        }
        watchdog.check_in(1);
        assert!(watchdog.take_feed());
        assert!(!watchdog.take_feed());
    }

    #[test]
    fn a_part_that_hangs_starves_it() {
        for hung in 0..3 {
            let mut watchdog = Watchdog::<3>::new();
            for _ in 0..1000 {
                (0..3)
                    .filter(|part| *part != hung)
                    .for_each(|part| watchdog.check_in(part));
                assert!(!watchdog.take_feed());
            }
        }
    }
}
