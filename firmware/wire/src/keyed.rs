//! Keyed mode, for lines that others can reach: radio, bridges. Every frame proves who sent it, in which conversation, and that it
//! was not there before. It hides nothing.
//!
//! The proof is a 64-bit tag: SipHash-2-4 (Aumasson and Bernstein, 2012) under the shared key, over the direction, the nonces of
//! sender and receiver, a counter and the message.
//!
//! ```text
//! host                                                        robot
//! Hello, host nonce, robot nonce 0                        ->
//!                        <- Hello, the robot nonce on offer, bound to the host nonce
//! any message, both nonces                                ->  takes up the nonce on offer: older conversations are over
//!                        <- any message, both nonces
//! ```
//!
//! A host's frame counts only under a robot nonce that the robot offered in this start and that no later conversation has replaced,
//! and only with a counter above every one before it. So a recorded frame is never accepted again.

use core::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::{MAX_FRAME, ToHost, ToRobot};

/// The secret that a host and a robot share, 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// A key of these bytes, which must come from a good source of randomness.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn tag(&self, kind: Kind, from: u64, to: u64, counter: u64, payload: &[u8]) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&[kind as u8]);
        for number in [from, to, counter] {
            hasher.write(&number.to_le_bytes());
        }
        hasher.write(payload);
        hasher.finish().to_le_bytes()
    }

    /// Seals a message; none if it is longer than any frame.
    fn seal<M: Serialize>(
        &self,
        kind: Kind,
        from: u64,
        to: u64,
        counter: u64,
        message: M,
    ) -> Option<Sealed<M>> {
        let mut buffer = [0; MAX_FRAME];
        let payload = postcard::to_slice(&message, &mut buffer).ok()?;
        let tag = self.tag(kind, from, to, counter, payload);
        Some(Sealed {
            message,
            nonce: from.to_le_bytes(),
            counter,
            tag,
        })
    }

    fn is_sealed<M: Serialize>(&self, kind: Kind, to: u64, sealed: &Sealed<M>) -> bool {
        let mut buffer = [0; MAX_FRAME];
        let from = u64::from_le_bytes(sealed.nonce);
        postcard::to_slice(&sealed.message, &mut buffer)
            .is_ok_and(|payload| self.tag(kind, from, to, sealed.counter, payload) == sealed.tag)
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// What a tag is over, so that no tag of one kind serves for another.
#[derive(Clone, Copy)]
enum Kind {
    ToRobot,
    ToHost,
    Nonce,
}

/// A message with its proof: what goes into a frame in keyed mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sealed<M> {
    message: M,
    nonce: [u8; 8],
    counter: u64,
    tag: [u8; 8],
}

/// The host's side of one conversation.
#[derive(Clone, Debug)]
pub struct HostSeal {
    key: Key,
    nonce: u64,
    /// The robot's nonce, 0 before its hello.
    robot: u64,
    sent: u64,
    received: u64,
}

impl HostSeal {
    /// A new conversation. `nonce` must be random, or at least never used before with this key, and not 0.
    #[must_use]
    pub const fn new(key: Key, nonce: u64) -> Self {
        Self {
            key,
            nonce,
            robot: 0,
            sent: 0,
            received: 0,
        }
    }

    /// Seals the next message to the robot.
    pub fn seal(&mut self, message: ToRobot) -> Option<Sealed<ToRobot>> {
        self.sent += 1;
        self.key
            .seal(Kind::ToRobot, self.nonce, self.robot, self.sent, message)
    }

    /// Opens a message of the robot. None if it is forged, of another conversation, or not newer than every one before.
    pub fn open(&mut self, sealed: Sealed<ToHost>) -> Option<ToHost> {
        let nonce = u64::from_le_bytes(sealed.nonce);
        let is_answer = self.robot == 0 && matches!(sealed.message, ToHost::Hello { .. });
        let is_next = self.robot == nonce && sealed.counter > self.received;
        if !(is_answer || is_next) || !self.key.is_sealed(Kind::ToHost, self.nonce, &sealed) {
            return None;
        }
        self.robot = nonce;
        self.received = sealed.counter;
        Some(sealed.message)
    }
}

/// The robot's side of all conversations since it started.
#[derive(Clone, Debug)]
pub struct RobotSeal {
    key: Key,
    start: u64,
    /// How many conversations were taken up. The one that runs has the nonce of this number, the one on offer of the next.
    conversations: u64,
    /// The nonce of the host whose conversation runs, 0 for none.
    host: u64,
    /// The nonces, the host's and ours, of the hello that is being answered.
    asked: Option<(u64, u64)>,
    sent: u64,
    received: u64,
}

impl RobotSeal {
    /// A robot that has just started. `start` must never have been used before with this key: a random number, or a count of starts
    /// in memory that lasts.
    #[must_use]
    pub const fn new(key: Key, start: u64) -> Self {
        Self {
            key,
            start,
            conversations: 0,
            host: 0,
            asked: None,
            sent: 0,
            received: 0,
        }
    }

    /// Opens a message of a host. None if it is forged, of an older conversation, or not newer than every one before.
    pub fn open(&mut self, sealed: Sealed<ToRobot>) -> Option<ToRobot> {
        let host = u64::from_le_bytes(sealed.nonce);
        let is_hello = matches!(sealed.message, ToRobot::Hello { .. });
        let [running, offered] = [self.nonce(0), self.nonce(1)];
        let proves = |nonce| self.key.is_sealed(Kind::ToRobot, nonce, &sealed);
        if host == self.host && sealed.counter > self.received && proves(running) {
            self.received = sealed.counter;
            self.asked = is_hello.then_some((host, running));
        } else if proves(offered) {
            self.conversations += 1;
            self.host = host;
            self.received = sealed.counter;
            self.asked = is_hello.then_some((host, offered));
        } else if is_hello && proves(0) {
            // Anybody may replay this; it gets an answer that only the host which asked can use.
            self.asked = Some((host, offered));
        } else {
            return None;
        }
        Some(sealed.message)
    }

    /// Seals the next message to the host: a hello to the one that asked, anything else to the one whose conversation runs. None if
    /// there is no such host.
    pub fn seal(&mut self, message: ToHost) -> Option<Sealed<ToHost>> {
        let (host, nonce) = match message {
            ToHost::Hello { .. } => self.asked?,
            _ if self.host == 0 => return None,
            _ => (self.host, self.nonce(0)),
        };
        self.sent += 1;
        self.key.seal(Kind::ToHost, nonce, host, self.sent, message)
    }

    /// The nonce of the running conversation, or of one that many later. Never 0.
    fn nonce(&self, later: u64) -> u64 {
        let number = self.conversations + later;
        u64::from_le_bytes(self.key.tag(Kind::Nonce, self.start, 0, number, &[])).max(1)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::{Counters, Name, PROTOCOL, SCHEMA_HASH};

    const KEY: Key = Key::new([7; 16]);
    const HELLO: ToRobot = ToRobot::Hello {
        protocol: PROTOCOL,
        schema_hash: SCHEMA_HASH,
    };

    fn answer() -> ToHost {
        ToHost::Hello {
            protocol: PROTOCOL,
            schema_hash: SCHEMA_HASH,
            robot: Name::new(),
            contract_hash: 1,
            period_us: 1,
            n_observation: 1,
            limits: heapless::Vec::new(),
            session: 1,
        }
    }

    fn told() -> ToHost {
        ToHost::Counters(Counters::default())
    }

    /// A host that has shaken hands, and every frame of it.
    fn greeted(robot: &mut RobotSeal, nonce: u64) -> (HostSeal, Vec<Sealed<ToRobot>>) {
        let mut host = HostSeal::new(KEY, nonce);
        let hello = host.seal(HELLO).unwrap();
        assert_eq!(robot.open(hello.clone()), Some(HELLO));
        assert_eq!(host.open(robot.seal(answer()).unwrap()), Some(answer()));
        let stop = host.seal(ToRobot::Disarm).unwrap();
        assert_eq!(robot.open(stop.clone()), Some(ToRobot::Disarm));
        (host, std::vec![hello, stop])
    }

    #[test]
    fn a_conversation_goes_both_ways() {
        let mut robot = RobotSeal::new(KEY, 1);
        let (mut host, _) = greeted(&mut robot, 10);
        for _ in 0..5 {
            assert_eq!(
                robot.open(host.seal(ToRobot::ReadCounters).unwrap()),
                Some(ToRobot::ReadCounters)
            );
            assert_eq!(host.open(robot.seal(told()).unwrap()), Some(told()));
            // Shaking hands again goes on with the same conversation.
            assert_eq!(robot.open(host.seal(HELLO).unwrap()), Some(HELLO));
            assert_eq!(host.open(robot.seal(answer()).unwrap()), Some(answer()));
        }
    }

    #[test]
    fn nothing_is_accepted_twice_or_out_of_order() {
        let mut robot = RobotSeal::new(KEY, 1);
        let (mut host, _) = greeted(&mut robot, 10);
        let [first, second] = [(); 2].map(|()| host.seal(ToRobot::Disarm).unwrap());
        assert!(robot.open(second.clone()).is_some());
        assert!(robot.open(second).is_none());
        assert!(robot.open(first).is_none());
        let [first, second] = [(); 2].map(|()| robot.seal(told()).unwrap());
        assert!(host.open(second.clone()).is_some());
        assert!(host.open(second).is_none());
        assert!(host.open(first).is_none());
    }

    #[test]
    fn an_answer_is_accepted_once() {
        let mut robot = RobotSeal::new(KEY, 1);
        let mut host = HostSeal::new(KEY, 10);
        robot.open(host.seal(HELLO).unwrap()).unwrap();
        let hello = robot.seal(answer()).unwrap();
        assert!(host.open(hello.clone()).is_some());
        assert!(host.open(hello).is_none());
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(std::format!("{KEY:?}"), "Key(secret)");
    }

    #[test]
    fn a_recorded_conversation_is_worth_nothing() {
        let mut robot = RobotSeal::new(KEY, 1);
        let (_, recorded) = greeted(&mut robot, 10);
        let (mut host, _) = greeted(&mut robot, 11);
        for frame in &recorded {
            // Its hello is answered; nothing else of it is heard, and the running conversation goes on.
            let heard = robot.open(frame.clone());
            assert!(heard.is_none() || heard == Some(HELLO));
            if heard.is_some() {
                assert!(host.open(robot.seal(answer()).unwrap()).is_none());
            }
        }
        assert!(robot.open(host.seal(ToRobot::Disarm).unwrap()).is_some());
        assert!(host.open(robot.seal(told()).unwrap()).is_some());
        let mut restarted = RobotSeal::new(KEY, 2);
        let heard: Vec<ToRobot> = recorded
            .into_iter()
            .filter_map(|frame| restarted.open(frame))
            .collect();
        assert_eq!(heard, [HELLO]);
        assert!(
            restarted
                .open(host.seal(ToRobot::Disarm).unwrap())
                .is_none()
        );
    }

    #[test]
    fn no_forged_bit_and_no_other_key_is_accepted() {
        let mut robot = RobotSeal::new(KEY, 1);
        let (mut host, _) = greeted(&mut robot, 10);
        let sealed = host.seal(ToRobot::Disarm).unwrap();
        for bit in 0..64 {
            let flipped = |mut bytes: [u8; 8]| {
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            };
            let forged = [
                Sealed {
                    tag: flipped(sealed.tag),
                    ..sealed.clone()
                },
                Sealed {
                    nonce: flipped(sealed.nonce),
                    ..sealed.clone()
                },
                Sealed {
                    counter: sealed.counter ^ (1 << bit),
                    ..sealed.clone()
                },
                Sealed {
                    message: ToRobot::ReadCounters,
                    ..sealed.clone()
                },
            ];
            for frame in forged {
                assert!(robot.clone().open(frame).is_none(), "bit {bit}");
            }
        }
        let mut stranger = HostSeal::new(Key::new([8; 16]), 10);
        assert!(robot.open(stranger.seal(HELLO).unwrap()).is_none());
        assert!(robot.open(sealed).is_some());
    }

    #[test]
    fn a_robot_says_nothing_to_nobody() {
        let mut robot = RobotSeal::new(KEY, 1);
        assert_eq!(robot.seal(told()), None);
        assert_eq!(robot.seal(answer()), None);
        let mut host = HostSeal::new(KEY, 10);
        assert!(robot.open(host.seal(HELLO).unwrap()).is_some());
        assert_eq!(robot.seal(told()), None);
        assert!(robot.open(host.seal(ToRobot::Disarm).unwrap()).is_none());
    }
}
