//! The conversation with a robot.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use surefoot_wire::{
    Cause, Channel, ChannelKind, Counters, EventKind, Key, Limit, PROTOCOL, Refusal, SCHEMA_HASH,
    Sequence, Telemetry, ToHost, ToRobot,
};

use super::{
    Contract, Link, LinkError,
    frames::{Frames, Unheard},
};
use crate::guard::SafeCommand;

/// How long an answer may take before the question is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How many events are kept for a caller that does not ask for them.
const KEPT_EVENTS: usize = 64;

/// Something that happened on the robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RobotEvent {
    /// When, us since the robot started.
    pub time_us: u64,
    /// What.
    pub kind: EventKind,
}

/// What the host saw of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Frames that were damaged on the way to the host.
    pub bad_frames: u64,
    /// In keyed mode, frames without proof that the robot sent them in this conversation, for the first time.
    pub forged_frames: u64,
    /// Telemetry messages that did not arrive.
    pub lost_telemetry: u64,
    /// Telemetry messages that were dropped because they came twice or after a newer one.
    pub stale_telemetry: u64,
}

/// A conversation with the robot that was expected. It never arms by itself.
#[derive(Debug)]
pub struct Session<L> {
    link: L,
    frames: Frames,
    contract_hash: u64,
    limits: Vec<Limit>,
    /// The session that the robot runs for us.
    armed: Option<u32>,
    sequence: Sequence,
    telemetry: Option<Sequence>,
    events: VecDeque<RobotEvent>,
    counters: LineCounters,
}

/// What a robot says in its hello.
struct Hello {
    protocol: u16,
    schema_hash: u64,
    robot: String,
    contract_hash: u64,
    period_us: u32,
    n_observation: usize,
    limits: Vec<Limit>,
    session: u32,
}

impl<L: Link> Session<L> {
    /// Shakes hands with the robot on the line, and checks that it is the expected one.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: no answer until `deadline`; another version, robot, tick period or channel, and then which; or the line.
    pub fn connect(link: L, expected: &Contract, deadline: Instant) -> Result<Self, LinkError> {
        Self::start(link, Frames::plain(), expected, deadline)
    }

    /// As [`connect`](Self::connect), in keyed mode: robot and host prove to each other that they know the key, with every frame.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); a robot with another key, or none, is silent.
    pub fn connect_keyed(
        link: L,
        key: Key,
        expected: &Contract,
        deadline: Instant,
    ) -> Result<Self, LinkError> {
        Self::start(link, Frames::keyed(key), expected, deadline)
    }

    fn start(
        link: L,
        frames: Frames,
        expected: &Contract,
        deadline: Instant,
    ) -> Result<Self, LinkError> {
        let mut session = Self {
            link,
            frames,
            contract_hash: expected.hash(),
            limits: Vec::new(),
            armed: None,
            sequence: Sequence(0),
            telemetry: None,
            events: VecDeque::new(),
            counters: LineCounters::default(),
        };
        let hello = session.greet(deadline)?;
        session.check(&hello, expected, deadline)?;
        session.limits = hello.limits;
        Ok(session)
    }

    /// Arms the robot, which must be at rest. Telemetry that comes meanwhile is skipped.
    ///
    /// # Errors
    ///
    /// [`LinkError::ArmRefused`] with the robot's reason; [`LinkError::Silent`] if it is not armed until `deadline`; or the line.
    pub fn arm(&mut self, deadline: Instant) -> Result<(), LinkError> {
        // A fresh hello, because a session is armed at most once.
        let session = self.greet(deadline)?.session;
        let arm = ToRobot::Arm {
            contract_hash: self.contract_hash,
            session,
        };
        let answer = self.ask(&arm, "confirmation of arming", deadline, |message| {
            let ToHost::Event { kind, .. } = message else {
                return None;
            };
            match *kind {
                EventKind::Mode {
                    cause: Cause::Armed { session: armed },
                    ..
                } if armed == session => Some(Ok(())),
                EventKind::Refused(
                    reason @ (Refusal::Contract | Refusal::Session | Refusal::NotAtRest),
                ) => Some(Err(reason)),
                _ => None,
            }
        })?;
        answer.map_err(|reason| LinkError::ArmRefused {
            port: self.port(),
            reason,
        })?;
        self.armed = Some(session);
        Ok(())
    }

    /// The next telemetry message, in order; one that comes twice or after a newer one is dropped. Its values are as the robot
    /// measured them and may be NaN.
    ///
    /// # Errors
    ///
    /// [`LinkError::Silent`] if none came until `deadline`; or the line.
    pub fn next_telemetry(&mut self, deadline: Instant) -> Result<Telemetry, LinkError> {
        loop {
            if let ToHost::Telemetry(telemetry) = self.receive("telemetry", deadline)? {
                return Ok(telemetry);
            }
        }
    }

    /// Sends a command, which is the robot's heartbeat for its lifetime. Returns its sequence number.
    ///
    /// # Errors
    ///
    /// [`LinkError::NotArmed`] before arming; [`LinkError::CommandTooLong`]; or the line.
    pub fn send(&mut self, command: &SafeCommand) -> Result<Sequence, LinkError> {
        let session = self
            .armed
            .ok_or_else(|| LinkError::NotArmed { port: self.port() })?;
        let values = command.actions();
        let actions = values.try_into().map_err(|_| LinkError::CommandTooLong {
            port: self.port(),
            values: values.len(),
        })?;
        self.sequence = self.sequence.next();
        let sequence = self.sequence;
        self.tell(ToRobot::Command {
            session,
            sequence,
            lifetime_ms: command.lifetime_ms(),
            actions,
        })?;
        Ok(sequence)
    }

    /// Tells the robot to go to its safe state now. Commands need a new arming afterwards.
    ///
    /// # Errors
    ///
    /// [`LinkError`] of the line. The robot then goes safe when the last command's lifetime ends.
    pub fn disarm(&mut self) -> Result<(), LinkError> {
        self.armed = None;
        self.tell(ToRobot::Disarm)
    }

    /// What the robot accepted and refused. Telemetry that comes meanwhile is skipped.
    ///
    /// # Errors
    ///
    /// [`LinkError::Silent`] if there is no answer until `deadline`; or the line.
    pub fn robot_counters(&mut self, deadline: Instant) -> Result<Counters, LinkError> {
        self.ask(
            &ToRobot::ReadCounters,
            "counters",
            deadline,
            |message| match message {
                ToHost::Counters(counters) => Some(counters.clone()),
                _ => None,
            },
        )
    }

    /// The oldest event that was not yet asked for. It does not wait: events come in with telemetry.
    pub fn next_event(&mut self) -> Option<RobotEvent> {
        self.events.pop_front()
    }

    /// The robot's own limits, one an action channel.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// What the host saw of the line so far.
    pub fn counters(&self) -> LineCounters {
        self.counters
    }

    /// The line.
    pub fn link(&self) -> &L {
        &self.link
    }

    /// Ends the conversation, and gives back the line.
    pub fn into_link(self) -> L {
        self.link
    }

    fn port(&self) -> String {
        self.link.name().to_owned()
    }

    fn greet(&mut self, deadline: Instant) -> Result<Hello, LinkError> {
        // A robot that has restarted counts its telemetry from the start.
        self.telemetry = None;
        let hello = ToRobot::Hello {
            protocol: PROTOCOL,
            schema_hash: SCHEMA_HASH,
        };
        self.ask(&hello, "hello", deadline, |message| match message {
            ToHost::Hello {
                protocol,
                schema_hash,
                robot,
                contract_hash,
                period_us,
                n_observation,
                limits,
                session,
            } => Some(Hello {
                protocol: *protocol,
                schema_hash: *schema_hash,
                robot: robot.to_string(),
                contract_hash: *contract_hash,
                period_us: *period_us,
                n_observation: usize::from(*n_observation),
                limits: limits.to_vec(),
                session: *session,
            }),
            _ => None,
        })
    }

    /// Checks a hello against what is expected, from the coarse to the fine.
    fn check(
        &mut self,
        hello: &Hello,
        expected: &Contract,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let port = self.port();
        if hello.protocol != PROTOCOL {
            return Err(LinkError::Protocol {
                port,
                robot: hello.protocol,
            });
        }
        if hello.schema_hash != SCHEMA_HASH {
            return Err(LinkError::Schema { port });
        }
        if hello.robot != expected.robot {
            return Err(LinkError::Robot {
                port,
                robot: hello.robot.clone(),
                expected: expected.robot.clone(),
            });
        }
        if hello.period_us != expected.period_us {
            return Err(LinkError::Period {
                port,
                robot: hello.period_us,
                expected: expected.period_us,
            });
        }
        if hello.contract_hash == self.contract_hash {
            return Ok(());
        }
        self.compare(
            ChannelKind::Observation,
            hello.n_observation,
            &expected.observation,
            deadline,
        )?;
        self.compare(
            ChannelKind::Action,
            hello.limits.len(),
            &expected.action,
            deadline,
        )?;
        Err(LinkError::ContractHash { port })
    }

    /// Asks the robot for its channels, and fails with the first one that is not as expected.
    fn compare(
        &mut self,
        kind: ChannelKind,
        count: usize,
        expected: &[(String, String)],
        deadline: Instant,
    ) -> Result<(), LinkError> {
        for index in 0..count.max(expected.len()) {
            let robot = if index < count {
                Some(self.describe(kind, index as u8, deadline)?)
            } else {
                None
            };
            let robot = robot
                .as_ref()
                .map(|channel| (channel.name.as_str(), channel.unit.as_str()));
            let wanted = expected
                .get(index)
                .map(|(name, unit)| (name.as_str(), unit.as_str()));
            if robot != wanted {
                let port = self.port();
                let [robot, expected] = [robot, wanted].map(described);
                return Err(LinkError::Channel {
                    port,
                    kind,
                    index,
                    robot,
                    expected,
                });
            }
        }
        Ok(())
    }

    fn describe(
        &mut self,
        kind: ChannelKind,
        index: u8,
        deadline: Instant,
    ) -> Result<Channel, LinkError> {
        let question = ToRobot::DescribeChannel { kind, index };
        self.ask(
            &question,
            "description of a channel",
            deadline,
            |message| match message {
                ToHost::Channel {
                    kind: of_kind,
                    index: place,
                    channel,
                } if (*of_kind, *place) == (kind, index) => Some(channel.clone()),
                _ => None,
            },
        )
    }

    /// Sends a question, again and again, until `answer` finds the answer in a message.
    fn ask<T>(
        &mut self,
        question: &ToRobot,
        awaited: &'static str,
        deadline: Instant,
        mut answer: impl FnMut(&ToHost) -> Option<T>,
    ) -> Result<T, LinkError> {
        loop {
            self.tell(question.clone())?;
            let ask_again = deadline.min(Instant::now() + ASK_AGAIN);
            loop {
                match self.receive(awaited, ask_again) {
                    Ok(message) => {
                        if let Some(answer) = answer(&message) {
                            return Ok(answer);
                        }
                    }
                    Err(LinkError::Silent { .. }) if ask_again < deadline => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn tell(&mut self, message: ToRobot) -> Result<(), LinkError> {
        self.frames.send(&mut self.link, message)
    }

    /// The next message that is neither damaged nor stale. Events are also kept for [`next_event`](Self::next_event).
    fn receive(&mut self, awaited: &'static str, deadline: Instant) -> Result<ToHost, LinkError> {
        loop {
            match self.frames.next(&mut self.link, deadline)? {
                None => {
                    return Err(LinkError::Silent {
                        port: self.port(),
                        awaited,
                    });
                }
                Some(Err(Unheard::Damaged)) => self.counters.bad_frames += 1,
                Some(Err(Unheard::Forged)) => self.counters.forged_frames += 1,
                Some(Ok(message)) => {
                    if self.note(&message) {
                        return Ok(message);
                    }
                }
            }
        }
    }

    /// Keeps what every message tells by the way. Returns whether it is to be looked at.
    fn note(&mut self, message: &ToHost) -> bool {
        match message {
            ToHost::Telemetry(telemetry) => {
                let sequence = telemetry.sequence;
                if let Some(last) = self.telemetry {
                    if !sequence.is_newer_than(last) {
                        self.counters.stale_telemetry += 1;
                        return false;
                    }
                    self.counters.lost_telemetry += u64::from(sequence.since(last)) - 1;
                }
                self.telemetry = Some(sequence);
            }
            ToHost::Event { time_us, kind } => {
                if self.events.len() == KEPT_EVENTS {
                    self.events.pop_front();
                }
                self.events.push_back(RobotEvent {
                    time_us: *time_us,
                    kind: *kind,
                });
            }
            _ => {}
        }
        true
    }
}

/// A channel in a message for a person.
fn described(channel: Option<(&str, &str)>) -> String {
    match channel {
        None => "missing".to_owned(),
        Some((name, "")) => format!("'{name}'"),
        Some((name, unit)) => format!("'{name}' ({unit})"),
    }
}
