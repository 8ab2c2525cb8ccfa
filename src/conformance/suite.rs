//! The transcripts that are part of the binary. `build.rs` has packed them; it describes the form.

/// A file of scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The path below tests/broker/scenarios: `queue.txt`, `profile-4.3/semantics.txt`.
    pub name: String,
    pub text: String,
}

impl Transcript {
    /// Those of the binary, in the order in which they are played.
    #[must_use]
    pub fn embedded() -> Vec<Self> {
        let packed = include_bytes!(concat!(env!("OUT_DIR"), "/transcripts"));
        unpack(packed).and_then(|text| split(&text)).unwrap_or_default()
    }

    /// The folder, which is named for a release; empty if the transcript is for all of them.
    pub(crate) fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

fn split(text: &[u8]) -> Option<Vec<Transcript>> {
    let mut rest = std::str::from_utf8(text).ok()?;
    let mut transcripts = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('\n')?;
        let (length, after) = after.split_once('\n')?;
        let (text, after) = after.split_at_checked(length.parse().ok()?)?;
        transcripts.push(Transcript { name: name.to_owned(), text: text.to_owned() });
        rest = after;
    }
    Some(transcripts)
}

fn unpack(mut packed: &[u8]) -> Option<Vec<u8>> {
    let size = number(&mut packed)?;
    let mut text = Vec::with_capacity(size);
    while text.len() < size {
        let plain = number(&mut packed)?;
        let (bytes, rest) = packed.split_at_checked(plain)?;
        text.extend_from_slice(bytes);
        packed = rest;
        if text.len() < size {
            let length = number(&mut packed)?;
            let from = text.len().checked_sub(number(&mut packed)?)?;
            // A repetition may reach into itself.
            for place in from..from + length {
                text.push(*text.get(place)?);
            }
        }
    }
    Some(text)
}

fn number(packed: &mut &[u8]) -> Option<usize> {
    let (mut value, mut shift) = (0_usize, 0_u32);
    loop {
        let (byte, rest) = packed.split_first()?;
        *packed = rest;
        value |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
}
