//! From the control loop to the disk, without ever making the loop wait for the disk.
//!
//! The loop encodes a record into one of a fixed set of buffers and hands it to the log's thread, which writes it and returns
//! the buffer. No free buffer means that the disk is behind: the record is dropped and counted, or, in lock-step, waited for.
//! A chunk is closed and synced at least once a second of the caller's time, so that a kill loses at most that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mcap::records::{MessageHeader, Metadata};
use mcap::write::NoSeek;
use mcap::{Attachment, Compression, WriteOptions};
use prost::Message;

use super::run::{self, Run};
use super::schema::{Event, EventKind, Plan, Severity, Tick};
use super::{DESCRIPTORS, LogError, PROFILE, Topic, io_error};

/// Records that can wait for the disk: ten seconds at 100 Hz.
const QUEUE: usize = 1024;
/// First size of a record's buffer, bytes; it grows once if the robot needs more.
const BUFFER: usize = 2048;
/// A chunk is closed when it reaches this size, bytes.
const CHUNK: u64 = 64 * 1024;
/// What a kill may lose, as time and as number of records.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const FLUSH_RECORDS: u32 = 128;

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

/// What both threads know.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    dropped: AtomicU64,
    failure: OnceLock<LogError>,
}

impl Shared {
    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn fail(&self, cause: mcap::McapError) {
        // Only the first failure tells why.
        let _ = self.failure.set(LogError::Write {
            path: self.path.clone(),
            cause: io_error(cause),
        });
    }
}

/// One encoded record on its way to the disk.
struct Entry {
    topic: Topic,
    tick: u64,
    robot_time_us: u64,
    log_time_ns: u64,
    /// Records dropped before this one, since the start.
    dropped: u64,
    bytes: Vec<u8>,
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
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            dropped: AtomicU64::new(0),
            failure: OnceLock::new(),
        });
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
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// The failure that ended the log while the run goes on, if there was one.
    pub fn failure(&self) -> Option<&LogError> {
        self.shared.failure.get()
    }

    /// Writes everything that waits, closes the log and says what it holds.
    ///
    /// # Errors
    /// [`LogError::Write`] with the first write that failed.
    pub fn finish(mut self) -> Result<LogSummary, LogError> {
        let summary = self.close();
        match Arc::get_mut(&mut self.shared).and_then(|shared| shared.failure.take()) {
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

/// The log's thread: the file and what is in it.
struct Sink {
    mcap: mcap::Writer<NoSeek<BufWriter<File>>>,
    disk: File,
    shared: Arc<Shared>,
    written: LogSummary,
    unflushed: u32,
    flushed_ns: u64,
}

impl Sink {
    fn create(file: File, run: &Run, shared: Arc<Shared>) -> Result<Self, mcap::McapError> {
        let disk = file.try_clone()?;
        let mut mcap = WriteOptions::new()
            .profile(PROFILE)
            .library(concat!("surefoot ", env!("CARGO_PKG_VERSION")))
            .compression(Some(Compression::Lz4))
            .chunk_size(Some(CHUNK))
            // A chunk reaches the file whole or not at all.
            .disable_seeking(true)
            .create(NoSeek::new(BufWriter::with_capacity(
                2 * CHUNK as usize,
                file,
            )))?;
        mcap.write_metadata(&Metadata {
            name: "run".into(),
            metadata: run::seal(run.to_metadata()),
        })?;
        for (name, media_type, data) in [
            ("robot.toml", "application/toml", run.robot_toml.as_bytes()),
            ("model.onnx", "application/onnx", run.model.as_slice()),
        ] {
            mcap.attach(&Attachment {
                log_time: run.started_unix_ns,
                create_time: run.started_unix_ns,
                name: name.into(),
                media_type: media_type.into(),
                data: data.into(),
            })?;
        }
        for (topic, id) in Topic::ALL.into_iter().zip(1..) {
            let schema = mcap.add_schema(topic.message(), "protobuf", DESCRIPTORS)?;
            mcap.add_channel_with_id(id, schema, topic.name(), "protobuf", &BTreeMap::new())?;
        }
        let mut sink = Self {
            mcap,
            disk,
            shared,
            written: LogSummary::default(),
            unflushed: 0,
            flushed_ns: 0,
        };
        sink.flush()?;
        Ok(sink)
    }

    /// Writes until the loop lets go of the log. After a failure it only gives buffers back, so that nobody waits for it.
    fn run(mut self, incoming: &Receiver<Entry>, recycled: &SyncSender<Vec<u8>>) -> LogSummary {
        let shared = self.shared.clone();
        loop {
            let healthy = shared.failure.get().is_none();
            let result = match incoming.recv_timeout(FLUSH_INTERVAL) {
                Ok(entry) => {
                    let result = if healthy {
                        self.record(&entry)
                    } else {
                        shared.drop_one();
                        Ok(())
                    };
                    // The loop may be gone already; then nobody needs the buffer.
                    let _ = recycled.try_send(entry.bytes);
                    result
                }
                Err(RecvTimeoutError::Timeout) if healthy && self.unflushed > 0 => self.flush(),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            result.unwrap_or_else(|cause| shared.fail(cause));
        }
        let written = self.written;
        if shared.failure.get().is_none() {
            return self.finish().unwrap_or_else(|cause| {
                shared.fail(cause);
                written
            });
        }
        written
    }

    fn record(&mut self, entry: &Entry) -> Result<(), mcap::McapError> {
        self.report_drops(entry)?;
        self.write(entry.topic, entry.log_time_ns, &entry.bytes)?;
        self.unflushed += 1;
        let due = entry.log_time_ns.abs_diff(self.flushed_ns) >= FLUSH_INTERVAL.as_nanos() as u64;
        if due || self.unflushed >= FLUSH_RECORDS {
            self.flush()?;
            self.flushed_ns = entry.log_time_ns;
        }
        Ok(())
    }

    /// Says in the log itself, before the first record after a gap, how many are missing.
    fn report_drops(&mut self, next: &Entry) -> Result<(), mcap::McapError> {
        let new = next.dropped - self.written.dropped;
        if new == 0 {
            return Ok(());
        }
        self.written.dropped = next.dropped;
        let event = Event {
            tick: next.tick,
            robot_time_us: next.robot_time_us,
            severity: Severity::Warning.into(),
            kind: EventKind::Log.into(),
            text: format!("{new} records dropped: the disk was too slow"),
        };
        self.write(Topic::Event, next.log_time_ns, &event.encode_to_vec())
    }

    fn write(
        &mut self,
        topic: Topic,
        log_time_ns: u64,
        bytes: &[u8],
    ) -> Result<(), mcap::McapError> {
        let count = match topic {
            Topic::Tick => &mut self.written.ticks,
            Topic::Plan => &mut self.written.plans,
            Topic::Event => &mut self.written.events,
        };
        let header = MessageHeader {
            channel_id: topic as u16 + 1,
            // Without gaps, whatever was dropped: the reader takes a gap for damage.
            sequence: *count as u32,
            log_time: log_time_ns,
            publish_time: log_time_ns,
        };
        *count += 1;
        self.mcap.write_to_known_channel(&header, bytes)
    }

    fn flush(&mut self) -> Result<(), mcap::McapError> {
        self.mcap.flush()?;
        self.unflushed = 0;
        Ok(sync(&self.disk)?)
    }

    /// Closes the file: the counts, the index, and all of it on the disk.
    fn finish(mut self) -> Result<LogSummary, mcap::McapError> {
        self.written.dropped = self.shared.dropped.load(Ordering::Relaxed);
        self.mcap.write_metadata(&Metadata {
            name: "end".into(),
            metadata: run::seal(self.written.to_metadata()),
        })?;
        self.mcap.finish()?;
        self.mcap.into_inner().into_inner().flush()?;
        sync(&self.disk)?;
        Ok(self.written)
    }
}

fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        // A pipe has no disk behind it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;
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
