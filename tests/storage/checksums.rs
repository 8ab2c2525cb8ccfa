//! Makes the checksums of changed files right again, so that what lies behind them is looked at.

const FILE_HEADER: usize = 40;
const BATCH_HEADER: usize = 32;

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// `log-0000000007` is number 7.
fn number(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The header of any file.
pub(crate) fn header(name: &str, bytes: &mut [u8]) {
    if bytes.len() < FILE_HEADER {
        return;
    }
    bytes[..7].copy_from_slice(b"leveret");
    bytes[7] = name.as_bytes()[0].to_ascii_uppercase();
    put(bytes, 8, 1);
    bytes[16..24].copy_from_slice(&number(name).to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..FILE_HEADER]);
    put(bytes, 12, sum);
}

/// Batches as far as their lengths lead from one to the next.
pub(crate) fn batches(name: &str, bytes: &mut [u8]) {
    let mut at = FILE_HEADER;
    while bytes.len() >= at + BATCH_HEADER && bytes[at..at + 4] == *b"LVB1" {
        let end = at + BATCH_HEADER + u32_at(bytes, at + 4);
        if end > bytes.len() {
            break;
        }
        let sum = crc32c::crc32c_append(crc32c::crc32c(&number(name).to_le_bytes()), &bytes[at..at + 28]);
        let sum = crc32c::crc32c_append(sum, &bytes[at + BATCH_HEADER..end]);
        put(bytes, at + 28, sum);
        at = end.next_multiple_of(8);
    }
}

/// Messages of a segment, likewise.
pub(crate) fn messages(bytes: &mut [u8]) {
    let mut at = FILE_HEADER;
    while bytes.len() >= at + 8 {
        let end = at + 8 + u32_at(bytes, at);
        if end > bytes.len() {
            break;
        }
        let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 4]), &bytes[at + 8..end]);
        put(bytes, at + 4, sum);
        at = end;
    }
}

/// Everything in a file that has a checksum.
pub(crate) fn all(name: &str, bytes: &mut [u8]) {
    header(name, bytes);
    if name.starts_with("segment-") { messages(bytes) } else { batches(name, bytes) }
}
