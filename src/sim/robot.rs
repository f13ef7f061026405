//! A plant behind its microcontroller: bytes in, bytes out, in simulated time.

use surefoot_firmware::Firmware;
use surefoot_wire::{Counters, Mode};

use super::board::LOOP_US;
use super::{Error, Plant, Pose, Scene, TimedChange};

/// A simulated robot as its serial port shows it. It does no input or output and reads no clock.
///
/// The firmware is the one that boards run. While its drivers are off, the actuators' inputs are zero. When the simulation fails,
/// every sensor reads NaN from then on, and [`failure`](Self::failure) says why.
pub struct SimulatedRobot {
    plant: Plant,
    firmware: Firmware,
    actions: Vec<f32>,
    mode: Mode,
    period_us: u64,
    failure: Option<Error>,
}

impl SimulatedRobot {
    /// The scene's robot, just switched on.
    ///
    /// # Errors
    ///
    /// As [`Plant::new`].
    pub fn new(
        scene: &Scene,
        terrain: Option<&str>,
        changes: &[TimedChange],
        seed: u64,
    ) -> Result<Self, Error> {
        let plant = Plant::new(scene, terrain, changes, seed)?;
        let mut robot = Self {
            plant,
            firmware: scene.firmware()?,
            actions: vec![0.0; scene.actions().len()],
            mode: Mode::Disarmed,
            period_us: scene.period_us(),
            failure: None,
        };
        robot.run_firmware();
        Ok(robot)
    }

    /// Takes bytes from the host, now.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.firmware.receive(self.time_us(), bytes);
    }

    /// Moves bytes for the host to `out`, as many as there are or fit, and returns how many.
    pub fn transmit(&mut self, out: &mut [u8]) -> usize {
        self.firmware.transmit(out)
    }

    /// Lets one millisecond pass, at whose end the firmware measures and decides.
    pub fn step(&mut self) {
        if let Err(error) = self.plant.step(&self.actions, LOOP_US) {
            self.failure.get_or_insert(error);
        }
        self.run_firmware();
    }

    /// The simulated time since the robot was switched on, in microseconds.
    pub fn time_us(&self) -> u64 {
        self.plant.time_us()
    }

    /// The tick period of its contract, in microseconds.
    pub fn period_us(&self) -> u64 {
        self.period_us
    }

    /// What the firmware is doing since its last loop.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The true pose.
    pub fn pose(&self) -> Pose {
        self.plant.pose()
    }

    /// What the firmware accepted and refused so far.
    pub fn counters(&self) -> &Counters {
        self.firmware.counters()
    }

    /// Why the simulation failed, if it did.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    fn run_firmware(&mut self) {
        let output = self
            .firmware
            .step(self.plant.time_us(), self.plant.observe());
        self.mode = output.mode;
        for (action, setpoint) in self.actions.iter_mut().zip(output.action) {
            *action = if output.drivers_enabled {
                *setpoint
            } else {
                0.0
            };
        }
    }
}
