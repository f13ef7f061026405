//! What a firmware hears and says: every message of the host, and what becomes of it.

use heapless::Vec;
use surefoot_wire::{
    Cause, ChannelKind, EventKind, MAX_ACTION, MAX_FUTURE, PROTOCOL, Refusal, SCHEMA_HASH,
    Sequence, ToHost, ToRobot,
};

use super::{ARMED_WAIT_MS, Firmware};
use crate::{command::Command, limits::Limiter, state::State};

impl Firmware {
    pub(super) fn handle(&mut self, now_us: u64, message: ToRobot) -> Result<(), Refusal> {
        match message {
            ToRobot::Hello {
                protocol,
                schema_hash,
            } => self.greet(now_us, protocol, schema_hash),
            ToRobot::DescribeChannel { kind, index } => self.describe(kind, index),
            ToRobot::ReadCounters => {
                let counters = ToHost::Counters(self.counters.clone());
                self.tell(counters);
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
        self.tell(hello);
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
        self.tell(ToHost::Channel {
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
        if self.latched_off {
            return Err(Refusal::LatchedOff);
        }
        if self.strength() <= 0.0 {
            return Err(Refusal::NotRecovered);
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

    pub(super) fn refuse(&mut self, now_us: u64, reason: Refusal) {
        self.counters.count(reason);
        if !core::mem::replace(&mut self.refusal_told, true) {
            self.tell(ToHost::Event {
                time_us: now_us,
                kind: EventKind::Refused(reason),
            });
        }
    }

    /// Puts a message for the host in the outbox. Only a hello is said to a host that has not said a proper one.
    pub(super) fn tell(&mut self, message: ToHost) {
        let wanted = self.greeted || matches!(message, ToHost::Hello { .. });
        if wanted && !self.line.put(message) {
            self.counters.unsent = self.counters.unsent.saturating_add(1);
        }
    }
}
