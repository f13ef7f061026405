//! Serves a simulated robot on a serial port, in real time or in step with the host.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use surefoot_wire::{Decoder, FrameError, Mode, ToRobot};

use super::board::LOOP_US;
use super::pty::{Input, Pty};
use super::{Error, SimulatedRobot};

/// How simulated time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// With the wall clock. If the machine falls behind by more than a tenth of a second, simulated time is late from then on.
    RealTime,
    /// With the host's messages: one tick period after each command, arming, stop or damaged frame, and without waiting until the
    /// robot is safe when it goes safe or when its host is gone. Questions, which a host may repeat, take no time. So what the
    /// robot does depends on what the host says, and not on when.
    LockStep,
}

/// What just happened; the robot says when and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A host opened the port.
    HostCame,
    /// The host closed the port, or died.
    HostWent,
    /// A tick period ended.
    Tick,
    /// The firmware is in another mode.
    ModeChanged,
    /// The simulation failed.
    Failed,
}

/// Serves the robot to one host after the other until `stop` is set; then simulated time runs on until the robot is safe.
/// `on_event` is called in between, and should be quick.
///
/// # Errors
///
/// [`Error::Port`]. A host that goes away is not an error, and a simulation that fails is an [`Event`].
pub fn serve(
    robot: &mut SimulatedRobot,
    port: &Pty,
    pace: Pace,
    stop: &AtomicBool,
    on_event: impl FnMut(&SimulatedRobot, Event),
) -> Result<(), Error> {
    let mut server = Server {
        robot,
        port,
        stop,
        on_event,
        has_host: false,
        unsent: Vec::new(),
    };
    let served = match pace {
        Pace::RealTime => server.in_real_time(),
        Pace::LockStep => server.in_lock_step(),
    };
    served.map_err(Error::Port)
}

/// How soon a set `stop` is noticed while nothing else happens.
const STOP_POLL: Duration = Duration::from_millis(20);

/// The firmware's loop.
const LOOP: Duration = Duration::from_micros(LOOP_US);

/// How far simulated time may be behind the wall clock before it gives up catching up.
const MAX_LATE: Duration = Duration::from_millis(100);

struct Server<'a, F> {
    robot: &'a mut SimulatedRobot,
    port: &'a Pty,
    stop: &'a AtomicBool,
    on_event: F,
    has_host: bool,
    /// Bytes that the firmware sent and the port has not taken yet.
    unsent: Vec<u8>,
}

impl<F: FnMut(&SimulatedRobot, Event)> Server<'_, F> {
    fn in_real_time(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let mut due = Instant::now() + LOOP;
        while !self.is_stopped() {
            if let Input::Bytes(length) = self.read(&mut bytes)? {
                self.robot.receive(&bytes[..length]);
            }
            let now = Instant::now();
            if now < due {
                self.port.wait(false, due - now)?;
                continue;
            }
            self.step();
            self.send()?;
            let from = if now - due > MAX_LATE { now } else { due };
            due = from + LOOP;
        }
        self.run_until_safe()
    }

    fn in_lock_step(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let mut decoder = Decoder::new();
        loop {
            match self.read(&mut bytes)? {
                Input::Bytes(length) => {
                    for part in bytes[..length].split_inclusive(|byte| *byte == 0) {
                        let frame = part.iter().find_map(|byte| decoder.push(*byte));
                        self.take(part, frame)?;
                    }
                }
                Input::Silence | Input::NoHost if self.is_stopped() => {
                    return self.run_until_safe();
                }
                Input::Silence => self.port.wait(false, STOP_POLL)?,
                Input::NoHost => {
                    self.run_until_safe()?;
                    self.port.wait(false, STOP_POLL)?;
                }
            }
        }
    }

    /// Gives the robot some bytes, and lets the simulated time pass that the frame takes, if one ended with them.
    fn take(&mut self, bytes: &[u8], frame: Option<Result<ToRobot, FrameError>>) -> io::Result<()> {
        if let Some(Ok(ToRobot::Hello { .. })) = frame {
            // Only a new host says hello to an armed robot: the one that armed it is gone.
            self.run_until_safe()?;
        }
        let refused = self.robot.counters().refused_in_all();
        self.robot.receive(bytes);
        let is_refused = self.robot.counters().refused_in_all() != refused;
        let takes_time = match frame {
            None => false,
            Some(Ok(
                ToRobot::Hello { .. } | ToRobot::DescribeChannel { .. } | ToRobot::ReadCounters,
            )) => false,
            Some(Ok(ToRobot::Arm { .. })) => !is_refused,
            Some(Ok(ToRobot::Command { .. } | ToRobot::Disarm) | Err(_)) => true,
        };
        if takes_time {
            self.run_period()?;
            if self.robot.mode() != Mode::Armed {
                self.run_until_safe()?;
            }
        }
        self.deliver()
    }

    /// Lets simulated time pass, in whole periods, until the drivers are off.
    fn run_until_safe(&mut self) -> io::Result<()> {
        while self.robot.mode().drivers_enabled() {
            self.run_period()?;
        }
        Ok(())
    }

    /// Lets simulated time pass up to the next tick.
    fn run_period(&mut self) -> io::Result<()> {
        loop {
            self.step();
            if self.robot.time_us().is_multiple_of(self.robot.period_us()) {
                return self.deliver();
            }
        }
    }

    /// Sends what the firmware has for the host, and waits until the port has taken it, as long as there is a host.
    fn deliver(&mut self) -> io::Result<()> {
        self.send()?;
        while !self.unsent.is_empty() && !self.is_stopped() && !self.port.has_no_host()? {
            self.port.wait(true, STOP_POLL)?;
            self.send()?;
        }
        Ok(())
    }

    fn step(&mut self) {
        let (mode, has_failed) = (self.robot.mode(), self.robot.failure().is_some());
        self.robot.step();
        if self.robot.mode() != mode {
            (self.on_event)(self.robot, Event::ModeChanged);
        }
        if self.robot.failure().is_some() && !has_failed {
            (self.on_event)(self.robot, Event::Failed);
        }
        if self.robot.time_us().is_multiple_of(self.robot.period_us()) {
            (self.on_event)(self.robot, Event::Tick);
        }
    }

    /// Reads, and notices hosts that come and go.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<Input> {
        let input = self.port.read(bytes)?;
        let has_host = input != Input::NoHost;
        if has_host != self.has_host {
            self.has_host = has_host;
            let event = if has_host {
                Event::HostCame
            } else {
                Event::HostWent
            };
            (self.on_event)(self.robot, event);
            if !has_host {
                self.unsent.clear();
                self.port.discard_unread()?;
            }
        }
        Ok(input)
    }

    /// Sends what the firmware has for the host and the port has room for. Without a host it is lost, as on a line that nobody
    /// listens to; a full port leaves it to the firmware to drop whole messages.
    fn send(&mut self) -> io::Result<()> {
        let mut bytes = [0; 1024];
        loop {
            if self.unsent.is_empty() {
                let length = self.robot.transmit(&mut bytes);
                if length == 0 {
                    return Ok(());
                }
                if !self.has_host {
                    continue;
                }
                self.unsent.extend_from_slice(&bytes[..length]);
            }
            let sent = self.port.write(&self.unsent)?;
            if sent == 0 {
                return Ok(());
            }
            self.unsent.drain(..sent);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
