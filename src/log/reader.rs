//! Back from the disk: complete logs, logs cut by a kill or a power loss, and damaged ones.
//!
//! A log is walked record by record. A chunk is checked whole before any of its messages is believed, and every message has its
//! number in its channel, so that nothing wrong and nothing missing goes unnoticed. After damage the reader goes on where it can.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use mcap::records::{Record as McapRecord, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};
use prost::Message;

use super::frames::Frames;
use super::run::Run;
use super::schema::{Event, Plan, Tick};
use super::{Damage, LogError, LogSummary, PROFILE, Topic};

/// No chunk of ours holds more than this, bytes: the limit for memory that a damaged length can ask for.
const CHUNK_LIMIT: usize = 16 << 20;

/// One message of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// From `/tick`.
    Tick(Box<Tick>),
    /// From `/plan`.
    Plan(Plan),
    /// From `/event`.
    Event(Event),
}

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Closed by its writer, which counted this.
    Closed(LogSummary),
    /// Cut: the last whole record ends at this byte.
    Cut {
        /// Offset in the file.
        at: u64,
    },
}

/// A whole log in memory.
#[derive(Debug)]
pub struct Log {
    /// The header.
    pub run: Run,
    /// `/tick`, in order.
    pub ticks: Vec<Tick>,
    /// `/plan`, in order.
    pub plans: Vec<Plan>,
    /// `/event`, in order.
    pub events: Vec<Event>,
    /// How the log ends.
    pub ending: Ending,
    /// What is wrong with it, each an error of [`LogReader`]; empty for a sound log, also for a cut one.
    pub damage: Vec<LogError>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// As [`LogReader::open`], and [`LogError::Read`] if the disk fails. Damage behind the header is no error here.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let mut reader = LogReader::open(path)?;
        let (mut ticks, mut plans, mut events, mut damage) = (vec![], vec![], vec![], vec![]);
        for record in reader.by_ref() {
            match record {
                Ok(Record::Tick(tick)) => ticks.push(*tick),
                Ok(Record::Plan(plan)) => plans.push(plan),
                Ok(Record::Event(event)) => events.push(event),
                Err(error @ LogError::Damaged { .. }) => damage.push(error),
                Err(error) => return Err(error),
            }
        }
        let ending = reader.ending();
        Ok(Self {
            run: reader.run,
            ticks,
            plans,
            events,
            ending,
            damage,
        })
    }
}

/// Reads a log from its start, message by message.
///
/// The iterator ends at the end of the log or at the cut. It yields [`LogError::Damaged`] for each damaged part and goes on behind
/// it where the file's structure allows.
#[derive(Debug)]
pub struct LogReader {
    frames: Frames,
    run: Run,
    messages: Messages,
    pending: VecDeque<Result<Record, LogError>>,
    closed: Option<LogSummary>,
    done: bool,
}

impl LogReader {
    /// Opens a log and reads its header.
    ///
    /// # Errors
    /// [`LogError::Read`], [`LogError::NotMcap`], [`LogError::NotSurefoot`], [`LogError::NoHeader`] or [`LogError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let mut frames = Frames::open(path)?;
        let profile = frames.expect(op::HEADER)?.string();
        if profile != Some(PROFILE) {
            let found = format!(
                "its profile is {:?} instead of {PROFILE:?}",
                profile.unwrap_or_default()
            );
            return Err(LogError::NotSurefoot {
                path: path.to_owned(),
                found,
            });
        }
        let pairs = frames
            .expect(op::METADATA)?
            .metadata("run")
            .ok_or_else(|| frames.damaged(Damage::Metadata))?;
        let toml = frames.expect(op::ATTACHMENT)?.attachment("robot.toml");
        let toml = toml.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        let toml = toml.ok_or_else(|| frames.damaged(Damage::Attachment))?;
        let model = frames
            .expect(op::ATTACHMENT)?
            .attachment("model.onnx")
            .map(<[u8]>::to_vec);
        let run = model.and_then(|model| Run::from_metadata(&pairs, toml, model));
        let run = run.ok_or_else(|| frames.damaged(Damage::Attachment))?;
        Ok(Self {
            frames,
            run,
            messages: Messages::default(),
            pending: VecDeque::new(),
            closed: None,
            done: false,
        })
    }

    /// The header.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// How the log ends, as far as the iterator has come.
    pub fn ending(&self) -> Ending {
        self.closed.map_or(
            Ending::Cut {
                at: self.frames.position(),
            },
            Ending::Closed,
        )
    }

    /// Reads one record of the file and queues the messages and the damage that it holds.
    fn step(&mut self) -> Result<(), LogError> {
        let kind = match self.frames.advance() {
            Ok(Some(kind)) => kind,
            end => {
                self.done = true;
                return end.map(drop);
            }
        };
        match kind {
            op::CHUNK => match self.messages.unpack(&self.frames) {
                Ok(records) => self.pending.extend(records),
                Err(error) => {
                    self.messages.forget_numbers();
                    return Err(error);
                }
            },
            // Only viewers need the index, but it must be one and not a chunk whose kind was damaged.
            op::MESSAGE_INDEX if is_message_index(&self.frames) => {}
            // The last record of ours; what follows repeats what came before, for viewers.
            op::METADATA => {
                self.done = true;
                let counts = self
                    .frames
                    .body()
                    .metadata("end")
                    .and_then(|pairs| LogSummary::from_metadata(&pairs));
                let counts = counts.ok_or_else(|| self.frames.damaged(Damage::Metadata))?;
                self.closed = Some(counts);
                if !self.messages.complete(&counts) {
                    return Err(self.frames.damaged(Damage::Missing));
                }
            }
            other => {
                self.done = other == op::DATA_END;
                self.messages.forget_numbers();
                return Err(self.frames.damaged(Damage::Record));
            }
        }
        Ok(())
    }
}

impl Iterator for LogReader {
    type Item = Result<Record, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.pending.is_empty() && !self.done {
            if let Err(error) = self.step() {
                return Some(Err(error));
            }
        }
        self.pending.pop_front()
    }
}

/// From chunks to messages, and whether all of them are there.
#[derive(Debug)]
struct Messages {
    /// Channels by their number in the file; other programs' channels are none of ours.
    channels: BTreeMap<u16, Option<Topic>>,
    schemas: BTreeMap<u16, String>,
    /// The number that the next message of each topic must have; unknown behind damage.
    expected: [Option<u32>; 3],
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            channels: BTreeMap::new(),
            schemas: BTreeMap::new(),
            expected: [Some(0); 3],
        }
    }
}

impl Messages {
    /// The messages of the current chunk, none before the whole chunk matches its checksum.
    fn unpack(&mut self, frames: &Frames) -> Result<Vec<Result<Record, LogError>>, LogError> {
        let damaged = |_| frames.damaged(Damage::Chunk);
        if !has_checksum(frames) {
            return Err(frames.damaged(Damage::Chunk));
        }
        let options = LinearReaderOptions::default()
            .with_skip_start_magic(true)
            .with_skip_end_magic(true)
            .with_prevalidate_chunk_crcs(true)
            .with_record_length_limit(CHUNK_LIMIT);
        let mut reader = LinearReader::new_with_options(options);
        let mut input = frames.record();
        let mut records = Vec::new();
        while let Some(event) = reader.next_event() {
            match event.map_err(damaged)? {
                LinearReadEvent::ReadRequest(wanted) => {
                    let (bytes, rest) = input.split_at(wanted.min(input.len()));
                    reader.insert(bytes.len()).copy_from_slice(bytes);
                    reader.notify_read(bytes.len());
                    input = rest;
                }
                LinearReadEvent::Record {
                    data,
                    opcode: kind @ (op::SCHEMA | op::CHANNEL | op::MESSAGE),
                } => {
                    self.take(
                        mcap::parse_record(kind, data).map_err(damaged)?,
                        frames,
                        &mut records,
                    )?;
                }
                // The format allows nothing else in a chunk, and its parser does not withstand everything else.
                LinearReadEvent::Record { .. } => return Err(frames.damaged(Damage::Record)),
            }
        }
        Ok(records)
    }

    fn take(
        &mut self,
        record: McapRecord<'_>,
        frames: &Frames,
        records: &mut Vec<Result<Record, LogError>>,
    ) -> Result<(), LogError> {
        match record {
            McapRecord::Schema { header, .. } => {
                self.schemas.insert(header.id, header.name);
            }
            McapRecord::Channel(channel) => {
                let topic = Topic::ALL
                    .into_iter()
                    .find(|topic| topic.name() == channel.topic);
                let schema = self
                    .schemas
                    .get(&channel.schema_id)
                    .map_or("", String::as_str);
                if topic.is_some_and(|topic| {
                    topic.message() != schema || channel.message_encoding != "protobuf"
                }) {
                    let found = format!(
                        "channel {} holds {schema:?} as {:?}",
                        channel.topic, channel.message_encoding
                    );
                    return Err(LogError::NotSurefoot {
                        path: frames.path().to_owned(),
                        found,
                    });
                }
                self.channels.insert(channel.id, topic);
            }
            McapRecord::Message { header, data } => {
                let topic = *self
                    .channels
                    .get(&header.channel_id)
                    .ok_or_else(|| frames.damaged(Damage::Missing))?;
                let Some(topic) = topic else { return Ok(()) };
                let expected =
                    self.expected[topic as usize].replace(header.sequence.wrapping_add(1));
                if expected.is_some_and(|expected| expected != header.sequence) {
                    records.push(Err(frames.damaged(Damage::Missing)));
                }
                let record = match topic {
                    Topic::Tick => Tick::decode(&*data).map(|tick| Record::Tick(Box::new(tick))),
                    Topic::Plan => Plan::decode(&*data).map(Record::Plan),
                    Topic::Event => Event::decode(&*data).map(Record::Event),
                };
                records.push(Ok(record.map_err(|_| frames.damaged(Damage::Chunk))?));
            }
            _ => {}
        }
        Ok(())
    }

    /// Behind damage any number may come next: what is missing was reported as that damage.
    fn forget_numbers(&mut self) {
        self.expected = [None; 3];
    }

    /// Whether the last message of each topic was the last one written.
    fn complete(&self, written: &LogSummary) -> bool {
        let counts = [written.ticks, written.plans, written.events];
        self.expected
            .iter()
            .zip(counts)
            .all(|(expected, count)| expected.is_none_or(|expected| expected == count as u32))
    }
}

/// MCAP takes a checksum of zero for none; our chunks always have one.
fn has_checksum(chunk: &Frames) -> bool {
    let mut body = chunk.body();
    let (start, end, size) = (body.u64(), body.u64(), body.u64());
    start
        .and(end)
        .and(size)
        .and(body.u32())
        .is_some_and(|checksum| checksum != 0)
}

fn is_message_index(frames: &Frames) -> bool {
    let mut body = frames.body();
    let Some(length) = body.bytes(2).and_then(|_channel| body.u32()) else {
        return false;
    };
    body.bytes(length.into()).is_some() && body.is_empty()
}
