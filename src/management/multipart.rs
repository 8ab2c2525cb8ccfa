//! Forms with files, as browsers send them (multipart/form-data), as far as uploads need them.

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) value: &'a [u8],
}

/// The boundary that the type of a body names; `None` when it is no form.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    Some(boundary.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// The fields of a form, up to where it is none any more.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let first = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let Some(start) = find(body, first.as_bytes()) else { return Vec::new() };
    let mut rest = &body[start + first.len()..];
    let mut parts = Vec::new();
    // Behind the last one there are two hyphens instead of the end of the line.
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let Some(end) = find(part, delimiter.as_bytes()) else { break };
        parts.extend(self::part(&part[..end]));
        rest = &part[end + delimiter.len()..];
    }
    parts
}

fn part(part: &[u8]) -> Option<Part<'_>> {
    let end = find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&part[..end]).ok()?;
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let name = disposition.split(';').find_map(|parameter| parameter.trim().strip_prefix("name="))?;
    Some(Part { name: name.trim_matches('"').to_owned(), value: &part[end + 4..] })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|some| some == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        for none in ["multipart/form-data", "multipart/form-data; boundary=", "application/json; boundary=x"] {
            assert_eq!(boundary(none), None, "{none}");
        }
    }

    #[test]
    fn fields_and_files() {
        let body = b"preamble\r\n--abc\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\nhere\r\n--abc\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"d.json\"\r\ncontent-type: application/json\r\n\r\n{\r\n--ab\r\n}\r\n\
            --abc--\r\nepilogue";
        let all: Vec<(String, &[u8])> = parts(body, "abc").into_iter().map(|part| (part.name, part.value)).collect();
        assert_eq!(all, [("redirect".to_owned(), &b"here"[..]), ("file".to_owned(), b"{\r\n--ab\r\n}")]);
    }

    #[test]
    fn what_is_no_form() {
        for body in [&b""[..], b"--abc", b"--abc--", b"--abc\r\n\r\n", b"--abc\r\nno head\r\n--abc--", b"--abc\r\n\r\n\r\nx\r\n--abc--"] {
            assert_eq!(parts(body, "abc"), []);
        }
    }
}
