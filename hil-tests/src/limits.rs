//! Bit patterns of 32-bit floats through everything that limits one, as many of them as wanted.

use surefoot_firmware::{Firmware, limits::Limiter};
use surefoot_wire::{
    Decoder, Limit, MAX_FRAME, Mode, PROTOCOL, SCHEMA_HASH, Sequence, ToHost, ToRobot, encode,
};

use crate::config;

const LIMIT: Limit = Limit {
    min: -10.0,
    max: 4.0,
    rate: 1000.0,
};

/// The first bit pattern from `from` on, every `stride`-th, that passes the limiter's bounds or rate, as what is wanted or as what was.
///
/// # Panics
///
/// Never: the limit makes sense.
#[must_use]
pub fn first_through_limiter(from: u32, to: u32, stride: usize) -> Option<u32> {
    let limiter = Limiter::new(LIMIT).expect("a limit that makes sense");
    let bounds = LIMIT.min..=LIMIT.max;
    let last = 1.5;
    let reach = last - 1.0..=last + 1.0;
    (from..=to).step_by(stride).find(|bits| {
        let value = f32::from_bits(*bits);
        let next = limiter.limit_step(last, value, 1000);
        let after = limiter.limit_step(value, last, 1000);
        let passes = !reach.contains(&next) || !bounds.contains(&after);
        let is_hindered = reach.contains(&value) && bounds.contains(&value) && next != value;
        passes || is_hindered || limiter.allows(value) != bounds.contains(&value)
    })
}

/// The first bit pattern, every `stride`-th, that reaches an actuator of the whole firmware outside of its limits, or that is
/// accepted in a command though it is not finite.
///
/// # Panics
///
/// If the firmware cannot be armed.
#[must_use]
pub fn first_through_command(stride: usize) -> Option<u32> {
    let mut robot = Armed::new();
    (0..=u32::MAX).step_by(stride).find(|bits| {
        let value = f32::from_bits(*bits);
        let accepted = robot.firmware.counters().accepted;
        robot.command(value);
        let (_, setpoint) = robot.step(0.0);
        let was_accepted = robot.firmware.counters().accepted != accepted;
        let expected = if value.is_finite() {
            value.clamp(-10.0, 10.0)
        } else {
            0.0
        };
        robot.command(0.0);
        robot.step(0.0);
        was_accepted != value.is_finite() || setpoint != expected
    })
}

/// The first bit pattern, every `stride`-th, that a trip lets through though it is out of its range, or the other way round.
///
/// # Panics
///
/// If the firmware cannot be armed.
#[must_use]
pub fn first_through_trip(stride: usize) -> Option<u32> {
    let mut robot = Armed::new();
    (0..=u32::MAX).step_by(stride).find(|bits| {
        let value = f32::from_bits(*bits);
        robot.command(0.0);
        let (mode, _) = robot.step(value);
        if mode != Mode::Armed {
            robot = Armed::new();
        }
        (mode == Mode::Armed) != (-0.5..=0.5).contains(&value)
    })
}

struct Armed {
    firmware: Firmware,
    now_us: u64,
    session: u32,
    sequence: Sequence,
}

impl Armed {
    fn new() -> Self {
        let config = config();
        let contract_hash = config.contract_hash();
        let mut firmware = Firmware::new(config).expect("a configuration that makes sense");
        let mut robot = Self {
            session: session_on_offer(&mut firmware),
            firmware,
            now_us: 0,
            sequence: Sequence(0),
        };
        let session = robot.session;
        robot.tell(&ToRobot::Arm {
            contract_hash,
            session,
        });
        robot.step(0.0);
        robot
    }

    fn command(&mut self, left: f32) {
        self.sequence = self.sequence.next();
        self.tell(&ToRobot::Command {
            session: self.session,
            sequence: self.sequence,
            lifetime_ms: 250,
            actions: [left, 0.0].into_iter().collect(),
        });
    }

    /// Two milliseconds, in which a setpoint can go from one bound to the other. Returns the mode and the left setpoint.
    fn step(&mut self, tilt: f32) -> (Mode, f32) {
        self.now_us += 2000;
        let output = self.firmware.step(self.now_us, &[0.0, 0.0, 0.0, tilt]);
        (output.mode, output.action[0])
    }

    fn tell(&mut self, message: &ToRobot) {
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(message, &mut buffer).expect("it fits");
        self.firmware.receive(self.now_us, frame);
    }
}

/// Shakes hands, and reads the session that the hello offers.
fn session_on_offer(firmware: &mut Firmware) -> u32 {
    let mut buffer = [0; MAX_FRAME];
    let hello = ToRobot::Hello {
        protocol: PROTOCOL,
        schema_hash: SCHEMA_HASH,
    };
    firmware.receive(0, encode(&hello, &mut buffer).expect("it fits"));
    let count = firmware.transmit(&mut buffer);
    let mut decoder = Decoder::new();
    let answer = buffer[..count].iter().find_map(|byte| decoder.push(*byte));
    match answer {
        Some(Ok(ToHost::Hello { session, .. })) => session,
        other => panic!("a hello is answered by a hello, not {other:?}"),
    }
}
