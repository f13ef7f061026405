//! A port that goes and comes back.

use std::{path::Path, time::Instant};

use hil_tests::{Desk, PERIOD_MS, Robot, config, patience, robot_toml};
use surefoot::{
    link::{LinkError, SerialLink, Session},
    run::contract,
};
use surefoot_wire::Mode;

#[test]
fn a_vanished_port_is_named_and_so_is_the_remedy() {
    let desk = Desk::greeted().armed();
    let port = desk.robot.port().to_owned();
    let (mut session, robot) = (desk.session, desk.robot);
    drop(robot);
    let error = session.next_telemetry(patience()).unwrap_err();
    assert_eq!(error, LinkError::Vanished { port: port.clone() });
    assert!(error.to_string().contains(&port) && error.to_string().contains("cable"));
    assert!(matches!(session.disarm(), Err(LinkError::Vanished { .. })));
    drop(session);
    assert!(matches!(
        SerialLink::open(&port, 1_000_000),
        Err(LinkError::Missing { .. })
    ));
}

#[test]
fn a_host_that_dies_leaves_a_robot_that_goes_safe_alone() {
    let mut desk = Desk::greeted().armed();
    desk.tick(&[3.0, 3.0]);
    let (robot, sent) = (desk.robot, desk.wire.sent());
    drop(desk.session);
    let steps = robot.pass(sent, 320);
    assert_eq!(steps[18].mode, Mode::Armed);
    assert_eq!(steps[19].mode, Mode::Damping);
    assert_eq!(steps[319].mode, Mode::Off);
}

#[test]
fn a_host_that_comes_back_finds_the_robot_safe_and_does_not_arm_it() {
    let mut desk = Desk::greeted().armed();
    desk.tick(&[3.0, 3.0]);
    let (robot, mut sent) = (desk.robot, desk.wire.sent());
    drop(desk.session);
    for _ in 0..20 {
        // Armed without a command, it waits for a second and then takes 300 ms to be off.
        let _ = robot.pass(sent, 1400);
        let link = SerialLink::open(robot.port(), 1_000_000).unwrap();
        let (tap, wire) = hil_tests::Tap::new(link);
        let mut session = Session::connect(tap, &contract(&robot_toml()), patience()).unwrap();
        let steps = robot.pass(sent + wire.sent(), PERIOD_MS);
        assert!(steps.iter().all(|step| step.mode == Mode::Off));
        assert_eq!(session.next_telemetry(patience()).unwrap().mode, Mode::Off);
        session.arm(patience()).unwrap();
        sent += wire.sent();
        assert_eq!(robot.pass(sent, 1)[0].mode, Mode::Armed);
    }
}

#[test]
fn a_robot_that_restarts_is_another_robot_until_hands_are_shaken() {
    let mut desk = Desk::greeted().armed();
    desk.tick(&[3.0, 3.0]);
    drop(desk.robot);
    drop(desk.session);
    // On whatever port it comes back, it is silent until it is greeted.
    let robot = Robot::start(config());
    let link = SerialLink::open(robot.port(), 1_000_000).unwrap();
    let steps = robot.pass(0, 100);
    assert!(steps.iter().all(|step| step.mode == Mode::Disarmed));
    let mut session = Session::connect(link, &contract(&robot_toml()), patience()).unwrap();
    assert!(matches!(
        session.next_telemetry(Instant::now()),
        Err(LinkError::Silent { .. })
    ));
}

/// A link that always leads to the port of the robot that is plugged in, as `/dev/serial/by-id` does.
fn point(link: &Path, robot: &Robot) {
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(robot.port(), link).unwrap();
}

#[test]
fn a_thousand_replugs_find_the_robot_again_under_other_ports_and_never_arm_it() {
    let folder = tempfile::tempdir().unwrap();
    let by_id = folder.path().join("usb-Desk_1");
    let mut robot = Robot::start(config());
    point(&by_id, &robot);
    let mut link = SerialLink::open(by_id.to_str().unwrap(), 1_000_000).unwrap();
    for _ in 0..1000 {
        let mut session = Session::connect(link, &contract(&robot_toml()), patience()).unwrap();
        // The new robot is there before the old one has gone, so that it cannot come back as the same port.
        let next = Robot::start(config());
        point(&by_id, &next);
        drop(std::mem::replace(&mut robot, next));
        let gone = session.next_telemetry(patience());
        assert!(matches!(gone, Err(LinkError::Vanished { .. })), "{gone:?}");
        link = session.into_link().reopen(patience()).unwrap();
        assert_eq!(robot.pass(0, 1)[0].mode, Mode::Disarmed);
    }
}

#[test]
fn a_port_that_stays_away_is_given_up() {
    let robot = Robot::start(config());
    let link = SerialLink::open(robot.port(), 1_000_000).unwrap();
    let gone = robot.port().to_owned();
    drop(robot);
    let given_up = link.reopen(Instant::now()).map(drop);
    assert!(
        matches!(&given_up, Err(LinkError::Missing { port, .. }) if *port == gone),
        "{given_up:?}"
    );
}
