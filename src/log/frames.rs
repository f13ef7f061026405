//! The outer structure of an MCAP file: magic bytes, then records of kind, length and body.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use mcap::MAGIC;

use super::{Damage, LogError, run};

/// Kind (1 byte) and length of the body (8 bytes).
const PREFIX: usize = 9;

/// Walks the records of a file. Lengths are never believed beyond the end of the file.
#[derive(Debug)]
pub(super) struct Frames {
    path: PathBuf,
    file: BufReader<File>,
    length: u64,
    /// Whether the file ends as a closed file does.
    closed: bool,
    /// Offset of the next record.
    next: u64,
    /// The current record, from its kind to its last byte.
    record: Vec<u8>,
}

impl Frames {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let read = |cause| LogError::Read {
            path: path.to_owned(),
            cause,
        };
        let mut file = BufReader::new(File::open(path).map_err(read)?);
        let length = file.seek(SeekFrom::End(0)).map_err(read)?;
        let closed = length >= 2 * MAGIC.len() as u64 && {
            file.seek(SeekFrom::End(-(MAGIC.len() as i64)))
                .map_err(read)?;
            take(&mut file, MAGIC.len()).map_err(read)? == MAGIC
        };
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        let start = take(&mut file, MAGIC.len().min(length as usize)).map_err(read)?;
        if !MAGIC.starts_with(&start) {
            return Err(LogError::NotMcap {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
            closed,
            next: start.len() as u64,
            record: Vec::new(),
        })
    }

    /// Reads the next record and returns its kind; `None` at the end of the file or where it was cut.
    ///
    /// # Errors
    /// [`LogError::Read`]; [`Damage::Length`] in a closed file, behind which no further record can be found.
    pub(super) fn advance(&mut self) -> Result<Option<u8>, LogError> {
        let rest = self.length.saturating_sub(self.next);
        self.record.clear();
        if rest < PREFIX as u64 {
            return self.cut();
        }
        self.fill(PREFIX)?;
        let length = Fields(&self.record[1..]).u64().unwrap_or(u64::MAX);
        if length > rest - PREFIX as u64 {
            return self.cut();
        }
        self.fill(length as usize)?;
        self.next += self.record.len() as u64;
        Ok(Some(self.record[0]))
    }

    /// Reads the next record, which must be of the given kind: the header of a log has a fixed order.
    pub(super) fn expect(&mut self, kind: u8) -> Result<Fields<'_>, LogError> {
        match self.advance()? {
            Some(found) if found == kind => Ok(self.body()),
            Some(_) => Err(self.damaged(Damage::Record)),
            None => Err(LogError::NoHeader {
                path: self.path.clone(),
                at: self.length,
            }),
        }
    }

    /// The current record with its kind and length.
    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }

    /// The current record without its kind and length.
    pub(super) fn body(&self) -> Fields<'_> {
        Fields(self.record.get(PREFIX..).unwrap_or_default())
    }

    /// Offset of the end of the current record.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// An error for the current record.
    pub(super) fn damaged(&self, what: Damage) -> LogError {
        LogError::Damaged {
            path: self.path.clone(),
            at: self.next - self.record.len() as u64,
            what,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn cut(&mut self) -> Result<Option<u8>, LogError> {
        self.record.clear();
        if self.closed {
            Err(self.damaged(Damage::Length))
        } else {
            Ok(None)
        }
    }

    fn fill(&mut self, bytes: usize) -> Result<(), LogError> {
        let end = self.record.len() + bytes;
        self.record.resize(end, 0);
        self.file
            .read_exact(&mut self.record[end - bytes..])
            .map_err(|cause| LogError::Read {
                path: self.path.clone(),
                cause,
            })
    }
}

fn take(file: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    file.read_exact(&mut buffer)?;
    Ok(buffer)
}

/// The fields of a record's body, front to back; `None` where the body ends too early.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    pub(super) fn string(&mut self) -> Option<&'a str> {
        let length = self.u32()?;
        str::from_utf8(self.bytes(length.into())?).ok()
    }

    /// The data of an attachment that has this name.
    pub(super) fn attachment(mut self, name: &str) -> Option<&'a [u8]> {
        let (_log_time, _create_time) = (self.u64()?, self.u64()?);
        let found = self.string()?;
        let _media_type = self.string()?;
        let length = self.u64()?;
        let data = self.bytes(length)?;
        (found == name).then_some(data)
    }

    /// The pairs of a metadata record that has this name and matches its own hash.
    pub(super) fn metadata(mut self, name: &str) -> Option<BTreeMap<String, String>> {
        let found = self.string()?;
        let length = self.u32()?;
        let mut map = Fields(self.bytes(length.into())?);
        let mut pairs = BTreeMap::new();
        while !map.is_empty() {
            pairs.insert(map.string()?.to_owned(), map.string()?.to_owned());
        }
        (found == name).then(|| run::unseal(pairs)).flatten()
    }
}
