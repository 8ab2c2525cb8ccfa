//! The bytes of file headers and batches, which log files and manifests consist of. docs/STORAGE.md draws them.

/// Batches begin at multiples of this, so that a search for them has few places to look at.
pub(super) const ALIGNMENT: usize = 8;
/// Bytes before the records of a batch.
pub(super) const HEADER: usize = 32;
/// Bytes of a file's header.
pub(super) const FILE_HEADER: usize = 40;

const MAGIC: [u8; 4] = *b"LVB1";
const CHECKSUM: std::ops::Range<usize> = 28..32;
const VERSION: u32 = 1;

/// What kind of file a header is for: the last byte of its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log = b'L' as isize,
    Segment = b'S' as isize,
    Manifest = b'M' as isize,
}

/// The header of a file. `previous` is of log files: which one came before, and where its valid contents end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) previous: (u64, u64),
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    Damaged,
    OtherVersion,
}

impl FileHeader {
    pub(super) fn new(kind: Kind, number: u64) -> Self {
        Self { kind, number, previous: (0, 0) }
    }

    pub(super) fn encode(self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        bytes[..7].copy_from_slice(b"leveret");
        bytes[7] = self.kind as u8;
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.1.to_le_bytes());
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8], kind: Kind, number: u64) -> Result<Self, NoHeader> {
        let bytes = bytes.first_chunk::<FILE_HEADER>().ok_or(NoHeader::Damaged)?;
        if u32_at(bytes, 12) != header_checksum(bytes) || &bytes[..7] != b"leveret" || bytes[7] != kind as u8 {
            return Err(NoHeader::Damaged);
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(NoHeader::OtherVersion);
        }
        if u64_at(bytes, 16) != number {
            return Err(NoHeader::Damaged);
        }
        Ok(Self { kind, number, previous: (u64_at(bytes, 24), u64_at(bytes, 32)) })
    }
}

/// Of everything but the checksum itself.
fn header_checksum(bytes: &[u8; FILE_HEADER]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// A batch in the bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub(super) sequence: u64,
    /// Everything up to this sequence was known to be on the disk when the batch was written.
    pub(super) synced: u64,
    pub(super) vhost: u32,
    pub(super) records: &'a [u8],
    /// Where the next batch begins.
    pub(super) end: usize,
}

/// What a batch is put into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) file: u64,
    pub(super) sequence: u64,
    pub(super) synced: u64,
}

/// Bytes that a batch takes.
pub(super) fn size(records: usize) -> usize {
    (HEADER + records).next_multiple_of(ALIGNMENT)
}

pub(super) fn append(out: &mut Vec<u8>, place: Place, vhost: u32, records: &[u8]) {
    let length = u32::try_from(records.len()).expect("a batch has less than 4 GiB");
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&place.sequence.to_le_bytes());
    out.extend_from_slice(&place.synced.to_le_bytes());
    out.extend_from_slice(&vhost.to_le_bytes());
    let checksum = checksum(&out[start..], records, place.file);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(records);
    out.resize(start + size(records.len()), 0);
}

/// The number of the file goes in, so that what a recycled file held before is not taken for its contents.
fn checksum(head: &[u8], records: &[u8], file: u64) -> u32 {
    let sum = crc32c::crc32c(&file.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &head[..CHECKSUM.start]), records)
}

/// The batch at `at`, if there is one.
pub(super) fn parse(bytes: &[u8], at: usize, file: u64) -> Option<Batch<'_>> {
    let found = skim(bytes, at)?;
    let head = &bytes[at..at + HEADER];
    (u32_at(head, CHECKSUM.start) == checksum(head, found.records, file)).then_some(found)
}

/// The same for bytes that are known to be right.
pub(super) fn skim(bytes: &[u8], at: usize) -> Option<Batch<'_>> {
    let rest = bytes.get(at..)?;
    if rest.len() < HEADER || rest[..4] != MAGIC {
        return None;
    }
    let length = u32_at(rest, 4) as usize;
    let records = rest.get(HEADER..HEADER.checked_add(length)?)?;
    Some(Batch {
        sequence: u64_at(rest, 8),
        synced: u64_at(rest, 16),
        vhost: u32_at(rest, 24),
        records,
        end: at.checked_add(size(length))?,
    })
}

/// How many bytes a batch takes whose header these bytes begin with; `None` when they do not look like one.
pub(super) fn announced(bytes: &[u8]) -> Option<usize> {
    (bytes.len() >= HEADER && bytes[..4] == MAGIC).then(|| size(u32_at(bytes, 4) as usize))
}

/// All valid batches from `at` on, wherever they begin.
pub(super) fn search(bytes: &[u8], at: usize, file: u64) -> impl Iterator<Item = (usize, Batch<'_>)> {
    (at.next_multiple_of(ALIGNMENT)..bytes.len()).step_by(ALIGNMENT).filter_map(move |at| Some((at, parse(bytes, at, file)?)))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
