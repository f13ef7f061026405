//! Damaged frames, as many as wanted: none may be taken for another message.

use rand::{Rng, RngExt, seq::IndexedRandom};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Serialize, de::DeserializeOwned};
use surefoot_wire::{
    Cause, Channel, ChannelKind, Counters, Decoder, EventKind, Limit, MAX_FRAME, Mode, Name,
    PROTOCOL, Refusal, SCHEMA_HASH, Sequence, Telemetry, ToHost, ToRobot, encode,
};

/// How many different frames of each direction are damaged.
const POOL: usize = 256;

/// What a campaign found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Damaged pieces of line that were given to a decoder.
    pub damaged: u64,
    /// Messages that came out of them whole: frames that the damage did not hit.
    pub intact: u64,
    /// Messages that came out of them and that nobody sent.
    pub wrong: u64,
}

/// Damages frames of both directions, the same ones for the same seed, and decodes what is left.
#[must_use]
pub fn campaign(seed: u64, damaged: u64) -> Tally {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let to_robot = Pool::new((0..POOL).map(|_| to_robot(&mut random)).collect());
    let to_host = Pool::new((0..POOL).map(|_| to_host(&mut random)).collect());
    while tally.damaged < damaged {
        to_robot.damage(&mut random, &mut tally);
        to_host.damage(&mut random, &mut tally);
    }
    tally
}

struct Pool<M> {
    messages: Vec<(M, Vec<u8>)>,
}

impl<M> Pool<M>
where
    M: Serialize + DeserializeOwned + PartialEq,
{
    fn new(messages: Vec<M>) -> Self {
        let framed = messages.into_iter().map(|message| {
            let frame = encode(&message, &mut [0; MAX_FRAME])
                .expect("it fits")
                .to_vec();
            (message, frame)
        });
        Self {
            messages: framed.collect(),
        }
    }

    /// One piece of line with one to three frames on it, damaged once.
    fn damage(&self, random: &mut ChaCha8Rng, tally: &mut Tally) {
        let count = random.random_range(1..=3);
        let sent: Vec<&(M, Vec<u8>)> = self.messages.sample(random, count).collect();
        let whole: Vec<u8> = sent.iter().flat_map(|(_, frame)| frame).copied().collect();
        let mut line = whole.clone();
        hurt(random, &mut line);
        if line == whole {
            return;
        }
        tally.damaged += 1;
        line.push(0);
        let mut decoder = Decoder::<M>::new();
        for received in line.iter().filter_map(|byte| decoder.push(*byte)).flatten() {
            if sent.iter().any(|(message, _)| *message == received) {
                tally.intact += 1;
            } else {
                tally.wrong += 1;
            }
        }
    }
}

/// Damages a piece of line in one of six ways.
fn hurt(random: &mut ChaCha8Rng, line: &mut Vec<u8>) {
    let place = random.random_range(0..line.len());
    let length = random.random_range(1..=24).min(line.len() - place);
    match random.random_range(0..6) {
        // Flipped bits, anywhere.
        0 => {
            for _ in 0..random.random_range(1..=8) {
                let bit = random.random_range(0..line.len() * 8);
                line[bit / 8] ^= 1 << (bit % 8);
            }
        }
        // A burst.
        1 => random.fill_bytes(&mut line[place..place + length]),
        // A piece of it again, elsewhere.
        2 => {
            let piece = line[place..place + length].to_vec();
            let at = random.random_range(0..=line.len());
            line.splice(at..at, piece);
        }
        // Lost bytes.
        3 => drop(line.drain(place..place + length)),
        // Two ends joined.
        4 => line.rotate_left(place),
        // Nothing but noise.
        _ => random.fill_bytes(line),
    }
}

fn to_robot(random: &mut ChaCha8Rng) -> ToRobot {
    match random.random_range(0..8) {
        0 => ToRobot::Hello {
            protocol: PROTOCOL,
            schema_hash: SCHEMA_HASH,
        },
        1 => ToRobot::DescribeChannel {
            kind: ChannelKind::Action,
            index: random.random(),
        },
        2 => ToRobot::Arm {
            contract_hash: random.random(),
            session: random.random(),
        },
        3 => ToRobot::Disarm,
        _ => ToRobot::Command {
            session: random.random(),
            sequence: Sequence(random.random()),
            lifetime_ms: random.random(),
            actions: values(random, 16).into_iter().collect(),
        },
    }
}

fn to_host(random: &mut ChaCha8Rng) -> ToHost {
    match random.random_range(0..8) {
        0 => ToHost::Hello {
            protocol: PROTOCOL,
            schema_hash: SCHEMA_HASH,
            robot: Name::try_from("roach").expect("it fits"),
            contract_hash: random.random(),
            period_us: 100_000,
            n_observation: 15,
            limits: [Limit {
                min: 0.0,
                max: 60.0,
                rate: 6000.0,
            }; 2]
                .into_iter()
                .collect(),
            session: random.random(),
        },
        1 => ToHost::Channel {
            kind: ChannelKind::Observation,
            index: random.random(),
            channel: Channel::new("leg_left_speed", "rad/s").expect("it fits"),
        },
        2 => {
            let mut counters = Counters::default();
            counters.accepted = random.random();
            ToHost::Counters(counters)
        }
        3 => ToHost::Event {
            time_us: random.random(),
            kind: EventKind::Mode {
                mode: Mode::Damping,
                cause: Cause::LifetimeEnded,
            },
        },
        4 => ToHost::Event {
            time_us: random.random(),
            kind: EventKind::Refused(*Refusal::ALL.choose(random).expect("there are reasons")),
        },
        _ => ToHost::Telemetry(Telemetry {
            sequence: Sequence(random.random()),
            time_us: random.random(),
            mode: Mode::Armed,
            last_command: Some(Sequence(random.random())),
            applied: values(random, 4).into_iter().collect(),
            observation: values(random, 24).into_iter().collect(),
            refused: random.random(),
        }),
    }
}

fn values(random: &mut ChaCha8Rng, most: usize) -> Vec<f32> {
    let count = random.random_range(1..=most);
    (0..count)
        .map(|_| random.random_range(-60.0..60.0))
        .collect()
}
