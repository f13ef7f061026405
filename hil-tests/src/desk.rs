//! A host and a robot on one desk.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use surefoot::{
    guard::Guard,
    link::{Contract, Link, LinkError, SerialLink, Session},
    robot::Robot as RobotToml,
    run::contract,
};
use surefoot_firmware::{ActionChannel, Config, Trip};
use surefoot_wire::{Channel, Limit, MAX_FRAME, Name, Telemetry, ToRobot, encode};

use crate::{Robot, Step, Tap, Wire};

/// The tick period of the robot, ms.
pub const PERIOD_MS: u64 = 10;

/// The lifetime of the host's commands, ms.
const LIFETIME_MS: u16 = 30;

/// Until when a test waits for what is on its way: far longer than it ever takes.
#[must_use]
pub fn patience() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// The firmware's configuration of a robot with two wheels.
///
/// # Panics
///
/// Never: its names fit.
#[must_use]
pub fn config() -> Config {
    let channel = |name, unit| Channel::new(name, unit).expect("it fits");
    let wheel = |name| ActionChannel {
        channel: channel(name, "rad/s"),
        limit: Limit {
            min: -10.0,
            max: 10.0,
            rate: 10_000.0,
        },
        safe: 0.0,
    };
    Config {
        robot: Name::try_from("desk").expect("it fits"),
        period_us: 1000 * PERIOD_MS as u32,
        observation: [
            channel("x", "m"),
            channel("y", "m"),
            channel("yaw", "rad"),
            channel("tilt", "rad"),
        ]
        .into_iter()
        .collect(),
        action: [wheel("left"), wheel("right")].into_iter().collect(),
        max_lifetime_ms: 250,
        damping_ms: 200,
        sitting_ms: 100,
        trips: [Trip {
            channel: 3,
            min: -0.5,
            max: 0.5,
        }]
        .into_iter()
        .collect(),
        derates: [].into_iter().collect(),
    }
}

/// The host's description of the same robot.
///
/// # Panics
///
/// Never: it is checked by every test.
#[must_use]
pub fn robot_toml() -> RobotToml {
    let text = format!(
        r#"
        name = "desk"
        model = "model.onnx"
        rate_hz = {rate}
        observation = [
            {{ name = "x", unit = "m" }},
            {{ name = "y", unit = "m" }},
            {{ name = "yaw", unit = "rad", wraps = true }},
            {{ name = "tilt", unit = "rad" }},
        ]
        action = [
            {{ name = "left", unit = "rad/s", min = -10.0, max = 10.0, rate_limit_per_s = 10000.0, safe = 0.0 }},
            {{ name = "right", unit = "rad/s", min = -10.0, max = 10.0, rate_limit_per_s = 10000.0, safe = 0.0 }},
        ]
        [link]
        port = "/dev/ttyACM0"
        baud = 1000000
        lifetime_ms = {LIFETIME_MS}
        [plan]
        planner = "random_shooting"
        candidates = 100
        horizon = 5
        noise = 0.2
        noise_correlation = 0.5
        [cost]
        position = 1.0
        heading = 0.0
        action_rate = 0.0
        [path]
        x = "x"
        y = "y"
        yaw = "yaw"
        speed_m_s = 0.2
        shape = "straight"
        size_m = 1.0
        "#,
        rate = 1000 / PERIOD_MS,
    );
    RobotToml::parse(&text, Path::new("desk/robot.toml")).expect("it is right")
}

/// A robot and a session with it over a tapped pseudo-terminal.
#[derive(Debug)]
pub struct Desk<L = Tap<SerialLink>> {
    /// The robot.
    pub robot: Robot,
    /// The tap on the line.
    pub wire: Wire,
    /// The session.
    pub session: Session<L>,
    guard: Guard,
}

impl Desk {
    /// A robot that has shaken hands.
    ///
    /// # Panics
    ///
    /// If there is no conversation.
    #[must_use]
    pub fn greeted() -> Self {
        Self::with(|link| link)
    }

    /// Shakes hands with a robot as with the expected one.
    ///
    /// # Errors
    ///
    /// Any [`LinkError`] of the handshake.
    pub fn connect(config: Config, expected: &Contract) -> Result<(), LinkError> {
        let robot = Robot::start(config);
        let link = SerialLink::open(robot.port(), 1_000_000)?;
        Session::connect(link, expected, patience()).map(drop)
    }
}

impl<L: Link> Desk<L> {
    /// A robot that has shaken hands over a line that `around` puts something around.
    ///
    /// # Panics
    ///
    /// If there is no conversation.
    #[must_use]
    pub fn with(around: impl FnOnce(Tap<SerialLink>) -> L) -> Self {
        let robot = Robot::start(config());
        let link = SerialLink::open(robot.port(), 1_000_000).expect("the robot's port");
        let (tap, wire) = Tap::new(link);
        let toml = robot_toml();
        let session = Session::connect(around(tap), &contract(&toml), patience())
            .expect("the robot that is meant");
        Self {
            robot,
            wire,
            session,
            guard: Guard::new(&toml),
        }
    }

    /// Arms the robot.
    ///
    /// # Panics
    ///
    /// If it does not let itself be armed.
    #[must_use]
    pub fn armed(mut self) -> Self {
        self.session.arm(patience()).expect("the robot is at rest");
        self
    }

    /// Lets milliseconds pass when the robot has heard all that was sent.
    #[must_use]
    pub fn pass(&self, ms: u64) -> Vec<Step> {
        self.robot.pass(self.wire.sent(), ms)
    }

    /// One tick: sends planned actions, row-major, through the guard, lets a period pass, and returns what the robot did and told.
    ///
    /// # Panics
    ///
    /// If the robot says nothing.
    pub fn tick(&mut self, planned: &[f32]) -> (Vec<Step>, Telemetry) {
        self.command(planned);
        let steps = self.pass(PERIOD_MS);
        (steps, self.telemetry())
    }

    /// Sends planned actions through the guard.
    ///
    /// # Panics
    ///
    /// If they cannot be sent.
    pub fn command(&mut self, planned: &[f32]) {
        let (command, _) = self.guard.check(planned, &planned[..2]);
        self.session.send(&command).expect("an armed robot");
    }

    /// Puts bytes on the line that the session knows nothing of.
    ///
    /// # Panics
    ///
    /// If the port is gone.
    pub fn noise(&mut self, bytes: &[u8]) {
        self.robot.noise(bytes);
        self.wire.count(bytes.len());
    }

    /// The robot's next telemetry.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn telemetry(&mut self) -> Telemetry {
        self.session.next_telemetry(patience()).expect("telemetry")
    }
}

/// The frame of a message to the robot.
///
/// # Panics
///
/// Never: the buffer holds every message.
#[must_use]
pub fn frame(message: &ToRobot) -> Vec<u8> {
    encode(message, &mut [0; MAX_FRAME])
        .expect("it fits")
        .to_vec()
}
