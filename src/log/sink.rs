//! The log's thread: encoded records in, an MCAP file out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mcap::records::{MessageHeader, Metadata};
use mcap::write::NoSeek;
use mcap::{Attachment, Compression, WriteOptions};
use prost::Message;

use super::run::{self, Run};
use super::schema::{Event, EventKind, Severity};
use super::{DESCRIPTORS, LogError, LogSummary, PROFILE, Topic, io_error};

/// A chunk is closed when it reaches this size, bytes.
const CHUNK: u64 = 64 * 1024;
/// What a kill may lose, as time and as number of records.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const FLUSH_RECORDS: u32 = 128;

/// What both threads know.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    dropped: AtomicU64,
    failure: OnceLock<LogError>,
}

impl Shared {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            dropped: AtomicU64::new(0),
            failure: OnceLock::new(),
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn failure(&self) -> Option<&LogError> {
        self.failure.get()
    }

    pub(super) fn take_failure(&mut self) -> Option<LogError> {
        self.failure.take()
    }

    pub(super) fn drop_one(&self) {
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
pub(super) struct Entry {
    pub(super) topic: Topic,
    pub(super) tick: u64,
    pub(super) robot_time_us: u64,
    pub(super) log_time_ns: u64,
    /// Records dropped before this one, since the start.
    pub(super) dropped: u64,
    pub(super) bytes: Vec<u8>,
}

/// The log's thread: the file and what is in it.
pub(super) struct Sink {
    mcap: mcap::Writer<NoSeek<BufWriter<File>>>,
    disk: File,
    shared: Arc<Shared>,
    written: LogSummary,
    unflushed: u32,
    flushed_ns: u64,
}

impl Sink {
    pub(super) fn create(
        file: File,
        run: &Run,
        shared: Arc<Shared>,
    ) -> Result<Self, mcap::McapError> {
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
    pub(super) fn run(
        mut self,
        incoming: &Receiver<Entry>,
        recycled: &SyncSender<Vec<u8>>,
    ) -> LogSummary {
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
        self.written.dropped = self.shared.dropped();
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
