//! The firmware's logic behind a pseudo-terminal.

use std::{
    io::{self, Read, Write},
    os::fd::{AsRawFd, BorrowedFd},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::JoinHandle,
    time::Duration,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serialport::{SerialPort, TTYPort};
use surefoot_firmware::{Config, Firmware};
use surefoot_wire::{Counters, MAX_OBSERVATION, Mode};

/// How soon an order is noticed while the line is silent.
const LINE_POLL: Duration = Duration::from_millis(1);

/// What the firmware did in one millisecond.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its clock at the end, us.
    pub time_us: u64,
    /// Its mode at the end.
    pub mode: Mode,
    /// The setpoints from then on.
    pub action: Vec<f32>,
    /// What it accepted and refused so far.
    pub counters: Counters,
}

enum Order {
    Observe(Vec<f32>),
    Pass {
        heard: u64,
        ms: u64,
        steps: Sender<Vec<Step>>,
    },
}

/// A robot whose time stands still until it is let pass. Dropping it pulls its plug: the port is gone.
#[derive(Debug)]
pub struct Robot {
    port: String,
    /// Keeps the line open while no host has it.
    terminal: TTYPort,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Robot {
    /// Switches on a robot on a new pseudo-terminal.
    ///
    /// # Panics
    ///
    /// If the system has no pseudo-terminal, or the configuration makes no sense.
    #[must_use]
    pub fn start(config: Config) -> Self {
        Self::with(Firmware::new(config).expect("a configuration that makes sense"))
    }

    /// Puts a firmware on a new pseudo-terminal, with all measurements 0.
    ///
    /// # Panics
    ///
    /// If the system has no pseudo-terminal.
    #[must_use]
    pub fn with(mut firmware: Firmware) -> Self {
        let (line, terminal) = TTYPort::pair().expect("a pseudo-terminal");
        let port = terminal.name().expect("a pseudo-terminal has a name");
        let observation = vec![0.0; MAX_OBSERVATION];
        firmware.step(0, &observation);
        // SAFETY: `line` owns the descriptor and lives longer than this borrow of it.
        let descriptor = unsafe { BorrowedFd::borrow_raw(line.as_raw_fd()) };
        fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a descriptor");
        let (orders, received) = channel();
        let mut board = Board {
            line,
            firmware,
            observation,
            now_us: 0,
            heard: 0,
        };
        let thread = std::thread::spawn(move || board.run(&received));
        Self {
            port,
            terminal,
            orders: Some(orders),
            thread: Some(thread),
        }
    }

    /// The port that the host opens.
    #[must_use]
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Sets what the robot measures from now on.
    pub fn observe(&self, values: &[f32]) {
        self.order(Order::Observe(values.to_vec()));
    }

    /// Puts bytes on the line to the robot, between those of the host.
    ///
    /// # Panics
    ///
    /// If the line takes none.
    pub fn noise(&mut self, bytes: &[u8]) {
        self.terminal.write_all(bytes).expect("an open line");
    }

    /// Waits until the robot has heard `heard` bytes in all, and then lets `ms` milliseconds pass.
    ///
    /// # Panics
    ///
    /// If the robot has died.
    #[must_use]
    pub fn pass(&self, heard: u64, ms: u64) -> Vec<Step> {
        let (steps, done) = channel();
        self.order(Order::Pass { heard, ms, steps });
        done.recv_timeout(Duration::from_secs(20))
            .expect("the robot hears all that was sent")
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("orders end with the robot");
        orders.send(order).expect("the robot lives");
    }
}

impl Drop for Robot {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has failed the test already.
            let _ = thread.join();
        }
    }
}

struct Board {
    line: TTYPort,
    firmware: Firmware,
    observation: Vec<f32>,
    now_us: u64,
    heard: u64,
}

impl Board {
    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            match orders.try_recv() {
                Ok(Order::Observe(values)) => self.observation = values,
                Ok(Order::Pass { heard, ms, steps }) => {
                    while self.heard < heard {
                        self.listen();
                    }
                    // A test that has given up does not wait for them.
                    let _ = steps.send((0..ms).map(|_| self.step()).collect());
                }
                Err(TryRecvError::Empty) => self.listen(),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn listen(&mut self) {
        self.line.set_timeout(LINE_POLL).expect("an open line");
        let mut bytes = [0; 1024];
        match self.line.read(&mut bytes) {
            Ok(count) => {
                self.heard += count as u64;
                self.firmware.receive(self.now_us, &bytes[..count]);
                self.talk();
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => panic!("the line is broken: {error}"),
        }
    }

    fn step(&mut self) -> Step {
        self.now_us += 1000;
        let output = self.firmware.step(self.now_us, &self.observation);
        let (mode, action) = (output.mode, output.action.to_vec());
        self.talk();
        Step {
            time_us: self.now_us,
            mode,
            action,
            counters: self.firmware.counters().clone(),
        }
    }

    /// Sends what the firmware has to say. As a UART does, it loses what nobody takes.
    fn talk(&mut self) {
        let mut bytes = [0; 256];
        loop {
            let count = self.firmware.transmit(&mut bytes);
            if count == 0 {
                return;
            }
            match self.line.write(&bytes[..count]) {
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
                    ) => {}
                Err(error) => panic!("the line is broken: {error}"),
            }
        }
    }
}
