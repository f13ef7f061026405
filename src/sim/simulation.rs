//! A simulated robot on a thread of its own, for a host in the same process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use surefoot_wire::Mode;

use super::{Error, Event, Pace, Pose, Pty, SimulatedRobot, serve};

/// A simulated robot that is being served.
pub struct Simulation {
    port: PathBuf,
    stop: StopOnDrop,
    thread: JoinHandle<Result<Outcome, Error>>,
}

/// What happened to a simulated robot. Times are simulated microseconds since it was switched on.
pub struct Outcome {
    /// The robot as it ended: its time, counters and failure.
    pub robot: SimulatedRobot,
    /// The true pose at the end of every tick period.
    pub trajectory: Vec<(u64, Pose)>,
    /// The modes that the firmware's loop found itself in, and since when, to its millisecond.
    pub modes: Vec<(u64, Mode)>,
    /// When the last host went, if one did.
    pub host_went_us: Option<u64>,
}

impl Simulation {
    /// Serves the robot on a new port.
    ///
    /// # Errors
    ///
    /// [`Error::Port`].
    pub fn start(robot: SimulatedRobot, pace: Pace) -> Result<Self, Error> {
        let port = Pty::open().map_err(Error::Port)?;
        let stop = StopOnDrop(Arc::default());
        let stopped = Arc::clone(&stop.0);
        Ok(Self {
            port: port.path().into(),
            stop,
            thread: std::thread::Builder::new()
                .name("simulation".into())
                .spawn(move || run(robot, &port, pace, &stopped))
                .map_err(Error::Port)?,
        })
    }

    /// The serial port that a host opens.
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// Lets the robot act on what the host sent, reach its safe state and end.
    ///
    /// # Errors
    ///
    /// [`Error::Port`].
    pub fn finish(self) -> Result<Outcome, Error> {
        drop(self.stop);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn run(
    mut robot: SimulatedRobot,
    port: &Pty,
    pace: Pace,
    stop: &AtomicBool,
) -> Result<Outcome, Error> {
    let (mut trajectory, mut modes, mut host_went_us) = (Vec::new(), Vec::new(), None);
    serve(&mut robot, port, pace, stop, |robot, event| match event {
        Event::Tick => trajectory.push((robot.time_us(), robot.pose())),
        Event::ModeChanged => modes.push((robot.time_us(), robot.mode())),
        Event::HostWent => host_went_us = Some(robot.time_us()),
        Event::HostCame | Event::Failed => {}
    })?;
    Ok(Outcome {
        robot,
        trajectory,
        modes,
        host_went_us,
    })
}

/// Ends the thread also when the simulation is dropped unfinished.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
