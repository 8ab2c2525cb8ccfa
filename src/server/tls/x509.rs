//! What is read out of a certificate, as far as rustls does not tell it: names, and how long it holds.
//!
//! Only of certificates that rustls has accepted, or that we have made; whatever cannot be read is left out. Names are written as
//! RabbitMQ writes them, which are those of RFC 4514.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::der::{Der, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET};
use crate::config::SanType;

/// [0] and [3], explicitly tagged.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1D, 17];

/// Attributes of names that are not written as numbers.
const ATTRIBUTES: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "SERIALNUMBER"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "TITLE"),
    (&[0x55, 4, 42], "GIVENNAME"),
    (&[0x55, 4, 43], "INITIALS"),
    (&[0x55, 4, 44], "GENERATIONQUALIFIER"),
    (&[0x55, 4, 65], "PSEUDONYM"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], "EMAILADDRESS"),
];

/// The fields of a certificate that are of interest; names are in DER.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) not_before: Time,
    pub(super) not_after: Time,
    /// The content of the extension.
    alternative_names: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut fields = Der(Der(Der(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        let _serial_number = fields.next()?;
        let _signature = fields.next()?;
        let issuer = fields.expect(SEQUENCE)?;
        let mut validity = Der(fields.expect(SEQUENCE)?);
        let (not_before, not_after) = (Time::parse(validity.next()?)?, Time::parse(validity.next()?)?);
        let subject = fields.expect(SEQUENCE)?;
        let extensions = fields.values().find(|(tag, _)| *tag == EXTENSIONS);
        let alternative_names = extensions.and_then(|(_, extensions)| alternative_names(extensions)).unwrap_or_default();
        Some(Self { issuer, subject, not_before, not_after, alternative_names })
    }

    /// Of one kind, in the certificate's order.
    pub(super) fn alternative_names(&self, kind: SanType) -> Vec<String> {
        let wanted = match kind {
            SanType::Other => 0xA0,
            SanType::Email => 0x81,
            SanType::Dns => 0x82,
            SanType::Uri => 0x86,
            SanType::Ip => 0x87,
        };
        let of_kind = Der(self.alternative_names).values().filter(|(tag, _)| *tag == wanted);
        of_kind.filter_map(|(_, content)| alternative_name(kind, content)).collect()
    }
}

/// The names in the extension for them.
fn alternative_names(extensions: &[u8]) -> Option<&[u8]> {
    Der(Der(extensions).expect(SEQUENCE)?).values().find_map(|(_, extension)| {
        let mut extension = Der(extension);
        if extension.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
            return None;
        }
        // It may be said to be critical.
        let (_, value) = extension.values().find(|(tag, _)| *tag == OCTET_STRING)?;
        Der(value).expect(SEQUENCE)
    })
}

fn alternative_name(kind: SanType, content: &[u8]) -> Option<String> {
    match kind {
        SanType::Dns | SanType::Email | SanType::Uri => Some(String::from_utf8_lossy(content).into_owned()),
        SanType::Ip => match *content {
            [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).to_string()),
            _ => <[u8; 16]>::try_from(content).ok().map(|octets| Ipv6Addr::from(octets).to_string()),
        },
        SanType::Other => {
            let mut name = Der(content);
            name.expect(OBJECT_IDENTIFIER)?;
            let (tag, value) = Der(name.expect(0xA0)?).next()?;
            Some(text(tag, value))
        }
    }
}

/// Attributes of a name: sets of them, in the certificate's order.
fn attributes(name: &[u8]) -> impl Iterator<Item = impl Iterator<Item = (&[u8], String)>> {
    Der(name).values().filter(|(tag, _)| *tag == SET).map(|(_, set)| {
        Der(set).values().filter_map(|(_, attribute)| {
            let mut attribute = Der(attribute);
            let kind = attribute.expect(OBJECT_IDENTIFIER)?;
            let (tag, value) = attribute.next()?;
            Some((kind, text(tag, value)))
        })
    })
}

pub(super) fn common_names(name: &[u8]) -> Vec<String> {
    attributes(name).flatten().filter(|(kind, _)| *kind == COMMON_NAME).map(|(_, value)| value).collect()
}

/// As `CN=client,O=leveret`: what is last in the certificate comes first.
pub(super) fn distinguished_name(name: &[u8]) -> String {
    let mut parts: Vec<String> = attributes(name)
        .map(|set| set.map(|(kind, value)| format!("{}={}", attribute_name(kind), escaped(&value))).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute_name(kind: &[u8]) -> String {
    match ATTRIBUTES.iter().find(|(known, _)| *known == kind) {
        Some((_, name)) => (*name).to_owned(),
        None => dotted(kind),
    }
}

/// An object identifier in numbers.
fn dotted(kind: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in kind {
        number = number << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first.to_string());
                number -= first * 40;
            }
            numbers.push(number.to_string());
            number = 0;
        }
    }
    numbers.join(".")
}

fn text(tag: u8, value: &[u8]) -> String {
    match tag {
        // TeletexString: as good as ISO 8859-1.
        0x14 => value.iter().map(|byte| char::from(*byte)).collect(),
        // UniversalString and BMPString.
        0x1C => value.chunks_exact(4).filter_map(|c| char::from_u32(u32::from_be_bytes([c[0], c[1], c[2], c[3]]))).collect(),
        0x1E => value.chunks_exact(2).filter_map(|c| char::from_u32(u16::from_be_bytes([c[0], c[1]]).into())).collect(),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// RFC 4514, and whatever is not printable ASCII as its bytes.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            b'#' if at == 0 => out.push_str("\\#"),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..0x7E => out.push(char::from(byte)),
            _ => {
                // Into memory, which does not fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

/// A second, of universal time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    year: i64,
    /// Month, day, hour, minute, second.
    rest: [u8; 5],
}

impl Time {
    /// UTCTime or GeneralizedTime, in the only forms that RFC 5280 allows.
    fn parse((tag, content): (u8, &[u8])) -> Option<Self> {
        let digits = content.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) || digits.len() % 2 != 0 {
            return None;
        }
        let pairs: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] - b'0') * 10 + pair[1] - b'0').collect();
        match (tag, &*pairs) {
            (0x17, &[year, a, b, c, d, e]) => {
                let century = if year < 50 { 2000 } else { 1900 };
                Some(Self { year: century + i64::from(year), rest: [a, b, c, d, e] })
            }
            (0x18, &[century, year, a, b, c, d, e]) => {
                Some(Self { year: 100 * i64::from(century) + i64::from(year), rest: [a, b, c, d, e] })
            }
            _ => None,
        }
    }

    /// Since 1970.
    pub(super) fn unix_seconds(&self) -> i64 {
        let [month, day, hour, minute, second] = self.rest.map(i64::from);
        // Years that begin in March, so that the odd day comes last.
        let year = self.year - i64::from(month < 3);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
        ((days * 24 + hour) * 60 + minute) * 60 + second
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [month, day, hour, minute, second] = self.rest;
        write!(f, "{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", self.year)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(prepare: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        prepare(&mut params);
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn names_are_written_from_the_last_to_the_first() {
        let der = certificate(|params| {
            params.distinguished_name.push(DnType::CountryName, "DE");
            params.distinguished_name.push(DnType::OrganizationName, " A, B+C; #<é> ");
            params.distinguished_name.push(DnType::CommonName, "#client");
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 17]), "80331");
        });
        let certificate = Certificate::parse(&der).expect("a certificate");
        let subject = "2.5.4.17=80331,CN=\\#client,O=\\ A\\, B\\+C\\; #\\<\\C3\\A9\\>\\ ,C=DE";
        assert_eq!(distinguished_name(certificate.subject), subject);
        assert_eq!(distinguished_name(certificate.issuer), subject);
        assert_eq!(common_names(certificate.subject), ["#client"]);
    }

    #[test]
    fn alternative_names_are_told_by_their_kind() {
        let der = certificate(|params| {
            let names = ["localhost", "127.0.0.1", "example.org", "::1"].map(str::to_owned);
            params.subject_alt_names = CertificateParams::new(names).expect("names").subject_alt_names;
        });
        let certificate = Certificate::parse(&der).expect("a certificate");
        assert_eq!(certificate.alternative_names(SanType::Dns), ["localhost", "example.org"]);
        assert_eq!(certificate.alternative_names(SanType::Ip), ["127.0.0.1", "::1"]);
        assert!(certificate.alternative_names(SanType::Email).is_empty());
    }

    #[test]
    fn times_of_both_forms() {
        let der = certificate(|params| {
            params.not_before = rcgen::date_time_ymd(2024, 2, 29);
            params.not_after = rcgen::date_time_ymd(2051, 3, 1);
        });
        let Certificate { not_before, not_after, .. } = Certificate::parse(&der).expect("a certificate");
        assert_eq!((not_before.to_string(), not_after.to_string()), ("2024-02-29T00:00:00Z".into(), "2051-03-01T00:00:00Z".into()));
        assert_eq!((not_before.unix_seconds(), not_after.unix_seconds()), (1_709_164_800, 2_561_241_600));
    }

    #[test]
    fn what_is_cut_off_is_no_certificate_and_never_a_panic() {
        let der = certificate(|params| params.distinguished_name.push(DnType::CommonName, "x"));
        for end in 0..der.len() {
            assert!(Certificate::parse(&der[..end]).is_none(), "{end}");
        }
        for at in 0..der.len() {
            let mut other = der.clone();
            other[at] ^= 0xFF;
            if let Some(certificate) = Certificate::parse(&other) {
                distinguished_name(certificate.subject);
                certificate.alternative_names(SanType::Other);
            }
        }
    }
}
