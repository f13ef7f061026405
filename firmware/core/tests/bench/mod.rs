//! A firmware on a bench: a host's words go in at exact instants, and everything that comes out is looked at.
#![allow(dead_code, reason = "each test file uses its own part of the bench")]

use surefoot_firmware::{ActionChannel, Config, Firmware, Trip};
use surefoot_wire::{
    Cause, Channel, Counters, Decoder, EventKind, Limit, MAX_FRAME, Mode, Name, PROTOCOL,
    SCHEMA_HASH, Sequence, Telemetry, ToHost, ToRobot, encode,
};

/// The tick period of the bench's robot, ms.
pub const PERIOD_MS: u64 = 10;

/// Two wheels and a tilt sensor. The right wheel's safe speed is not 0, to see which is which.
pub fn config() -> Config {
    let wheel = |name, safe| ActionChannel {
        channel: Channel::new(name, "rad/s").unwrap(),
        limit: Limit {
            min: -10.0,
            max: 10.0,
            rate: 1e6,
        },
        safe,
    };
    Config {
        robot: Name::try_from("bench").unwrap(),
        period_us: 1000 * PERIOD_MS as u32,
        observation: [("position", "m"), ("tilt", "rad")]
            .map(|(name, unit)| Channel::new(name, unit).unwrap())
            .into_iter()
            .collect(),
        action: [wheel("left", 0.0), wheel("right", 0.5)]
            .into_iter()
            .collect(),
        max_lifetime_ms: 250,
        damping_ms: 200,
        sitting_ms: 100,
        trips: [Trip {
            channel: 1,
            min: -0.5,
            max: 0.5,
        }]
        .into_iter()
        .collect(),
        derates: [].into_iter().collect(),
    }
}

/// The frame of a message to the robot.
pub fn frame(message: &ToRobot) -> Vec<u8> {
    encode(message, &mut [0; MAX_FRAME]).unwrap().to_vec()
}

/// A firmware and the host's view of it.
pub struct Bench {
    pub firmware: Firmware,
    pub now_us: u64,
    pub observation: Vec<f32>,
    pub heard: Vec<ToHost>,
    pub session: u32,
    decoder: Decoder<ToHost>,
}

impl Bench {
    /// A robot that was just switched on.
    pub fn new(config: Config) -> Self {
        Self {
            observation: vec![0.0; config.observation.len()],
            firmware: Firmware::new(config).unwrap(),
            now_us: 0,
            heard: Vec::new(),
            session: 0,
            decoder: Decoder::new(),
        }
    }

    /// A robot that is armed at 1 ms.
    pub fn armed() -> Self {
        let mut bench = Self::new(config());
        bench.step();
        bench.arm();
        assert_eq!(bench.mode(), Mode::Armed);
        bench
    }

    /// Shakes hands and arms.
    pub fn arm(&mut self) {
        let contract_hash = self.hello();
        self.send(&ToRobot::Arm {
            contract_hash,
            session: self.session,
        });
    }

    /// Says hello, keeps the session on offer, and returns the robot's contract hash.
    pub fn hello(&mut self) -> u64 {
        self.send(&ToRobot::Hello {
            protocol: PROTOCOL,
            schema_hash: SCHEMA_HASH,
        });
        let Some(ToHost::Hello {
            contract_hash,
            session,
            ..
        }) = self
            .heard
            .iter()
            .rfind(|message| matches!(message, ToHost::Hello { .. }))
        else {
            panic!("the robot answers a hello");
        };
        self.session = *session;
        *contract_hash
    }

    /// Gives the robot bytes, at this instant.
    pub fn give(&mut self, bytes: &[u8]) {
        self.firmware.receive(self.now_us, bytes);
        self.listen();
    }

    /// Gives the robot one message, at this instant.
    pub fn send(&mut self, message: &ToRobot) {
        self.give(&frame(message));
    }

    /// A command of the running session.
    pub fn command(&self, sequence: u16, lifetime_ms: u16, actions: &[f32]) -> ToRobot {
        ToRobot::Command {
            session: self.session,
            sequence: Sequence(sequence),
            lifetime_ms,
            actions: actions.iter().copied().collect(),
        }
    }

    /// One millisecond; returns the setpoints.
    pub fn step(&mut self) -> Vec<f32> {
        self.now_us += 1000;
        let observation = self.observation.clone();
        let action = self
            .firmware
            .step(self.now_us, &observation)
            .action
            .to_vec();
        self.listen();
        action
    }

    /// What the robot is doing at this instant.
    pub fn mode(&mut self) -> Mode {
        let observation = self.observation.clone();
        let output = self.firmware.step(self.now_us, &observation);
        assert_eq!(output.drivers_enabled, output.mode.drivers_enabled());
        output.mode
    }

    /// Steps until the robot is in this mode, and returns how many ms that took.
    pub fn step_until(&mut self, mode: Mode) -> u64 {
        (0..10_000)
            .find(|_| {
                let there = self.mode() == mode;
                if !there {
                    self.step();
                }
                there
            })
            .expect("the robot gets there")
    }

    /// Every telemetry message so far.
    pub fn telemetry(&self) -> Vec<&Telemetry> {
        let telemetry = self.heard.iter().filter_map(|message| match message {
            ToHost::Telemetry(telemetry) => Some(telemetry),
            _ => None,
        });
        telemetry.collect()
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<EventKind> {
        let events = self.heard.iter().filter_map(|message| match message {
            ToHost::Event { kind, .. } => Some(*kind),
            _ => None,
        });
        events.collect()
    }

    /// Whether the robot said that it went safe for this cause.
    pub fn went_safe(&self, cause: Cause) -> bool {
        let mode = Mode::Damping;
        self.events().contains(&EventKind::Mode { mode, cause })
    }

    /// The counters, asked for over the wire.
    pub fn counters(&mut self) -> Counters {
        self.send(&ToRobot::ReadCounters);
        let Some(ToHost::Counters(counters)) = self.heard.last() else {
            panic!("the robot answers");
        };
        assert_eq!(counters, self.firmware.counters());
        counters.clone()
    }

    fn listen(&mut self) {
        let mut buffer = [0; 37];
        loop {
            let count = self.firmware.transmit(&mut buffer);
            if count == 0 {
                return;
            }
            for byte in &buffer[..count] {
                self.heard
                    .extend(self.decoder.push(*byte).map(|message| message.unwrap()));
            }
        }
    }
}
