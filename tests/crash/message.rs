//! Messages whose every byte follows from who published them and when, so that whoever receives one can judge it.

use crate::wire::Fields;

/// Who published it, and as the how-manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) publisher: u32,
    pub(crate) seq: u32,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "message {} of publisher {}", self.seq, self.publisher)
    }
}

/// Property flags: headers, delivery-mode, priority, correlation-id.
const FLAGS: u16 = 1 << 13 | 1 << 12 | 1 << 11 | 1 << 10;

impl Id {
    fn hash(self) -> u64 {
        let mut z = u64::from(self.publisher) << 32 | u64::from(self.seq);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Mostly small, often around 1 KiB, now and then up to 1 MiB.
    fn size(self) -> usize {
        let hash = self.hash();
        let most = match hash % 512 {
            0 => 1024 * 1024,
            1..=3 => 64 * 1024,
            4..=200 => 2048,
            _ => 200,
        };
        16 + usize::try_from((hash >> 16) % most).expect("at most a megabyte")
    }

    pub(crate) fn body(self) -> Vec<u8> {
        let mut body = vec![self.hash().to_le_bytes()[7]; self.size()];
        body[..4].copy_from_slice(&self.publisher.to_be_bytes());
        body[4..8].copy_from_slice(&self.seq.to_be_bytes());
        body[8..16].copy_from_slice(&self.hash().to_be_bytes());
        body
    }

    /// Whose body this is; an error when it is nobody's.
    pub(crate) fn of(body: &[u8]) -> Result<Self, String> {
        let number = |at: usize| body.get(at..at + 4).map(|bytes| u32::from_be_bytes(*bytes.first_chunk().expect("four bytes")));
        let (Some(publisher), Some(seq)) = (number(0), number(4)) else {
            return Err(format!("a body of {} bytes that nobody published", body.len()));
        };
        let id = Self { publisher, seq };
        if id.body() == body { Ok(id) } else { Err(format!("{id} has another body than it was published with")) }
    }

    pub(crate) fn priority(self) -> u8 {
        u8::try_from(self.hash() >> 40 & 7).expect("at most 7").min(5)
    }

    /// Whether it may not survive a restart where that is up to the message.
    pub(crate) fn is_transient(self) -> bool {
        (self.hash() >> 50).is_multiple_of(16)
    }

    /// Milliseconds for an exchange that delays.
    fn delay(self) -> u32 {
        u32::try_from((self.hash() >> 44) % 300).expect("below 300")
    }

    /// Flags and values as on the wire.
    pub(crate) fn properties(self, transient: bool) -> Vec<u8> {
        let entries = Fields::new().text("n").byte(b'I').long(self.seq).text("x-delay").byte(b'I').long(self.delay());
        let fields = Fields::new().short(FLAGS).bytes(&entries.0).byte(if transient { 1 } else { 2 }).byte(self.priority());
        fields.text(&format!("{}-{}", self.publisher, self.seq)).0
    }
}
