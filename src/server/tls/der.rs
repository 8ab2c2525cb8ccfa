//! DER, the bytes of certificates and keys.

pub(in crate::server) const INTEGER: u8 = 0x02;
pub(in crate::server) const BIT_STRING: u8 = 0x03;
pub(in crate::server) const OCTET_STRING: u8 = 0x04;
pub(in crate::server) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(in crate::server) const SEQUENCE: u8 = 0x30;
pub(in crate::server) const SET: u8 = 0x31;

/// DER that is read value by value.
#[derive(Clone, Copy)]
pub(in crate::server) struct Der<'a>(pub(in crate::server) &'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the content of the next value.
    pub(in crate::server) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    pub(in crate::server) fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    pub(in crate::server) fn values(mut self) -> impl Iterator<Item = (u8, &'a [u8])> {
        std::iter::from_fn(move || self.next())
    }
}
