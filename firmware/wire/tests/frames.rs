//! What the frames promise on a line that damages, loses, cuts and repeats bytes.

use std::ops::RangeInclusive;

use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};
use surefoot_wire::{
    Cause, Channel, ChannelKind, Counters, Decoder, EventKind, FrameError, HostSeal, Key, Limit,
    MAX_ACTION, MAX_FRAME, MAX_FUTURE, MAX_NAME, MAX_OBSERVATION, MAX_UNIT, Mode, Name, PROTOCOL,
    Refusal, SCHEMA_HASH, Sequence, Telemetry, ToHost, ToRobot, encode,
};

fn frame<M: serde::Serialize>(message: &M) -> Vec<u8> {
    encode(message, &mut [0; MAX_FRAME]).unwrap().to_vec()
}

fn decode<M: serde::de::DeserializeOwned>(bytes: &[u8]) -> Vec<Result<M, FrameError>> {
    let mut decoder = Decoder::new();
    bytes
        .iter()
        .filter_map(|byte| decoder.push(*byte))
        .collect()
}

fn finite() -> impl Strategy<Value = f32> {
    -1e6f32..1e6
}

fn values(size: RangeInclusive<usize>) -> impl Strategy<Value = Vec<f32>> {
    vec(finite(), size)
}

fn to_robot() -> impl Strategy<Value = ToRobot> {
    let kind = select(vec![ChannelKind::Observation, ChannelKind::Action]);
    prop_oneof![
        (any::<u16>(), any::<u64>()).prop_map(|(protocol, schema_hash)| ToRobot::Hello {
            protocol,
            schema_hash
        }),
        (kind, any::<u8>()).prop_map(|(kind, index)| ToRobot::DescribeChannel { kind, index }),
        Just(ToRobot::ReadCounters),
        (any::<u64>(), any::<u32>()).prop_map(|(contract_hash, session)| ToRobot::Arm {
            contract_hash,
            session
        }),
        (
            any::<u32>(),
            any::<u16>(),
            any::<u16>(),
            values(0..=MAX_FUTURE * MAX_ACTION)
        )
            .prop_map(
                |(session, sequence, lifetime_ms, actions)| ToRobot::Command {
                    session,
                    sequence: Sequence(sequence),
                    lifetime_ms,
                    actions: actions.into_iter().collect(),
                }
            ),
        Just(ToRobot::Disarm),
    ]
}

fn telemetry() -> impl Strategy<Value = ToHost> {
    let mode = select(vec![
        Mode::Disarmed,
        Mode::Armed,
        Mode::Damping,
        Mode::Sitting,
        Mode::Off,
    ]);
    let last = proptest::option::of(any::<u16>().prop_map(Sequence));
    let of = (any::<u16>(), any::<u64>(), mode, last, any::<u32>());
    (of, values(0..=MAX_ACTION), values(0..=MAX_OBSERVATION)).prop_map(
        |((sequence, time_us, mode, last_command, refused), applied, observation)| {
            ToHost::Telemetry(Telemetry {
                sequence: Sequence(sequence),
                time_us,
                mode,
                last_command,
                applied: applied.into_iter().collect(),
                observation: observation.into_iter().collect(),
                refused,
            })
        },
    )
}

/// The largest message of each kind that can be large, every varint at its longest.
fn largest() -> (ToRobot, Vec<ToHost>) {
    let longest_name = Name::try_from("n".repeat(MAX_NAME).as_str()).unwrap();
    let limit = Limit {
        min: -1.5,
        max: 1.5,
        rate: 9.5,
    };
    let mut counters = Counters::default();
    counters.accepted = u32::MAX;
    for reason in Refusal::ALL {
        // Two bytes a counter are enough to see that there is room for five.
        (0..200).for_each(|_| counters.count(reason));
    }
    let to_robot = ToRobot::Command {
        session: u32::MAX,
        sequence: Sequence(u16::MAX),
        lifetime_ms: u16::MAX,
        actions: [1.1; MAX_FUTURE * MAX_ACTION].into_iter().collect(),
    };
    let to_host = vec![
        ToHost::Hello {
            protocol: u16::MAX,
            schema_hash: u64::MAX,
            robot: longest_name,
            contract_hash: u64::MAX,
            period_us: u32::MAX,
            n_observation: 64,
            limits: [limit; MAX_ACTION].into_iter().collect(),
            session: u32::MAX,
        },
        ToHost::Channel {
            kind: ChannelKind::Action,
            index: 255,
            channel: Channel::new(&"n".repeat(MAX_NAME), &"u".repeat(MAX_UNIT)).unwrap(),
        },
        ToHost::Counters(counters),
        ToHost::Telemetry(Telemetry {
            sequence: Sequence(u16::MAX),
            time_us: u64::MAX,
            mode: Mode::Off,
            last_command: Some(Sequence(u16::MAX)),
            applied: [1.1; MAX_ACTION].into_iter().collect(),
            observation: [1.1; MAX_OBSERVATION].into_iter().collect(),
            refused: u32::MAX,
        }),
    ];
    (to_robot, to_host)
}

#[test]
fn every_message_fits_in_a_frame() {
    let (to_robot, to_host) = largest();
    let sealed = HostSeal::new(Key::new([1; 16]), u64::MAX)
        .seal(to_robot.clone())
        .unwrap();
    // Its counter may become nine bytes longer.
    let longest = frame(&sealed).len() + 9;
    assert_eq!(decode(&frame(&to_robot)), [Ok(to_robot.clone())]);
    assert!(
        longest <= MAX_FRAME && longest + 16 > MAX_FRAME,
        "{longest}"
    );
    for message in to_host {
        assert!(frame(&message).len() + 32 < MAX_FRAME);
        assert_eq!(decode(&frame(&message)), [Ok(message)]);
    }
    assert_eq!(encode(&to_robot, &mut [0; 100]), Err(FrameError::TooLong));
}

#[test]
fn a_hello_of_another_version_can_be_read() {
    for protocol in [0, PROTOCOL, PROTOCOL + 1, u16::MAX] {
        for schema_hash in [0, SCHEMA_HASH, !SCHEMA_HASH] {
            let hello = ToRobot::Hello {
                protocol,
                schema_hash,
            };
            assert_eq!(decode(&frame(&hello)), [Ok(hello)]);
        }
    }
}

#[test]
fn nan_and_infinity_travel_unchanged() {
    let bits = [
        f32::NAN.to_bits(),
        0x7fa0_0001,
        0xffff_ffff,
        f32::INFINITY.to_bits(),
        0x8000_0000,
    ];
    let message = ToHost::Telemetry(Telemetry {
        sequence: Sequence(1),
        time_us: 0,
        mode: Mode::Armed,
        last_command: None,
        applied: heapless::Vec::new(),
        observation: bits.into_iter().map(f32::from_bits).collect(),
        refused: 0,
    });
    let [Ok(ToHost::Telemetry(received))] = &decode::<ToHost>(&frame(&message))[..] else {
        panic!("one telemetry message");
    };
    let received: Vec<u32> = received
        .observation
        .iter()
        .map(|value| value.to_bits())
        .collect();
    assert_eq!(received, bits);
}

#[test]
fn an_overlong_frame_is_skipped_to_its_end() {
    let intact = frame(&ToRobot::ReadCounters);
    // Its tail is a whole valid frame, which must not be looked at.
    let mut bytes = vec![7; MAX_FRAME * 3];
    bytes.extend(&intact);
    bytes.extend(&intact);
    assert_eq!(
        decode::<ToRobot>(&bytes),
        [Err(FrameError::TooLong), Ok(ToRobot::ReadCounters)]
    );
}

#[test]
fn zeros_between_frames_are_nothing() {
    let mut bytes = vec![0, 0, 0];
    bytes.extend(frame(&ToRobot::Disarm));
    bytes.extend([0, 0]);
    assert_eq!(decode::<ToRobot>(&bytes), [Ok(ToRobot::Disarm)]);
}

#[test]
fn every_event_round_trips() {
    let causes = [
        Cause::Armed { session: u32::MAX },
        Cause::Stopped,
        Cause::LifetimeEnded,
        Cause::Tripped { channel: 63 },
        Cause::PhaseEnded,
    ];
    let modes = causes.map(|cause| EventKind::Mode {
        mode: Mode::Damping,
        cause,
    });
    for kind in modes
        .into_iter()
        .chain(Refusal::ALL.map(EventKind::Refused))
    {
        let event = ToHost::Event {
            time_us: 1 << 40,
            kind,
        };
        assert_eq!(decode(&frame(&event)), [Ok(event)]);
    }
}

proptest! {
#![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn messages_round_trip(message in to_robot(), telemetry in telemetry()) {
        prop_assert_eq!(decode(&frame(&message)), [Ok(message)]);
        prop_assert_eq!(decode(&frame(&telemetry)), [Ok(telemetry)]);
    }

    #[test]
    fn damage_costs_at_most_one_intact_frame(
        garbage in vec(any::<u8>(), 0..80),
        messages in vec(to_robot(), 2..5),
    ) {
        let mut bytes = garbage;
        for message in &messages {
            bytes.extend(frame(message));
        }
        let accepted: Vec<ToRobot> = decode(&bytes).into_iter().flatten().collect();
        // The garbage may run into the first frame; those after it arrive, in order, and nothing else does.
        prop_assert!(accepted == messages || accepted == messages[1..], "{:?}", accepted);
    }

    #[test]
    fn a_cut_frame_is_never_accepted(message in to_robot(), next in to_robot()) {
        let whole = frame(&message);
        for cut in 1..whole.len() - 1 {
            // Cut at this byte, and then either silence ended by a zero or the next frame right behind it.
            let mut ended = whole[..cut].to_vec();
            ended.push(0);
            prop_assert!(decode::<ToRobot>(&ended)[0].is_err());
            let mut spliced = whole[..cut].to_vec();
            spliced.extend(frame(&next));
            prop_assert!(decode::<ToRobot>(&spliced)[0].is_err());
        }
    }

    #[test]
    fn a_frame_inside_of_a_payload_is_never_decoded(inner in to_robot(), offset in 0..4usize) {
        // The bytes of an inner frame, its zero included, become the actions of an outer one.
        let mut payload = vec![0; offset];
        payload.extend(frame(&inner));
        payload.resize(payload.len().next_multiple_of(4), 0);
        let actions = payload.chunks_exact(4).take(MAX_FUTURE * MAX_ACTION);
        let outer = ToRobot::Command {
            session: 0,
            sequence: Sequence(0),
            lifetime_ms: 0,
            actions: actions.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect(),
        };
        let received = decode::<ToRobot>(&frame(&outer));
        prop_assert!(matches!(received[..], [Ok(ToRobot::Command { .. })]), "{:?}", received);
    }

    #[test]
    fn garbage_is_never_accepted(garbage in vec(any::<u8>(), 0..2000)) {
        prop_assert!(decode::<ToRobot>(&garbage).iter().all(Result::is_err));
        prop_assert!(decode::<ToHost>(&garbage).iter().all(Result::is_err));
    }
}
