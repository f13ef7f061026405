//! The firmware's logic as one value.

mod talk;

use heapless::Vec;
use surefoot_wire::{
    Cause, Counters, EventKind, Key, MAX_ACTION, MAX_OBSERVATION, Mode, Sequence, Telemetry, ToHost,
};

use crate::{
    Config, ConfigError, MAX_DERATES,
    derate::{Change, Derating},
    limits::Limiter,
    line::Line,
    state::State,
    telemetry::Telemeter,
};

/// How long an armed robot waits for its first command before it goes safe, ms.
pub const ARMED_WAIT_MS: u16 = 1000;

/// What the board must do now, until the next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output<'a> {
    /// One setpoint an action channel, in the channel's unit, always within its limits.
    pub action: &'a [f32],
    /// What the robot is doing.
    pub mode: Mode,
    /// Whether the motors are driven. If not, the setpoints mean nothing.
    pub drivers_enabled: bool,
}

/// The logic of one robot's microcontroller. Times are microseconds of the board's own clock, which never goes back.
#[derive(Debug)]
pub struct Firmware {
    config: Config,
    limiters: Vec<Limiter, MAX_ACTION>,
    deratings: Vec<Derating, MAX_DERATES>,
    latched_off: bool,
    contract_hash: u64,
    line: Line,
    counters: Counters,
    /// Whether a host of our version has said hello: nothing is sent unasked before.
    greeted: bool,
    /// The session that the next arming must name.
    offered: Option<u32>,
    offers: u32,
    last_command: Option<Sequence>,
    state: State,
    telemeter: Telemeter,
    refusal_told: bool,
    stepped_us: Option<u64>,
    setpoints: Vec<f32, MAX_ACTION>,
    /// The setpoints at which damping began.
    damped_from: Vec<f32, MAX_ACTION>,
}

impl Firmware {
    /// The firmware of the robot that `config` describes, disarmed.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration makes no sense.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let limiters = config.check()?;
        let safe: Vec<f32, MAX_ACTION> = config.action.iter().map(|action| action.safe).collect();
        Ok(Self {
            limiters,
            deratings: config.derates.iter().copied().map(Derating::new).collect(),
            latched_off: false,
            contract_hash: config.contract_hash(),
            line: Line::plain(),
            counters: Counters::default(),
            greeted: false,
            offered: None,
            offers: 0,
            last_command: None,
            state: State::Disarmed,
            telemeter: Telemeter::new(config.period_us, config.action.len()),
            refusal_told: false,
            stepped_us: None,
            damped_from: safe.clone(),
            setpoints: safe,
            config,
        })
    }

    /// The same firmware, which refuses to be armed: for a robot that reset again and again (see [`resets`](crate::resets)).
    #[must_use]
    pub fn latched_off(self) -> Self {
        Self {
            latched_off: true,
            ..self
        }
    }

    /// The same firmware in keyed mode (see [`RobotSeal`](surefoot_wire::RobotSeal)): it hears only hosts that know the key. `start`
    /// must never have been used before with this key.
    #[must_use]
    pub fn keyed(self, key: Key, start: u64) -> Self {
        Self {
            line: Line::keyed(key, start),
            ..self
        }
    }

    /// What it accepted and refused so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes bytes from the host, any number at any time.
    pub fn receive(&mut self, now_us: u64, bytes: &[u8]) {
        self.pass_time(now_us);
        for byte in bytes {
            let outcome = match self.line.push(*byte) {
                None => continue,
                Some(heard) => heard.and_then(|message| self.handle(now_us, message)),
            };
            if let Err(reason) = outcome {
                self.refuse(now_us, reason);
            }
        }
    }

    /// Takes the measurements of this instant, and says what to do until the next step. To be called once a millisecond.
    ///
    /// `observation` holds one value an observation channel; a missing one counts as NaN.
    pub fn step(&mut self, now_us: u64, observation: &[f32]) -> Output<'_> {
        self.pass_time(now_us);
        self.check_trips(now_us, observation);
        self.check_derates(now_us, observation);
        let elapsed_us = now_us.saturating_sub(self.stepped_us.unwrap_or(now_us));
        self.stepped_us = Some(now_us);
        self.telemeter.applied(&self.setpoints, elapsed_us);
        if let Some((sequence, applied)) = self.telemeter.poll(now_us) {
            self.refusal_told = false;
            self.tell(ToHost::Telemetry(Telemetry {
                sequence,
                time_us: now_us,
                mode: self.state.mode(),
                last_command: self.last_command,
                applied,
                observation: self.whole(observation),
                refused: self.counters.refused_in_all(),
            }));
        }
        self.update_setpoints(now_us, elapsed_us);
        let mode = self.state.mode();
        Output {
            action: &self.setpoints,
            mode,
            drivers_enabled: mode.drivers_enabled(),
        }
    }

    /// Moves bytes for the host to `out`, as many as there are or fit. Returns how many.
    pub fn transmit(&mut self, out: &mut [u8]) -> usize {
        self.line.take(out)
    }

    /// Lets the state change that time alone changes.
    fn pass_time(&mut self, now_us: u64) {
        let damping_us = u64::from(self.config.damping_ms) * 1000;
        let sitting_us = u64::from(self.config.sitting_ms) * 1000;
        while let Some((next, cause)) = self.state.after(now_us, damping_us, sitting_us) {
            self.enter(now_us, next, cause);
        }
    }

    fn check_trips(&mut self, now_us: u64, observation: &[f32]) {
        let tripped = self.config.trips.iter().find(|trip| {
            let value = observation.get(usize::from(trip.channel));
            !value.is_some_and(|value| (trip.min..=trip.max).contains(value))
        });
        if let Some(trip) = tripped {
            let channel = trip.channel;
            self.go_safe(now_us, Cause::Tripped { channel });
        }
    }

    fn check_derates(&mut self, now_us: u64, observation: &[f32]) {
        for index in 0..self.deratings.len() {
            let Some(derating) = self.deratings.get_mut(index) else {
                continue;
            };
            let channel = derating.channel();
            let change = derating.measure(observation.get(usize::from(channel)));
            let exhausted = derating.strength() <= 0.0;
            if let Some(change) = change {
                let kind = match change {
                    Change::Weakened => EventKind::Weakened { channel },
                    Change::Recovered => EventKind::Recovered { channel },
                };
                self.tell(ToHost::Event {
                    time_us: now_us,
                    kind,
                });
            }
            if exhausted {
                self.go_safe(now_us, Cause::Tripped { channel });
            }
        }
    }

    /// What the weakest measurement leaves, from 0, nothing, to 1, all.
    fn strength(&self) -> f32 {
        self.deratings
            .iter()
            .map(Derating::strength)
            .fold(1.0, f32::min)
    }

    fn go_safe(&mut self, now_us: u64, cause: Cause) {
        if matches!(self.state, State::Armed { .. }) {
            self.enter(now_us, State::Damping { since_us: now_us }, cause);
        }
    }

    fn enter(&mut self, now_us: u64, state: State, cause: Cause) {
        if matches!(state, State::Damping { .. }) {
            self.damped_from.clone_from(&self.setpoints);
        }
        self.state = state;
        self.tell_mode(now_us, cause);
    }

    fn tell_mode(&mut self, time_us: u64, cause: Cause) {
        let mode = self.state.mode();
        let kind = EventKind::Mode { mode, cause };
        self.tell(ToHost::Event { time_us, kind });
    }

    /// Moves every setpoint towards what the state wants of it, as far as its limit allows.
    fn update_setpoints(&mut self, now_us: u64, elapsed_us: u64) {
        let n_action = self.config.action.len();
        let damping_us = f32::from(self.config.damping_ms) * 1000.0;
        let strength = self.strength();
        for (index, setpoint) in self.setpoints.iter_mut().enumerate() {
            let (Some(action), Some(limiter)) =
                (self.config.action.get(index), self.limiters.get(index))
            else {
                continue;
            };
            let safe = action.safe;
            let wanted = match &self.state {
                State::Disarmed | State::Off => {
                    *setpoint = safe;
                    continue;
                }
                State::Armed {
                    command: Some(command),
                    ..
                } => {
                    let action = command.action(now_us, self.config.period_us, n_action);
                    let wanted = action.get(index).copied().unwrap_or(safe);
                    weakened(wanted, safe, strength)
                }
                State::Damping { since_us } => {
                    let from = self.damped_from.get(index).copied().unwrap_or(safe);
                    let done = now_us.saturating_sub(*since_us) as f32 / damping_us;
                    from + (safe - from) * done
                }
                State::Armed { command: None, .. } | State::Sitting { .. } => safe,
            };
            *setpoint = limiter.limit_step(*setpoint, wanted, elapsed_us);
        }
    }

    /// One value an observation channel, NaN where the board has none.
    fn whole(&self, observation: &[f32]) -> Vec<f32, MAX_OBSERVATION> {
        let padding = core::iter::repeat(&f32::NAN);
        let values = observation.iter().chain(padding).copied();
        values.take(self.config.observation.len()).collect()
    }
}

/// An action that has come nearer to the safe one. With all strength it is the wanted one, bit for bit.
fn weakened(wanted: f32, safe: f32, strength: f32) -> f32 {
    if strength < 1.0 {
        safe + (wanted - safe) * strength
    } else {
        wanted
    }
}
