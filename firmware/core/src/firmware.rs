//! The firmware's logic as one value.

use heapless::Vec;
use surefoot_wire::{
    Cause, ChannelKind, Counters, Decoder, EventKind, FrameError, MAX_ACTION, MAX_FUTURE,
    MAX_OBSERVATION, Mode, PROTOCOL, Refusal, SCHEMA_HASH, Sequence, Telemetry, ToHost, ToRobot,
};

use crate::{
    Config, ConfigError, command::Command, limits::Limiter, outbox::Outbox, state::State,
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
    contract_hash: u64,
    decoder: Decoder<ToRobot>,
    outbox: Outbox,
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
            contract_hash: config.contract_hash(),
            decoder: Decoder::new(),
            outbox: Outbox::default(),
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

    /// What it accepted and refused so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes bytes from the host, any number at any time.
    pub fn receive(&mut self, now_us: u64, bytes: &[u8]) {
        self.pass_time(now_us);
        for byte in bytes {
            let outcome = match self.decoder.push(*byte) {
                None => continue,
                Some(Ok(message)) => self.handle(now_us, message),
                Some(Err(FrameError::TooLong)) => Err(Refusal::OverlongFrame),
                Some(Err(_)) => Err(Refusal::BadFrame),
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
        let elapsed_us = now_us.saturating_sub(self.stepped_us.unwrap_or(now_us));
        self.stepped_us = Some(now_us);
        self.telemeter.applied(&self.setpoints, elapsed_us);
        if let Some((sequence, applied)) = self.telemeter.poll(now_us) {
            self.refusal_told = false;
            self.tell(&ToHost::Telemetry(Telemetry {
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
        self.outbox.take(out)
    }

    fn handle(&mut self, now_us: u64, message: ToRobot) -> Result<(), Refusal> {
        match message {
            ToRobot::Hello {
                protocol,
                schema_hash,
            } => self.greet(now_us, protocol, schema_hash),
            ToRobot::DescribeChannel { kind, index } => self.describe(kind, index),
            ToRobot::ReadCounters => {
                let counters = ToHost::Counters(self.counters.clone());
                self.tell(&counters);
                Ok(())
            }
            ToRobot::Arm {
                contract_hash,
                session,
            } => self.arm(now_us, contract_hash, session),
            ToRobot::Command {
                session,
                sequence,
                lifetime_ms,
                actions,
            } => self.command(now_us, session, sequence, lifetime_ms, actions),
            ToRobot::Disarm => {
                self.go_safe(now_us, Cause::Stopped);
                Ok(())
            }
        }
    }

    /// Answers every hello, but offers a session only to a host of this version.
    fn greet(&mut self, now_us: u64, protocol: u16, schema_hash: u64) -> Result<(), Refusal> {
        let same_version = protocol == PROTOCOL && schema_hash == SCHEMA_HASH;
        let session = if same_version { self.offer(now_us) } else { 0 };
        let hello = ToHost::Hello {
            protocol: PROTOCOL,
            schema_hash: SCHEMA_HASH,
            robot: self.config.robot.clone(),
            contract_hash: self.contract_hash,
            period_us: self.config.period_us,
            n_observation: self.config.observation.len() as u8,
            limits: self.limiters.iter().map(Limiter::limit).collect(),
            session,
        };
        self.tell(&hello);
        self.greeted |= same_version;
        same_version.then_some(()).ok_or(Refusal::Version)
    }

    /// The session on offer: the same one until it is taken up. It differs from those before it by a count, and from those of
    /// an earlier start by the instant, so that an old frame cannot arm or command anything. Never 0.
    fn offer(&mut self, now_us: u64) -> u32 {
        if let Some(session) = self.offered {
            return session;
        }
        self.offers = self.offers.wrapping_add(1);
        // Fibonacci hashing spreads the instant over all bits.
        let instant = (now_us.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
        let session = instant.wrapping_add(self.offers).max(1);
        self.offered = Some(session);
        session
    }

    fn describe(&mut self, kind: ChannelKind, index: u8) -> Result<(), Refusal> {
        let place = usize::from(index);
        let channel = match kind {
            ChannelKind::Observation => self.config.observation.get(place),
            ChannelKind::Action => self.config.action.get(place).map(|action| &action.channel),
        };
        let channel = channel.ok_or(Refusal::NoSuchChannel)?.clone();
        self.tell(&ToHost::Channel {
            kind,
            index,
            channel,
        });
        Ok(())
    }

    fn arm(&mut self, now_us: u64, contract_hash: u64, session: u32) -> Result<(), Refusal> {
        if contract_hash != self.contract_hash {
            return Err(Refusal::Contract);
        }
        let cause = Cause::Armed { session };
        if matches!(self.state, State::Armed { session: running, .. } if running == session) {
            self.tell_mode(now_us, cause);
            return Ok(());
        }
        if self.offered != Some(session) {
            return Err(Refusal::Session);
        }
        if !matches!(self.state, State::Disarmed | State::Off) {
            return Err(Refusal::NotAtRest);
        }
        self.offered = None;
        self.last_command = None;
        let armed = State::Armed {
            session,
            ends_us: now_us.saturating_add(u64::from(ARMED_WAIT_MS) * 1000),
            command: None,
        };
        self.enter(now_us, armed, cause);
        Ok(())
    }

    fn command(
        &mut self,
        now_us: u64,
        session: u32,
        sequence: Sequence,
        lifetime_ms: u16,
        actions: Vec<f32, { MAX_FUTURE * MAX_ACTION }>,
    ) -> Result<(), Refusal> {
        let State::Armed {
            session: running,
            ends_us,
            command,
        } = &mut self.state
        else {
            return Err(Refusal::NotArmed);
        };
        if session != *running {
            return Err(Refusal::Session);
        }
        if self
            .last_command
            .is_some_and(|last| !sequence.is_newer_than(last))
        {
            return Err(Refusal::Stale);
        }
        let accepted = Command::new(
            now_us,
            sequence,
            lifetime_ms,
            actions,
            self.config.action.len(),
            self.config.max_lifetime_ms,
        )?;
        if accepted.leaves(&self.limiters) {
            self.counters.clamped = self.counters.clamped.saturating_add(1);
        }
        self.counters.accepted = self.counters.accepted.saturating_add(1);
        self.last_command = Some(accepted.sequence);
        *ends_us = accepted.ends_us();
        *command = Some(accepted);
        Ok(())
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
        self.tell(&ToHost::Event { time_us, kind });
    }

    /// Moves every setpoint towards what the state wants of it, as far as its limit allows.
    fn update_setpoints(&mut self, now_us: u64, elapsed_us: u64) {
        let n_action = self.config.action.len();
        let damping_us = f32::from(self.config.damping_ms) * 1000.0;
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
                } => command
                    .action(now_us, self.config.period_us, n_action)
                    .get(index)
                    .copied()
                    .unwrap_or(safe),
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

    fn refuse(&mut self, now_us: u64, reason: Refusal) {
        self.counters.count(reason);
        if !core::mem::replace(&mut self.refusal_told, true) {
            self.tell(&ToHost::Event {
                time_us: now_us,
                kind: EventKind::Refused(reason),
            });
        }
    }

    /// Puts a message for the host in the outbox. Only a hello is said to a host that has not said a proper one.
    fn tell(&mut self, message: &ToHost) {
        let wanted = self.greeted || matches!(message, ToHost::Hello { .. });
        if wanted && !self.outbox.put(message) {
            self.counters.unsent = self.counters.unsent.saturating_add(1);
        }
    }
}
