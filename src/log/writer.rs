//! From the control loop to the disk, without ever making the loop wait for the disk.
//!
//! The loop encodes a record into one of a fixed set of buffers and hands it to the log's thread, which writes it and returns
//! the buffer. No free buffer means that the disk is behind: the record is dropped and counted, or, in lock-step, waited for.
//! A chunk is closed and synced at least once a second of the caller's time, so that a kill loses at most that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use prost::Message;

use super::run::Run;
use super::schema::{Event, Plan, Tick};
use super::sink::{Entry, Shared, Sink};
use super::{LogError, Topic, io_error};

/// Records that can wait for the disk: ten seconds at 100 Hz.
const QUEUE: usize = 1024;
/// First size of a record's buffer, bytes; it grows once if the robot needs more.
const BUFFER: usize = 2048;
/// What to do with a record when the disk is behind by the whole queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Drop the record and count it: for a loop in real time.
    Drop,
    /// Wait for the disk: for lock-step, where nothing may be lost and nothing is late.
    Block,
}

/// What a finished log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSummary {
    /// Records on `/tick`.
    pub ticks: u64,
    /// Records on `/plan`.
    pub plans: u64,
    /// Records on `/event`.
    pub events: u64,
    /// Records dropped because the disk was behind.
    pub dropped: u64,
}

impl LogSummary {
    /// The pairs of the metadata record `end`.
    pub(super) fn to_metadata(self) -> BTreeMap<String, String> {
        let Self {
            ticks,
            plans,
            events,
            dropped,
        } = self;
        let counts = [
            ("ticks", ticks),
            ("plans", plans),
            ("events", events),
            ("dropped", dropped),
        ];
        counts
            .map(|(name, count)| (name.to_owned(), count.to_string()))
            .into()
    }

    /// The summary that [`to_metadata`](Self::to_metadata) described; `None` if a pair is missing.
    pub(super) fn from_metadata(pairs: &BTreeMap<String, String>) -> Option<Self> {
        let count = |name: &str| pairs.get(name)?.parse().ok();
        Some(Self {
            ticks: count("ticks")?,
            plans: count("plans")?,
            events: count("events")?,
            dropped: count("dropped")?,
        })
    }
}

/// The writing side of a log. Dropping it closes the log; [`finish`](Self::finish) also says whether that went well.
#[derive(Debug)]
pub struct LogWriter {
    when_full: WhenFull,
    entries: Option<SyncSender<Entry>>,
    free: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<LogSummary>>,
    shared: Arc<Shared>,
    robot_time_us: u64,
}

impl LogWriter {
    /// Creates the log and writes the run's header.
    ///
    /// # Errors
    /// [`LogError::Create`] if the file exists already, cannot be made or cannot hold the header.
    pub fn create(path: &Path, run: &Run, when_full: WhenFull) -> Result<Self, LogError> {
        let create = |cause| LogError::Create {
            path: path.to_owned(),
            cause,
        };
        let file = File::create_new(path).map_err(create)?;
        Self::start(file, path, run, when_full).map_err(create)
    }

    fn start(file: File, path: &Path, run: &Run, when_full: WhenFull) -> Result<Self, io::Error> {
        let shared = Arc::new(Shared::new(path));
        let (entries, incoming) = sync_channel(QUEUE);
        let (recycled, free) = sync_channel(QUEUE);
        for _ in 0..QUEUE {
            recycled
                .try_send(Vec::with_capacity(BUFFER))
                .map_err(io::Error::other)?;
        }
        let sink = Sink::create(file, run, shared.clone()).map_err(io_error)?;
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(move || sink.run(&incoming, &recycled))?;
        Ok(Self {
            when_full,
            entries: Some(entries),
            free,
            thread: Some(thread),
            shared,
            robot_time_us: 0,
        })
    }

    /// Logs a tick. `log_time_ns` is the time that viewers show: nanoseconds since 1970, or the robot's time in lock-step.
    pub fn tick(&mut self, tick: &Tick, log_time_ns: u64) {
        self.robot_time_us = tick.robot_time_us;
        self.send(Topic::Tick, tick.tick, log_time_ns, tick);
    }

    /// Logs a plan; time as in [`tick`](Self::tick).
    pub fn plan(&mut self, plan: &Plan, log_time_ns: u64) {
        self.send(Topic::Plan, plan.tick, log_time_ns, plan);
    }

    /// Logs an event; time as in [`tick`](Self::tick).
    pub fn event(&mut self, event: &Event, log_time_ns: u64) {
        self.robot_time_us = event.robot_time_us;
        self.send(Topic::Event, event.tick, log_time_ns, event);
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// The failure that ended the log while the run goes on, if there was one.
    pub fn failure(&self) -> Option<&LogError> {
        self.shared.failure()
    }

    /// Writes everything that waits, closes the log and says what it holds.
    ///
    /// # Errors
    /// [`LogError::Write`] with the first write that failed.
    pub fn finish(mut self) -> Result<LogSummary, LogError> {
        let summary = self.close();
        match Arc::get_mut(&mut self.shared).and_then(|shared| shared.take_failure()) {
            Some(failure) => Err(failure),
            None => Ok(summary),
        }
    }

    fn send(&mut self, topic: Topic, tick: u64, log_time_ns: u64, message: &impl Message) {
        let buffer = match self.when_full {
            WhenFull::Drop => self.free.try_recv().ok(),
            WhenFull::Block => self.free.recv().ok(),
        };
        let (Some(mut bytes), Some(entries)) = (buffer, &self.entries) else {
            self.shared.drop_one();
            return;
        };
        bytes.clear();
        bytes.reserve(message.encoded_len());
        message.encode_raw(&mut bytes);
        // There are as many buffers as places in the queue, so a buffer is a place: this never waits.
        let entry = Entry {
            topic,
            tick,
            robot_time_us: self.robot_time_us,
            log_time_ns,
            dropped: self.dropped(),
            bytes,
        };
        if entries.try_send(entry).is_err() {
            self.shared.drop_one();
        }
    }

    fn close(&mut self) -> LogSummary {
        self.entries = None;
        self.thread
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::log::schema::EventKind;
    use crate::log::{Ending, Log};

    fn tick(number: u64) -> Tick {
        Tick {
            tick: number,
            state: vec![0.5; 200],
            ..Tick::default()
        }
    }

    /// A disk that stands still never holds the loop; what it cost is counted, and stands in the log.
    #[test]
    fn drops_are_counted_and_reported_when_the_disk_stands_still() {
        let (mut disk, end) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(end));
        let mut log =
            LogWriter::start(file, Path::new("pipe"), &Run::default(), WhenFull::Drop).unwrap();
        let mut sent = 0;
        while log.dropped() < 10 {
            log.tick(&tick(sent), 0);
            sent += 1;
        }
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            disk.read_to_end(&mut bytes).map(|_| bytes)
        });
        // The disk runs again, so waiting for it ends.
        log.when_full = WhenFull::Block;
        log.tick(&tick(sent), 0);
        let summary = log.finish().unwrap();
        assert_eq!((summary.ticks, summary.dropped), (sent - 10 + 1, 10));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.mcap");
        std::fs::write(&path, reader.join().unwrap().unwrap()).unwrap();
        let read = Log::read(&path).unwrap();
        assert_eq!(read.ending, Ending::Closed(summary));
        assert!(read.damage.is_empty());
        assert_eq!(
            (read.events[0].kind(), read.events[0].tick),
            (EventKind::Log, sent)
        );
        assert_eq!(
            read.events[0].text,
            "10 records dropped: the disk was too slow"
        );
    }

    /// A disk that fails ends the log with the reason, not the loop, in either mode.
    #[test]
    fn a_failed_disk_ends_the_log_only() {
        for when_full in [WhenFull::Drop, WhenFull::Block] {
            let (disk, end) = io::pipe().unwrap();
            let file = File::from(OwnedFd::from(end));
            let mut log =
                LogWriter::start(file, Path::new("pipe"), &Run::default(), when_full).unwrap();
            drop(disk);
            for number in 0..3 * QUEUE as u64 {
                log.tick(&tick(number), number * 1_000_000_000);
            }
            let error = log.finish().unwrap_err();
            assert!(
                matches!(&error, LogError::Write { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe),
                "{error}"
            );
        }
    }

    #[test]
    fn a_log_that_cannot_be_made_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/run.mcap");
        let error = LogWriter::create(&missing, &Run::default(), WhenFull::Drop).unwrap_err();
        assert!(
            error.to_string().contains("missing/run.mcap: No such file"),
            "{error}"
        );

        let taken = folder.path().join("run.mcap");
        std::fs::write(&taken, "a run that nobody may lose").unwrap();
        let error = LogWriter::create(&taken, &Run::default(), WhenFull::Drop).unwrap_err();
        assert!(error.to_string().contains("File exists"), "{error}");

        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = LogWriter::start(
            full,
            Path::new("/dev/full"),
            &Run::default(),
            WhenFull::Drop,
        )
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
