//! The campaigns of `prove`, as long as every change can afford.

use hil_tests::{damage, limits};

#[test]
fn no_damaged_frame_is_taken_for_another() {
    let damaged = if cfg!(debug_assertions) {
        1_000_000
    } else {
        10_000_000
    };
    let tally = damage::campaign(1, damaged);
    assert!(tally.damaged >= damaged);
    assert_eq!(tally.wrong, 0);
    // The damage leaves some frames whole, so the decoder is not just deaf.
    assert!(tally.intact > damaged / 10);
}

#[test]
fn no_bit_pattern_passes_a_limiter() {
    assert_eq!(limits::first_through_limiter(0, u32::MAX, 1021), None);
    for around in [
        0f32,
        10.0,
        -10.0,
        4.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
    ] {
        let bits = around.to_bits();
        let (from, to) = (bits.saturating_sub(1000), bits.saturating_add(1000));
        assert_eq!(limits::first_through_limiter(from, to, 1), None);
    }
}

#[test]
fn no_bit_pattern_passes_the_firmware() {
    assert_eq!(limits::first_through_command(40_009), None);
    assert_eq!(limits::first_through_trip(80_021), None);
}
