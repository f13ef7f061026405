//! The real-time loop: telemetry in, one [`Tick`] done, command out, everything logged.
//!
//! The robot's telemetry is the loop's clock: it comes once a tick, and the command has to leave within the same tick. One thread
//! does all of it, the only one that sends; the log has a thread of its own.

mod error;
mod ladder;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use surefoot_firmware::limits::Limiter;
use surefoot_wire::{EventKind as WireEvent, Limit, Mode, Telemetry};

pub use error::RunError;
pub use ladder::Ladder;

use crate::link::{Contract, LinkError, SerialLink, Session};
use crate::log::schema::{self, Degradation, Event, EventKind, Severity};
use crate::log::{LogSummary, LogWriter, Run, WhenFull};
use crate::model::{DynamicsModel, Runtime};
use crate::robot::Robot;
use crate::tick::{Lost, Observation, Tick};

/// How long the robot may take to answer the handshake and to arm.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often a wait for telemetry looks whether to stop.
const STOP_POLL: Duration = Duration::from_millis(20);
/// How long the robot may take to reach its safe state once told.
const STOPPING: Duration = Duration::from_secs(2);

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The serial port.
    pub port: String,
    /// Seed of the planner's noise.
    pub seed: u64,
    /// The log to write, a file that does not exist yet.
    pub log: Option<PathBuf>,
    /// Ticks after which to stop.
    pub ticks: Option<u64>,
    /// The robot is simulated in lock-step: it waits for every command, so that nothing is ever late.
    pub lock_step: bool,
    /// Whatever else describes the run, for the log's header.
    pub extra: std::collections::BTreeMap<String, String>,
}

/// How a run went.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Ticks done.
    pub ticks: u64,
    /// Ticks whose command left later than a period after its telemetry came, by the wall clock.
    pub late: u64,
    /// What the log holds, if there is one.
    pub log: Option<LogSummary>,
}

/// Monotonic time since the first call, ns: the clock that is handed to everything below.
pub fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Drives the robot on a port until `stop` is set, the ticks are done, or something ends the run; then brings it to its safe
/// state and closes the log. `on_tick` sees every tick's record.
///
/// # Errors
/// [`RunError`]: the robot, model, port or log is not as it should be, before anything moves; or what ended the run. The robot
/// is safe in each case: it was told so, or its last command's lifetime ends.
pub fn run(
    runtime: &Runtime,
    robot: &Robot,
    model: &DynamicsModel,
    options: &Options,
    stop: &AtomicBool,
    on_tick: &mut dyn FnMut(&schema::Tick),
) -> Result<Summary, RunError> {
    let tick = Tick::new(runtime, model, robot, options.seed, monotonic_ns)?;
    let link = SerialLink::open(&options.port, robot.link.baud)?;
    let session = Session::connect(link, &contract(robot), Instant::now() + HANDSHAKE)?;
    check_limits(robot, session.limits())?;
    if stop.load(Ordering::Relaxed) {
        return Ok(Summary::default());
    }
    let log = match &options.log {
        Some(path) => Some(LogWriter::create(
            path,
            &header(runtime, robot, model, options),
            when_full(options),
        )?),
        None => None,
    };
    let mut runner = Runner {
        robot,
        options,
        session,
        tick,
        log,
        ladder: Ladder::default(),
        summary: Summary::default(),
        time_us: 0,
    };
    let ended = runner
        .session
        .arm(Instant::now() + HANDSHAKE)
        .map_err(RunError::from)
        .and_then(|()| {
            runner.event(
                Severity::Info,
                EventKind::RunStarted,
                format!("{} is armed", robot.name),
            );
            runner.drive(stop, on_tick)
        });
    runner.stop(ended)
}

/// Checks that the robot lets through what robot.toml allows: the plan is scored as it will be executed.
fn check_limits(robot: &Robot, theirs: &[Limit]) -> Result<(), RunError> {
    let ours = robot.limiters.iter().map(Limiter::limit);
    for ((channel, ours), theirs) in robot.action.iter().zip(ours).zip(theirs) {
        if ours.min < theirs.min || ours.max > theirs.max || ours.rate > theirs.rate {
            return Err(RunError::Limits {
                channel: channel.name.clone(),
                ours,
                theirs: *theirs,
            });
        }
    }
    Ok(())
}

fn when_full(options: &Options) -> WhenFull {
    if options.lock_step {
        WhenFull::Block
    } else {
        WhenFull::Drop
    }
}

/// What the robot must say of itself.
pub fn contract(robot: &Robot) -> Contract {
    Contract {
        robot: robot.name.clone(),
        period_us: robot.period_us(),
        observation: robot
            .observation
            .iter()
            .map(|c| (c.name.clone(), c.unit.clone()))
            .collect(),
        action: robot
            .action
            .iter()
            .map(|c| (c.name.clone(), c.unit.clone()))
            .collect(),
    }
}

fn header(runtime: &Runtime, robot: &Robot, model: &DynamicsModel, options: &Options) -> Run {
    Run {
        robot: robot.name.clone(),
        rule: robot.adapt.rule.name().into(),
        seed: options.seed,
        started_unix_ns: unix_ns(),
        tick_period_us: robot.period_us().into(),
        surefoot_version: env!("CARGO_PKG_VERSION").into(),
        onnxruntime_version: runtime.build_info().into(),
        threads: 1,
        cpu: cpu_name(),
        extra: options.extra.clone(),
        robot_toml: robot.text.clone(),
        model: model.bytes.clone(),
    }
}

fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

/// The processor's name as Linux gives it; its architecture elsewhere.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info
        .lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Model"));
    let name = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.into())
}

struct Runner<'a> {
    robot: &'a Robot,
    options: &'a Options,
    session: Session<SerialLink>,
    tick: Tick,
    log: Option<LogWriter>,
    ladder: Ladder,
    summary: Summary,
    /// The robot's clock at its last telemetry, us.
    time_us: u64,
}

impl Runner<'_> {
    fn drive(
        &mut self,
        stop: &AtomicBool,
        on_tick: &mut dyn FnMut(&schema::Tick),
    ) -> Result<(), RunError> {
        let period = Duration::from_secs_f64(self.robot.period_s());
        while self
            .options
            .ticks
            .is_none_or(|ticks| self.summary.ticks < ticks)
        {
            let Some(telemetry) = self.telemetry(stop)? else {
                return Ok(());
            };
            let came = Instant::now();
            let wanted = if self.options.lock_step {
                Degradation::None
            } else {
                self.ladder.wanted()
            };
            let observation = Observation {
                tick: self.summary.ticks,
                robot_time_us: telemetry.time_us,
                armed: true,
                values: &telemetry.observation,
                applied: &telemetry.applied,
            };
            let mut outcome = self.tick.step(&observation, wanted);
            let sent = self.session.send(&outcome.command);
            let late = came.elapsed() > period;
            self.summary.ticks += 1;
            self.summary.late += u64::from(late);
            self.ladder.done(late);

            outcome.record.robot_mode = telemetry.mode as u32;
            outcome.record.monotonic_ns = if self.options.lock_step {
                self.time_us * 1000
            } else {
                monotonic_ns()
            };
            outcome.record.command_seq = sent.as_ref().map_or(0, |sequence| sequence.0.into());
            let time = self.log_time_ns();
            if let Some(log) = &mut self.log {
                log.tick(&outcome.record, time);
                log.plan(&outcome.plan, time);
            }
            on_tick(&outcome.record);
            sent?;
            if late && !self.options.lock_step {
                let text = format!("the command of tick {} was late", observation.tick);
                self.event(Severity::Warning, EventKind::Deadline, text);
            }
            if let Some(fault) = outcome.fault {
                self.event(Severity::Warning, EventKind::Adaptation, fault.to_string());
            }
            if outcome.record.degradation() == Degradation::Safe {
                return Err(self.why_unsafe(outcome.lost, &telemetry));
            }
        }
        Ok(())
    }

    /// The newest telemetry of an armed robot; nothing when it is time to stop.
    fn telemetry(&mut self, stop: &AtomicBool) -> Result<Option<Telemetry>, RunError> {
        let patience = if self.options.lock_step {
            HANDSHAKE
        } else {
            Duration::from_millis(self.robot.link.lifetime_ms.into())
                + Duration::from_secs_f64(self.robot.period_s())
        };
        let deadline = Instant::now() + patience;
        let mut telemetry = loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match self
                .session
                .next_telemetry(deadline.min(Instant::now() + STOP_POLL))
            {
                Err(LinkError::Silent { .. }) if Instant::now() < deadline => {}
                telemetry => break telemetry?,
            }
        };
        // What is older than the newest is past: acting on it would make the loop later still.
        while !self.options.lock_step
            && let Ok(newer) = self.session.next_telemetry(Instant::now())
        {
            telemetry = newer;
        }
        self.time_us = telemetry.time_us;
        let cause = self.note_robot_events();
        if telemetry.mode != Mode::Armed {
            return Err(RunError::WentSafe {
                robot: self.robot.name.clone(),
                cause,
            });
        }
        if telemetry.observation.len() != self.robot.observation.len()
            || telemetry.applied.len() != self.robot.action.len()
        {
            return Err(RunError::Telemetry {
                found: telemetry.observation.len(),
                expected: self.robot.observation.len(),
            });
        }
        Ok(Some(telemetry))
    }

    /// Logs what the robot reported, and returns why it left the armed mode, if it did.
    fn note_robot_events(&mut self) -> Option<surefoot_wire::Cause> {
        let mut left = None;
        while let Some(event) = self.session.next_event() {
            match event.kind {
                WireEvent::Mode { mode, cause } => {
                    let severity = if mode == Mode::Armed {
                        Severity::Info
                    } else {
                        left = left.or(Some(cause));
                        Severity::Warning
                    };
                    self.event(severity, EventKind::RobotMode, format!("{mode:?}: {cause}"));
                }
                WireEvent::Refused(reason) => {
                    self.event(
                        Severity::Warning,
                        EventKind::Link,
                        format!("the robot refused a message: {reason:?}"),
                    );
                }
                WireEvent::Weakened { channel } => {
                    let text = format!("observation {channel} takes strength away from the robot");
                    self.event(Severity::Warning, EventKind::Sensor, text);
                }
                WireEvent::Recovered { channel } => {
                    let text = format!("observation {channel} has given all strength back");
                    self.event(Severity::Info, EventKind::Sensor, text);
                }
            }
        }
        left
    }

    fn why_unsafe(&self, lost: Option<Lost>, telemetry: &Telemetry) -> RunError {
        match lost {
            Some(Lost::Unknown(index)) => RunError::Blind {
                channel: self.robot.observation[index].name.clone(),
                value: telemetry.observation[index],
            },
            Some(Lost::Frozen) => RunError::Frozen,
            Some(Lost::NoPlan) => RunError::NoPlan,
            None => RunError::Late {
                rate_hz: self.robot.rate_hz,
            },
        }
    }

    /// Brings the robot to its safe state, waits until it is there, and closes the log.
    fn stop(mut self, ended: Result<(), RunError>) -> Result<Summary, RunError> {
        let (severity, text) = match &ended {
            Ok(()) => (Severity::Info, "stopped as asked".to_owned()),
            Err(error) => (Severity::Error, error.to_string()),
        };
        self.event(severity, EventKind::RunStopped, text);
        let deadline = Instant::now() + STOPPING;
        let mut mode = Mode::Armed;
        let told = self.session.disarm().is_ok();
        if told {
            while mode.drivers_enabled() {
                let Ok(telemetry) = self.session.next_telemetry(deadline) else {
                    break;
                };
                mode = telemetry.mode;
                self.time_us = telemetry.time_us;
            }
            self.note_robot_events();
        }
        let closed = self.log.take().map(LogWriter::finish).transpose();
        let ended = match ended {
            // On a line that is gone nobody can say more: the lifetime of the last command ends by itself.
            result if told && mode.drivers_enabled() => Err(RunError::NotSafe {
                robot: self.robot.name.clone(),
                mode,
                because: result
                    .map_or_else(|error| error.to_string(), |()| "it was asked to".into()),
            }),
            result => result,
        };
        match (ended, closed) {
            (Ok(()), Ok(log)) => {
                self.summary.log = log;
                Ok(self.summary)
            }
            (Ok(()), Err(log)) => Err(log.into()),
            (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(log)) => Err(RunError::AndLog {
                ended: Box::new(error),
                log,
            }),
        }
    }

    fn event(&mut self, severity: Severity, kind: EventKind, text: String) {
        let time = self.log_time_ns();
        let (tick, robot_time_us) = (self.summary.ticks, self.time_us);
        if let Some(log) = &mut self.log {
            let mut event = Event {
                tick,
                robot_time_us,
                text,
                ..Event::default()
            };
            event.set_severity(severity);
            event.set_kind(kind);
            log.event(&event, time);
        }
    }

    /// The time that log viewers show, ns: since 1970, or the robot's own in lock-step.
    fn log_time_ns(&self) -> u64 {
        if self.options.lock_step {
            self.time_us * 1000
        } else {
            unix_ns()
        }
    }
}
