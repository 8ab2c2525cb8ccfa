//! The PROXY protocol, versions 1 and 2: a header before everything else by which a proxy says whose connection it passes on.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Nothing behind the header is taken out of the socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::SplitAsciiWhitespace;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its CRLF.
const LINE_MAX: usize = 107;

/// The two ends of the connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Ends {
    pub(in crate::server) source: SocketAddr,
    pub(in crate::server) destination: SocketAddr,
}

/// Takes the header. `None`: the proxy has opened the connection for itself, or does not say for whom.
///
/// # Errors
/// What comes is no header, or the socket fails.
pub(in crate::server) async fn read(stream: &mut TcpStream) -> io::Result<Option<Ends>> {
    // Version 1 has three bytes more at least.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    let ends = if start == SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        let [command, family, high, low] = rest;
        let mut addresses = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut addresses).await?;
        version_2(command, family, &addresses)
    } else if start.starts_with(b"PROXY ") {
        version_1(&line(stream, &start).await?)
    } else {
        None
    };
    ends.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no header of the PROXY protocol"))
}

/// The rest of a line of which the start was read already.
async fn line(stream: &mut TcpStream, start: &[u8]) -> io::Result<Vec<u8>> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") && line.len() < LINE_MAX {
        let mut seen = [0; LINE_MAX];
        let n = stream.peek(&mut seen[..LINE_MAX - line.len()]).await?;
        let of_line = seen[..n].iter().position(|b| *b == b'\n').map_or(n, |end| end + 1);
        if of_line == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.read_exact(&mut seen[..of_line]).await?;
        line.extend_from_slice(&seen[..of_line]);
        if line.ends_with(b"\n") {
            break;
        }
    }
    Ok(line)
}

/// What a header says; `None` for one that is not valid.
fn version_1(line: &[u8]) -> Option<Option<Ends>> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let mut words = line.strip_prefix("PROXY ")?.split_ascii_whitespace();
    match words.next()? {
        "TCP4" => ends_of_words::<Ipv4Addr>(words).map(Some),
        "TCP6" => ends_of_words::<Ipv6Addr>(words).map(Some),
        // Whatever follows is to be ignored.
        "UNKNOWN" => Some(None),
        _ => None,
    }
}

fn ends_of_words<T: std::str::FromStr + Into<IpAddr>>(mut words: SplitAsciiWhitespace<'_>) -> Option<Ends> {
    let mut ip = || words.next()?.parse::<T>().ok().map(Into::into);
    let (source, destination) = (ip()?, ip()?);
    let mut port = || words.next()?.parse::<u16>().ok();
    let (source_port, destination_port) = (port()?, port()?);
    let ends = Ends { source: SocketAddr::new(source, source_port), destination: SocketAddr::new(destination, destination_port) };
    words.next().is_none().then_some(ends)
}

fn version_2(command: u8, family: u8, addresses: &[u8]) -> Option<Option<Ends>> {
    match (command, family) {
        // The proxy speaks for itself: a health check.
        (0x20, _) => Some(None),
        (0x21, 0x11) => {
            let (source, rest) = addresses.split_first_chunk::<4>()?;
            let (destination, rest) = rest.split_first_chunk::<4>()?;
            ends(Ipv4Addr::from(*source), Ipv4Addr::from(*destination), rest).map(Some)
        }
        (0x21, 0x21) => {
            let (source, rest) = addresses.split_first_chunk::<16>()?;
            let (destination, rest) = rest.split_first_chunk::<16>()?;
            ends(Ipv6Addr::from(*source), Ipv6Addr::from(*destination), rest).map(Some)
        }
        // Unspecified, datagrams, sockets of the proxy's machine: no addresses that could be told.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(None),
        _ => None,
    }
}

/// With the ports; what follows them are extensions.
fn ends(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, ports: &[u8]) -> Option<Ends> {
    let &[s0, s1, d0, d1] = ports.first_chunk::<4>()?;
    let source = SocketAddr::new(source.into(), u16::from_be_bytes([s0, s1]));
    let destination = SocketAddr::new(destination.into(), u16::from_be_bytes([d0, d1]));
    Some(Ends { source, destination })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(source: &str, destination: &str) -> Option<Option<Ends>> {
        let at = |address: &str| address.parse().expect("an address");
        Some(Some(Ends { source: at(source), destination: at(destination) }))
    }

    #[test]
    fn lines_of_version_1() {
        for (line, says) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672\r\n", from("192.0.2.1:56324", "198.51.100.2:5672")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 56324 5672\r\n", from("[2001:db8::1]:56324", "[2001:db8::2]:5672")),
            ("PROXY UNKNOWN\r\n", Some(None)),
            ("PROXY UNKNOWN ffff::1 nonsense\r\n", Some(None)),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672 7\r\n", None),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n", None),
            ("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", None),
        ] {
            assert_eq!(version_1(line.as_bytes()), says, "{line}");
        }
    }

    #[test]
    fn headers_of_version_2() {
        let ipv4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x16, 0x28];
        let with_extension = [&ipv4[..], &[4, 0, 1, 0]].concat();
        let says = from("192.0.2.1:56324", "198.51.100.2:5672");
        for (command, family, addresses, says) in [
            (0x21, 0x11, &ipv4[..], says),
            (0x21, 0x11, &with_extension, says),
            (0x20, 0x00, &[], Some(None)),
            (0x21, 0x00, &[], Some(None)),
            (0x21, 0x11, &ipv4[..11], None),
            (0x21, 0x21, &ipv4, None),
            (0x22, 0x11, &ipv4, None),
            (0x11, 0x11, &ipv4, None),
            (0x21, 0x13, &ipv4, None),
        ] {
            assert_eq!(version_2(command, family, addresses), says, "{command:x} {family:x} {addresses:?}");
        }
    }
}
