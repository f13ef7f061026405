//! Logs as they come back from robots: complete, cut anywhere, damaged anywhere.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use surefoot::log::schema::{Adaptation, Decision, Event, EventKind, Plan, Severity, Tick};
use surefoot::log::{Ending, Log, LogError, LogWriter, Run, WhenFull};

const SECOND: u64 = 1_000_000_000;

fn run() -> Run {
    Run {
        robot: "roach".into(),
        rule: "one_step".into(),
        seed: 7,
        started_unix_ns: 1_700_000_000 * SECOND,
        tick_period_us: 100_000,
        surefoot_version: "0.1.0".into(),
        onnxruntime_version: "1.31.1".into(),
        threads: 2,
        cpu: "a processor".into(),
        extra: [("terrain".to_owned(), "turf".to_owned())].into(),
        robot_toml: "name = \"roach\"\n".into(),
        model: vec![8, 7, 6, 5],
    }
}

fn tick(number: u64) -> Tick {
    Tick {
        tick: number,
        robot_time_us: number * 100_000,
        state: vec![number as f32, -0.0, f32::NAN, f32::MIN_POSITIVE / 3.0],
        plan_cost: Some(-0.0),
        adaptation: Some(Adaptation {
            decision: Decision::Adapted.into(),
            loss_before: Some(2.0),
            parameter_hash: vec![number as u8; 32],
            ..Adaptation::default()
        }),
        ..Tick::default()
    }
}

/// Six seconds at 2 Hz, a plan a second, one event.
fn write(path: &Path) {
    let mut log = LogWriter::create(path, &run(), WhenFull::Block).unwrap();
    for number in 0..12 {
        let time = number * SECOND / 2;
        log.tick(&tick(number), time);
        if number % 2 == 0 {
            log.plan(
                &Plan {
                    tick: number,
                    horizon: 1,
                    actions: vec![0.1, 0.2],
                    states: vec![1.0; 4],
                },
                time,
            );
        }
        if number == 5 {
            let (severity, kind) = (Severity::Info.into(), EventKind::Environment.into());
            log.event(
                &Event {
                    tick: number,
                    robot_time_us: 500_000,
                    severity,
                    kind,
                    text: "middle left leg lost".into(),
                },
                time,
            );
        }
    }
    let summary = log.finish().unwrap();
    assert_eq!(
        (
            summary.ticks,
            summary.plans,
            summary.events,
            summary.dropped
        ),
        (12, 6, 1, 0)
    );
}

fn log_in(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("run.mcap");
    write(&path);
    path
}

/// Messages as bytes: NaN compares unequal to itself.
fn bytes_of<M: prost::Message>(messages: &[M]) -> Vec<Vec<u8>> {
    messages.iter().map(prost::Message::encode_to_vec).collect()
}

/// Whether `part` is `whole` with none or some of its messages left out.
fn is_part<M: prost::Message>(part: &[M], whole: &[Vec<u8>]) -> bool {
    let mut whole = whole.iter();
    bytes_of(part)
        .iter()
        .all(|message| whole.any(|other| other == message))
}

#[test]
fn what_was_written_is_read_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::read(&log_in(&folder)).unwrap();
    assert_eq!(log.run, run());
    assert!(matches!(log.ending, Ending::Closed(summary) if summary.ticks == 12));
    assert!(log.damage.is_empty());
    assert_eq!(
        bytes_of(&log.ticks),
        bytes_of(&(0..12).map(tick).collect::<Vec<_>>())
    );
    assert_eq!(log.ticks[3].state[1].to_bits(), (-0.0f32).to_bits());
    assert_eq!(
        log.ticks[3].plan_cost.map(f32::to_bits),
        Some((-0.0f32).to_bits())
    );
    assert_eq!((log.plans.len(), log.events.len()), (6, 1));
}

/// A cut log is a sound log that is shorter: every chunk that was flushed is there, and a cut never looks like damage.
#[test]
fn a_log_cut_at_any_byte_gives_every_flushed_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_in(&folder);
    let whole = Log::read(&path).unwrap();
    let ticks = bytes_of(&whole.ticks);
    let length = fs::metadata(&path).unwrap().len();
    let file = File::options().write(true).open(&path).unwrap();
    let mut most = ticks.len();
    for cut in (0..length).rev() {
        file.set_len(cut).unwrap();
        match Log::read(&path) {
            Ok(log) => {
                assert!(log.damage.is_empty(), "cut at {cut}: {:?}", log.damage);
                assert_eq!(
                    bytes_of(&log.ticks),
                    ticks[..log.ticks.len()],
                    "cut at {cut}"
                );
                // A second at 2 Hz, and the tick that ends it.
                assert!(
                    log.ticks.len() <= most && most - log.ticks.len() <= 3,
                    "cut at {cut} lost more than a second"
                );
                most = log.ticks.len();
            }
            Err(LogError::NoHeader { at, .. }) => {
                assert_eq!((at, most), (cut, 0));
            }
            Err(error) => panic!("cut at {cut}: {error}"),
        }
    }
}

/// Whatever bit is damaged, no wrong record comes out, and none is missing without a word.
#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = log_in(&folder);
    let whole = Log::read(&path).unwrap();
    let (ticks, plans, events) = (
        bytes_of(&whole.ticks),
        bytes_of(&whole.plans),
        bytes_of(&whole.events),
    );
    let content = fs::read(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for (at, byte) in content.iter().enumerate() {
        for bit in 0..8 {
            file.write_all_at(&[byte ^ (1 << bit)], at as u64).unwrap();
            // A header that is refused is noticed.
            let Ok(log) = Log::read(&path) else { continue };
            let place = format!("bit {bit} of byte {at}");
            assert_eq!(log.run, whole.run, "{place}");
            if log.damage.is_empty() && log.ending == whole.ending {
                assert_eq!(
                    (
                        bytes_of(&log.ticks),
                        bytes_of(&log.plans),
                        bytes_of(&log.events)
                    ),
                    (ticks.clone(), plans.clone(), events.clone())
                );
            } else {
                assert!(
                    is_part(&log.ticks, &ticks)
                        && is_part(&log.plans, &plans)
                        && is_part(&log.events, &events),
                    "{place}"
                );
            }
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]
    /// Nor out of files with more wrong in them: overwritten, cut, with a part of themselves moved.
    #[test]
    fn a_mangled_log_gives_no_wrong_record(
        place in 0.0..1.0f64,
        bytes in prop::collection::vec(any::<u8>(), 1..40),
        source in 0.0..1.0f64,
        length in 1..4000usize,
        cut in 0.5..1.5f64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = log_in(&folder);
        let whole = Log::read(&path).unwrap();
        let mut content = fs::read(&path).unwrap();
        let at = |share: f64| (share * content.len() as f64) as usize;
        let (place, source, cut) = (at(place), at(source), at(cut).min(content.len()));
        let moved = content[source..(source + length).min(content.len())].to_vec();
        content.splice(place..place, moved);
        let end = (place + bytes.len()).min(content.len());
        content[place..end].copy_from_slice(&bytes[..end - place]);
        content.truncate(cut);
        fs::write(&path, content).unwrap();
        if let Ok(log) = Log::read(&path) {
            prop_assert_eq!(log.run, whole.run);
            for tick in bytes_of(&log.ticks) {
                prop_assert!(bytes_of(&whole.ticks).contains(&tick));
            }
        }
    }
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a log").unwrap();
    assert!(
        Log::read(&text)
            .unwrap_err()
            .to_string()
            .contains("notes.txt is not an MCAP file")
    );

    let other = folder.path().join("other.mcap");
    let mut writer = mcap::WriteOptions::new()
        .profile("ros2")
        .create(File::create(&other).unwrap())
        .unwrap();
    writer.finish().unwrap();
    let error = Log::read(&other).unwrap_err().to_string();
    assert!(
        error.contains("not one of Surefoot's") && error.contains("ros2"),
        "{error}"
    );

    let missing = Log::read(&folder.path().join("missing.mcap"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("missing.mcap: No such file"), "{missing}");
}
