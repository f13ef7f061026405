//! The bytes of every message, as they are on the line. A change here is a change of the protocol: raise
//! [`surefoot_wire::PROTOCOL`] if old and new cannot talk to each other.

use surefoot_wire::{
    Cause, Channel, ChannelKind, Counters, Decoder, EventKind, HostSeal, Key, Limit, MAX_FRAME,
    Mode, Name, PROTOCOL, Refusal, SCHEMA_HASH, Sequence, Telemetry, ToHost, ToRobot, encode,
};

fn check<M>(message: M, golden: &str)
where
    M: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut buffer = [0; MAX_FRAME];
    let frame = encode(&message, &mut buffer).unwrap();
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden, "{message:?}");
    let mut decoder = Decoder::<M>::new();
    let decoded = frame.iter().find_map(|byte| decoder.push(*byte));
    assert_eq!(decoded, Some(Ok(message)));
}

#[test]
fn versions() {
    assert_eq!(PROTOCOL, 1);
    assert_eq!(SCHEMA_HASH, 0xb018_1518_7821_4000, "{SCHEMA_HASH:#018x}");
}

#[test]
fn to_robot() {
    check(
        ToRobot::Hello {
            protocol: 1,
            schema_hash: 0x0123_4567_89ab_cdef,
        },
        "010f01ef9bafcdf8acd19101907980a200",
    );
    check(
        ToRobot::DescribeChannel {
            kind: ChannelKind::Action,
            index: 1,
        },
        "08010101702aec2400",
    );
    check(ToRobot::ReadCounters, "0602a62346b300");
    check(
        ToRobot::Arm {
            contract_hash: 0xfedc_ba98_7654_3210,
            session: 0x89ab_cdef,
        },
        "150390e4d0b287d3aeeefe01ef9bafcd08bf1ae2b600",
    );
    check(
        ToRobot::Command {
            session: 0x89ab_cdef,
            sequence: Sequence(300),
            lifetime_ms: 250,
            actions: [1.0, -0.5, 0.0, 37.5].into_iter().collect(),
        },
        "0c04ef9bafcd08ac02fa01040103803f010102bf0101010101071642411a4f8f00",
    );
    check(ToRobot::Disarm, "06054d478c6700");
}

#[test]
fn to_host() {
    check(
        ToHost::Hello {
            protocol: 1,
            schema_hash: 0x0123_4567_89ab_cdef,
            robot: Name::try_from("roach").unwrap(),
            contract_hash: 0xfedc_ba98_7654_3210,
            period_us: 100_000,
            n_observation: 26,
            limits: [Limit {
                min: 0.0,
                max: 60.0,
                rate: 400.0,
            }; 2]
                .into_iter()
                .collect(),
            session: 7,
        },
        "012001ef9bafcdf8acd1910105726f61636890e4d0b287d3aeeefe01a08d061a0201010101010370420103c84301010101010370420108c84307a31e26d100",
    );
    check(
        ToHost::Channel {
            kind: ChannelKind::Observation,
            index: 3,
            channel: Channel::new("roll", "rad").unwrap(),
        },
        "02010f0304726f6c6c03726164a5a1969700",
    );
    let mut counters = Counters::default();
    counters.accepted = 1000;
    counters.count(Refusal::Stale);
    check(
        ToHost::Counters(counters),
        "0402e8070101010101010101010201010101010105543ee76800",
    );
    check(
        ToHost::Telemetry(Telemetry {
            sequence: Sequence(9),
            time_us: 1_000_000,
            mode: Mode::Armed,
            last_command: Some(Sequence(300)),
            applied: [1.0, -0.5].into_iter().collect(),
            observation: [0.25, f32::INFINITY].into_iter().collect(),
            refused: 3,
        }),
        "0b0309c0843d0101ac02020103803f010103bf020103803e0108807f038b8ed87800",
    );
    check(
        ToHost::Event {
            time_us: 5,
            kind: EventKind::Mode {
                mode: Mode::Damping,
                cause: Cause::Tripped { channel: 4 },
            },
        },
        "030405080203046af7998100",
    );
    check(
        ToHost::Event {
            time_us: 6,
            kind: EventKind::Refused(Refusal::NotFinite),
        },
        "090406010a6c3cb49a00",
    );
}

#[test]
fn sealed() {
    let mut host = HostSeal::new(Key::new(*b"sixteen bytes ok"), 0x0123_4567_89ab_cdef);
    check(
        host.seal(ToRobot::Disarm).unwrap(),
        "1705efcdab8967452301013a4ce8eecf549571bbd91dfa00",
    );
}
