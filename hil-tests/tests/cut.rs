//! A line that is cut, at every byte of every kind of frame.

use hil_tests::{Desk, PERIOD_MS, patience};
use surefoot_wire::Mode;

/// The lifetime of the host's commands, ms.
const LIFETIME_MS: u64 = 30;

/// The line is cut behind byte `cut` of a command. Returns whether the command arrived whole.
fn cut_in_a_command(desk: &mut Desk, cut: u64, planned: &[f32]) -> bool {
    desk.tick(&[1.0, 1.0]);
    desk.wire.cut_after(cut);
    desk.command(planned);
    let steps = desk.pass(LIFETIME_MS - PERIOD_MS + 320);
    let arrived = steps[0].action != [1.0, 1.0];
    // Of the last whole command's lifetime, a tick was over before the cut.
    let alive = LIFETIME_MS as usize - if arrived { 0 } else { PERIOD_MS as usize };
    for (ms, step) in (1..).zip(&steps) {
        let expected = match ms {
            ms if ms < alive => Mode::Armed,
            ms if ms < alive + 200 => Mode::Damping,
            ms if ms < alive + 300 => Mode::Sitting,
            _ => Mode::Off,
        };
        assert_eq!(step.mode, expected, "cut at byte {cut}, {ms} ms");
        let [left, right] = step.action[..] else {
            panic!("two wheels")
        };
        let planned = if arrived {
            [planned[0], planned[1]]
        } else {
            [1.0, 1.0]
        };
        match expected {
            Mode::Armed => assert_eq!([left, right], planned, "cut at byte {cut}"),
            Mode::Damping => {
                assert!(left.abs() <= planned[0].abs() && right.abs() <= planned[1].abs())
            }
            _ => assert_eq!([left, right], [0.0, 0.0]),
        }
    }
    arrived
}

#[test]
fn at_every_byte_of_a_command() {
    for planned in [&[3.0, -3.0][..], &[4.0, 2.0, 4.0, 2.0, 4.0, 2.0]] {
        let mut desk = Desk::greeted();
        let mut cut = 0;
        loop {
            let mut armed = desk.armed();
            let arrived = cut_in_a_command(&mut armed, cut, planned);
            armed.wire.mend();
            // Noise and a zero end what is left of the frame.
            armed.noise(&[1, 0]);
            desk = armed;
            if arrived {
                break;
            }
            cut += 1;
        }
        assert!(cut > 20, "a command has more than {cut} bytes");
    }
}

#[test]
fn at_every_byte_of_a_stop() {
    for cut in 0.. {
        let mut desk = Desk::greeted().armed();
        desk.tick(&[1.0, 1.0]);
        desk.wire.cut_after(cut);
        desk.session.disarm().unwrap();
        let steps = desk.pass(LIFETIME_MS);
        let stopped = steps[0].mode == Mode::Damping;
        let alive = if stopped {
            0
        } else {
            LIFETIME_MS - PERIOD_MS - 1
        };
        assert!(
            steps[..alive as usize]
                .iter()
                .all(|step| step.mode == Mode::Armed)
        );
        assert!(
            steps[alive as usize..]
                .iter()
                .all(|step| step.mode == Mode::Damping)
        );
        if stopped {
            assert!(cut > 4);
            return;
        }
    }
}

#[test]
fn at_every_byte_of_a_handshake() {
    for cut in 0.. {
        let mut desk = Desk::greeted();
        desk.wire.cut_after(cut);
        let soon = std::time::Instant::now() + std::time::Duration::from_millis(20);
        let confirmed = desk.session.arm(soon).is_ok();
        let steps = desk.pass(5);
        let armed = steps[0].mode == Mode::Armed;
        assert!(steps.iter().all(|step| (step.mode == Mode::Armed) == armed));
        assert!(armed || !confirmed, "cut at byte {cut}");
        if armed {
            assert!(cut > 30);
            return;
        }
        // The host shakes hands again when the line is mended.
        desk.wire.mend();
        desk.noise(&[1, 0]);
        desk.session.arm(patience()).unwrap();
        assert_eq!(desk.pass(1)[0].mode, Mode::Armed);
    }
}
