//! The simulated robot without its microcontroller: the shipped hexapod, and small scenes that are wrong in one way each.

use std::path::Path;

use surefoot::sim::{Plant, Scene, TimedChange};

const LEG_SPEED: f32 = 37.7;

fn roach() -> Scene {
    Scene::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/roach/sim.toml")).unwrap()
}

/// Drives for two seconds in calls of `dt_us`, observing every 10 ms, and returns the bits of all that was observed.
fn observed(scene: &Scene, changes: &[TimedChange], seed: u64, dt_us: u64) -> Vec<u32> {
    let mut plant = Plant::new(scene, Some("carpet"), changes, seed).unwrap();
    let mut bits = Vec::new();
    while plant.time_us() < 2_000_000 {
        plant.step(&[LEG_SPEED, 0.8 * LEG_SPEED], dt_us).unwrap();
        if plant.time_us().is_multiple_of(10_000) {
            bits.extend(plant.observe().iter().map(|value| value.to_bits()));
        }
    }
    bits
}

fn lose_a_leg() -> TimedChange {
    TimedChange::lose("middle-left@1s").unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bits_on_every_thread_and_call_pattern() {
    let scene = roach();
    let runs: Vec<_> = std::thread::scope(|scope| {
        let runs = [1_000, 5_000, 10_000].map(|dt_us| {
            let scene = &scene;
            scope.spawn(move || observed(scene, &[lose_a_leg()], 7, dt_us))
        });
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(runs[0] == runs[1] && runs[0] == runs[2]);
    assert!(
        runs[0] != observed(&scene, &[lose_a_leg()], 8, 10_000),
        "the seed must matter"
    );
}

#[test]
fn observing_changes_nothing() {
    let mut plant = Plant::new(&roach(), None, &[], 1).unwrap();
    plant.step(&[LEG_SPEED; 2], 10_000).unwrap();
    let first = plant.observe().to_vec();
    assert_eq!(first, plant.observe());
}

#[test]
fn a_change_takes_effect_at_its_time_and_not_before() {
    let scene = roach();
    let (intact, lame) = (
        observed(&scene, &[], 7, 10_000),
        observed(&scene, &[lose_a_leg()], 7, 10_000),
    );
    let width = scene.observations().len();
    let differs = intact
        .chunks(width)
        .zip(lame.chunks(width))
        .position(|(a, b)| a != b);
    let differs = differs.expect("losing a leg must matter");
    assert!(
        (100..115).contains(&differs),
        "first difference at {differs}0 ms"
    );
}

#[test]
fn a_change_carries_the_whole_state_over() {
    let folder = edited_roach(
        "[change.paint]\nedits = [{ element = \"geom\", name = \"shell\", set = { rgba = \"1 0 0 1\" } }]",
    );
    let scene = Scene::load(&folder.path().join("sim.toml")).unwrap();
    let paint: TimedChange = "paint@1s".parse().unwrap();
    assert!(observed(&scene, &[], 7, 10_000) == observed(&scene, &[paint], 7, 10_000));
}

#[test]
fn the_roach_walks_and_turns_when_it_loses_a_leg() {
    let drive = |change: &[TimedChange]| {
        let mut plant = Plant::new(&roach(), Some("carpet"), change, 0).unwrap();
        plant.step(&[LEG_SPEED; 2], 3_000_000).unwrap();
        plant.pose()
    };
    let intact = drive(&[]);
    assert!(intact.position[0] > 0.5, "{intact:?}");
    assert!(intact.roll_pitch_yaw[2].abs() < 0.2, "{intact:?}");
    let lame = drive(&["lose-middle-left@1s".parse().unwrap()]);
    assert!(
        lame.roll_pitch_yaw[2] > 0.3,
        "pulled to the left, where the leg is missing: {lame:?}"
    );
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    let scene = roach();
    let refused = |terrain, changes: &[TimedChange]| match Plant::new(&scene, terrain, changes, 0) {
        Ok(_) => panic!("not refused"),
        Err(error) => error.to_string(),
    };
    let terrain = refused(Some("lava"), &[]);
    assert!(
        terrain.contains("`lava`") && terrain.contains("carpet, gravel, styrofoam, turf"),
        "{terrain}"
    );
    let change = refused(None, &[TimedChange::lose("middle@4s").unwrap()]);
    assert!(
        change.contains("`lose-middle`") && change.contains("lose-middle-left"),
        "{change}"
    );
}

#[test]
fn a_command_that_is_not_finite_is_refused_and_changes_nothing() {
    let mut plant = Plant::new(&roach(), None, &[], 0).unwrap();
    let message = plant
        .step(&[0.0, f32::NAN], 10_000)
        .unwrap_err()
        .to_string();
    assert!(message.contains("right_speed"), "{message}");
    assert_eq!(plant.time_us(), 0);
    plant.step(&[0.0, 0.0], 10_000).unwrap();
}

#[test]
fn a_simulation_that_leaves_the_finite_numbers_stays_failed() {
    let folder = edited_roach(
        "[change.bomb]\nedits = [{ element = \"velocity\", set = { gear = \"1e9\" } }]",
    );
    let scene = Scene::load(&folder.path().join("sim.toml")).unwrap();
    let mut plant = Plant::new(&scene, None, &["bomb@100ms".parse().unwrap()], 0).unwrap();
    plant.step(&[LEG_SPEED; 2], 100_000).unwrap();
    let failed = plant
        .step(&[LEG_SPEED; 2], 100_000)
        .unwrap_err()
        .to_string();
    assert!(failed.contains("failed at 0.10"), "{failed}");
    assert_eq!(
        plant.step(&[0.0; 2], 1_000).unwrap_err().to_string(),
        failed
    );
    assert!(!Path::new("MUJOCO_LOG.TXT").exists());
}

#[test]
fn a_rate_that_the_firmware_cannot_keep_is_refused() {
    assert_eq!(roach().at_rate(Some(50.0)).unwrap().period_us(), 20_000);
    for rate_hz in [3.0, 0.0, 0.1, -10.0, 5_000.0, f64::NAN] {
        let message = roach().at_rate(Some(rate_hz)).unwrap_err().to_string();
        assert!(
            message.contains("sim.toml") && message.contains("whole milliseconds"),
            "{message}"
        );
    }
}

#[test]
fn what_is_wrong_in_a_description_is_named() {
    let observe =
        |source: &str| format!("[[observation]]\nname = \"o\"\nunit = \"\"\nsource = \"{source}\"");
    let action = |max: &str| {
        format!(
            "[[action]]\nname = \"a\"\nunit = \"\"\nactuator = \"motor\"\nmin = 0.0\n{max}\nrate_limit_per_s = 1.0\nsafe = 0.0"
        )
    };
    let edit = |set: &str| {
        format!(
            "[change.c]\nedits = [{{ element = \"geom\", name = \"shell\", set = {{ {set} }} }}]"
        )
    };
    let cases = [
        ("speed = 1".into(), vec!["sim.toml", "line", "speed", "^"]),
        (
            observe("velocity"),
            vec![
                "sim.toml",
                "line",
                "unknown source `velocity`",
                "joint_velocity:NAME",
            ],
        ),
        (observe("joint_position:knee"), vec!["`o`", "`knee`"]),
        (
            observe("joint_position:root"),
            vec!["`o`", "`root`", "hinge"],
        ),
        (
            observe("x").replace("\"o\"", "\"x\""),
            vec!["sim.toml", "two channels are named x"],
        ),
        (
            observe("x") + "\nnoise_std = -1.0",
            vec!["sim.toml", "not negative"],
        ),
        (action("max = 1.0"), vec!["`a`", "`motor`"]),
        (
            action("max = -1.0"),
            vec!["sim.toml", "action a", "min not above max"],
        ),
        (action("max = inf"), vec!["sim.toml", "action a", "finite"]),
        (
            observe("x").replace("\"o\"", &format!("\"{}\"", "o".repeat(99))),
            vec!["sim.toml", "at most"],
        ),
        (edit("siez = \"1\""), vec!["change `c`", "siez"]),
        (
            edit("size = \"1\"").replace("shell", "hull"),
            vec!["change `c`", "<geom name=\"hull\">"],
        ),
        (
            edit("x = \"1\"").replace("geom", "freejoint"),
            vec!["change `c`"],
        ),
    ];
    for (addition, expected) in cases {
        let folder = edited_roach(&addition);
        let change = if addition.contains("[change.c]") {
            vec!["c@1s".parse().unwrap()]
        } else {
            vec![]
        };
        let plant = Scene::load(&folder.path().join("sim.toml"))
            .and_then(|scene| Plant::new(&scene, None, &change, 0));
        let message = plant
            .err()
            .unwrap_or_else(|| panic!("not refused: {addition}"))
            .to_string();
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{addition}\n{message}"
        );
    }
}

/// The shipped hexapod in a folder of its own, with an addition to its description.
fn edited_roach(addition: &str) -> tempfile::TempDir {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/roach");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(shipped.join("scene.xml"), folder.path().join("scene.xml")).unwrap();
    let description = std::fs::read_to_string(shipped.join("sim.toml")).unwrap();
    std::fs::write(
        folder.path().join("sim.toml"),
        format!("{description}\n{addition}\n"),
    )
    .unwrap();
    folder
}
