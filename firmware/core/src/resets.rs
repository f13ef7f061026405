//! Robots that reset again and again are latched off.

/// How many resets within [`WINDOW_MS`] latch the robot off.
pub const MAX_RESETS: usize = 3;

/// The window in which resets are counted, ms.
pub const WINDOW_MS: u32 = 60_000;

const WORDS: usize = MAX_RESETS + 2;

/// How long ago the last resets were. It lives in memory that survives a reset but not the loss of power, which the board reads at
/// the start and writes after every change; what is there after power-on fails the check and counts as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resets {
    /// Time since each of the last resets, the newest first, ms; `u32::MAX` for none.
    ages_ms: [u32; MAX_RESETS],
    latched: bool,
}

impl Resets {
    /// Reads the words that the memory holds, at the start. If they pass the check, this start is one more reset.
    #[must_use]
    pub fn at_start(words: [u32; WORDS]) -> Self {
        let [ages @ .., latched, sum] = words;
        let mut resets = Self {
            ages_ms: ages,
            latched: latched != 0,
        };
        if sum != checksum(&words) {
            return Self {
                ages_ms: [u32::MAX; MAX_RESETS],
                latched: false,
            };
        }
        resets.ages_ms.rotate_right(1);
        resets.ages_ms[0] = 0;
        resets.latched |= resets.ages_ms.iter().all(|age| *age <= WINDOW_MS);
        resets
    }

    /// Notes that the firmware has run for `ms` more.
    pub fn run(&mut self, ms: u32) {
        for age in &mut self.ages_ms {
            *age = age.saturating_add(ms);
        }
    }

    /// Whether the robot must stay off until it loses power.
    #[must_use]
    pub fn latched(&self) -> bool {
        self.latched
    }

    /// The words to be kept in the memory.
    #[must_use]
    pub fn words(&self) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        for (word, age) in words.iter_mut().zip(self.ages_ms) {
            *word = age;
        }
        words[MAX_RESETS] = u32::from(self.latched);
        words[MAX_RESETS + 1] = checksum(&words);
        words
    }
}

/// FNV-1a over all words but the last, a word at a time.
fn checksum(words: &[u32; WORDS]) -> u32 {
    words[..WORDS - 1].iter().fold(0x811c_9dc5, |sum, word| {
        (sum ^ word).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts with what memory holds after power-on, then resets after each of these times.
    fn after(runs_ms: &[u32]) -> Resets {
        let mut resets = Resets::at_start([0xdead_beef; WORDS]);
        for ms in runs_ms {
            resets.run(*ms);
            resets = Resets::at_start(resets.words());
        }
        resets
    }

    #[test]
    fn the_third_reset_in_a_minute_latches() {
        assert!(!after(&[]).latched());
        assert!(!after(&[10, 10]).latched());
        assert!(after(&[10, 10, 10]).latched());
        assert!(after(&[1_000_000, 30_000, 30_000]).latched());
        assert!(!after(&[1_000_000, 30_000, 30_001]).latched());
    }

    #[test]
    fn it_stays_latched_until_power_is_lost() {
        assert!(after(&[10, 10, 10, u32::MAX, u32::MAX]).latched());
        assert!(!Resets::at_start([0; WORDS]).latched());
        assert!(!Resets::at_start([u32::MAX; WORDS]).latched());
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        let words = after(&[10, 10]).words();
        for bit in 0..WORDS * 32 {
            let mut damaged = words;
            damaged[bit / 32] ^= 1 << (bit % 32);
            let resets = Resets::at_start(damaged);
            assert_eq!(resets, Resets::at_start([0; WORDS]), "bit {bit}");
        }
    }

    #[test]
    fn resets_that_are_far_apart_never_latch() {
        assert!(!after(&[40_000; 1000]).latched());
        assert!(after(&[29_999; 3]).latched());
    }
}
