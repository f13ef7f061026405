//! What a run leaves behind: one MCAP file from which the run can be understood and replayed.
//!
//! - [`schema`]: the messages, generated from `surefoot.proto`.
//! - [`run`]: the header of a log: what was run, with the robot's configuration and the model themselves.
//! - [`writer`]: from the control loop to the disk, over a bounded queue, on a thread of its own.
//! - [`reader`]: back again, from complete, cut and damaged files.
//!
//! A file holds the metadata record `run`, the attachments `robot.toml` and `model.onnx`, lz4 chunks of protobuf messages on
//! the channels of [`Topic`], and at the close the metadata record `end` with the counts. The format is
//! [MCAP](https://mcap.dev/spec), so that Foxglove, Lichtblick, PlotJuggler and Rerun open it as it is.

use std::io;
use std::path::PathBuf;

mod frames;
pub mod reader;
pub mod run;
/// The messages, generated from `surefoot.proto`.
#[allow(clippy::all, reason = "generated")]
pub mod schema;
mod sink;
pub mod writer;

pub use reader::{Ending, Log, LogReader, Record};
pub use run::Run;
pub use writer::{LogSummary, LogWriter, WhenFull};

/// The schemas of all messages as a serialized `google.protobuf.FileDescriptorSet`; every log carries it.
pub const DESCRIPTORS: &[u8] = include_bytes!("surefoot.fds");

/// Profile in the MCAP header, which tells our logs from others.
const PROFILE: &str = "surefoot";

/// The channels of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// `/tick`: [`schema::Tick`], every control tick.
    Tick,
    /// `/plan`: [`schema::Plan`], at a lower rate.
    Plan,
    /// `/event`: [`schema::Event`].
    Event,
}

impl Topic {
    /// All channels, in the order of their numbers in the file.
    pub const ALL: [Topic; 3] = [Topic::Tick, Topic::Plan, Topic::Event];

    /// Name of the channel.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Tick => "/tick",
            Topic::Plan => "/plan",
            Topic::Event => "/event",
        }
    }

    /// Full name of the channel's protobuf message.
    pub fn message(self) -> &'static str {
        match self {
            Topic::Tick => "surefoot.Tick",
            Topic::Plan => "surefoot.Plan",
            Topic::Event => "surefoot.Event",
        }
    }
}

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file could not be made.
    #[error(
        "cannot create the log {path}: {cause}; choose a new name in a folder that exists and can be written"
    )]
    Create {
        /// The log.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A write failed; what was written before it is readable.
    #[error(
        "cannot write the log {path}: {cause}; records from here on are lost, the run is not affected"
    )]
    Write {
        /// The log.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file could not be opened or read.
    #[error("cannot read the log {path}: {cause}")]
    Read {
        /// The log.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is something else.
    #[error("{path} is not an MCAP file; Surefoot's logs end in .mcap")]
    NotMcap {
        /// The file.
        path: PathBuf,
    },
    /// The file is an MCAP file that something else wrote, or an incompatible version of Surefoot.
    #[error("{path} is an MCAP file, but not one of Surefoot's: {found}")]
    NotSurefoot {
        /// The file.
        path: PathBuf,
        /// What stands in the place of our own.
        found: String,
    },
    /// The file ends before the run's header does, so there is nothing in it to read.
    #[error("the log {path} was cut at byte {at}, inside its header: nothing can be read from it")]
    NoHeader {
        /// The log.
        path: PathBuf,
        /// Where the file ends.
        at: u64,
    },
    /// Bytes are not what was written. Records before and, where the reader goes on, after the place are sound.
    #[error(
        "the log {path} is damaged at byte {at}: {what}; use another copy, or only the records around it"
    )]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Offset of the damaged record in the file.
        at: u64,
        /// Which check failed.
        what: Damage,
    },
}

/// The check that a damaged part of a log failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A record of a kind that Surefoot does not write there.
    #[error("unknown record")]
    Record,
    /// A record's length reaches beyond the end of a file that was closed properly.
    #[error("a record's length is wrong")]
    Length,
    /// A metadata record does not parse or match its own hash.
    #[error("the metadata does not match its hash")]
    Metadata,
    /// An attachment does not match the hash in the header.
    #[error("an attachment does not match its hash")]
    Attachment,
    /// A chunk does not decompress or match its CRC.
    #[error("a chunk does not match its checksum")]
    Chunk,
    /// Messages are missing between two that are there, or before the end.
    #[error("messages are missing")]
    Missing,
}

/// What went wrong below the format, without the format's wrapping.
fn io_error(error: mcap::McapError) -> io::Error {
    match error {
        mcap::McapError::Io(cause) => cause,
        other => io::Error::other(other),
    }
}
