//! The lexical level of a transcript: words, quoted strings, hexadecimal bytes.

/// A cursor over the text of one line.
pub(crate) struct Text<'a> {
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a str) -> Text<'a> {
        Text { bytes: text.as_bytes() }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.bytes = self.bytes.get(count..).unwrap_or_default();
    }

    pub(crate) fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.advance(1);
        }
    }

    pub(crate) fn is_done(&mut self) -> bool {
        self.skip_spaces();
        self.bytes.is_empty()
    }

    /// Takes the byte, and spaces before it, if it comes next.
    pub(crate) fn accept(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let found = self.peek() == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.accept(byte) {
            return Ok(());
        }
        let rest = String::from_utf8_lossy(self.bytes);
        Err(format!("expected '{}' before '{rest}'", char::from(byte)))
    }

    /// A word without quotes, possibly empty.
    pub(crate) fn bare(&mut self) -> String {
        self.skip_spaces();
        let length = self.bytes.iter().position(|byte| b" ,=[]{}\"".contains(byte)).unwrap_or(self.bytes.len());
        let (word, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        String::from_utf8_lossy(word).into_owned()
    }

    /// A string in double quotes, with the escapes of [`quote`]; `"ab"*3` repeats it.
    pub(crate) fn quoted(&mut self) -> Result<Vec<u8>, String> {
        self.expect(b'"')?;
        let mut string = Vec::new();
        loop {
            let byte = self.peek().ok_or("missing closing quote")?;
            self.advance(1);
            match byte {
                b'"' => break,
                b'\\' => string.push(self.escaped()?),
                _ => string.push(byte),
            }
        }
        if self.peek() != Some(b'*') {
            return Ok(string);
        }
        self.advance(1);
        let count = self.bare();
        let count = count.parse().map_err(|_| format!("not a count: '{count}'"))?;
        Ok(string.repeat(count))
    }

    fn escaped(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or("missing escaped character")?;
        self.advance(1);
        Ok(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = self.bytes.get(..2).ok_or("missing digits after \\x")?;
                self.advance(2);
                *unhex(digits)?.first().ok_or("missing digits after \\x")?
            }
            other => other,
        })
    }

    /// A string with or without quotes.
    pub(crate) fn string(&mut self) -> Result<Vec<u8>, String> {
        self.skip_spaces();
        match self.peek() {
            Some(b'"') => self.quoted(),
            _ => Ok(self.bare().into_bytes()),
        }
    }

    /// Raw bytes up to the end of the line: hexadecimal digits in any grouping, and quoted strings.
    pub(crate) fn raw(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        while !self.is_done() {
            match self.peek() {
                Some(b'"') => bytes.extend(self.quoted()?),
                _ => {
                    let word = self.bare();
                    let (digits, count) = word.split_once('*').unwrap_or((&word, "1"));
                    let count = count.parse().map_err(|_| format!("not a count: '{count}'"))?;
                    bytes.extend(unhex(digits.as_bytes())?.repeat(count));
                }
            }
        }
        Ok(bytes)
    }
}

pub(crate) fn unhex(digits: &[u8]) -> Result<Vec<u8>, String> {
    let shown = || format!("not hexadecimal: '{}'", String::from_utf8_lossy(digits));
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(shown());
    }
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| shown())?;
            u8::from_str_radix(pair, 16).map_err(|_| shown())
        })
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A string without quotes where no reader could mistake it, with quotes otherwise.
pub(crate) fn word(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/*#@$".contains(byte);
    if bytes.is_empty() || bytes.len() > 64 || !bytes.iter().all(plain) {
        return quote(bytes);
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// A string in quotes. Long uniform ones are written as `"a"*1000`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    if let [first, rest @ ..] = bytes
        && bytes.len() > 64
        && rest.iter().all(|byte| byte == first)
    {
        return format!("{}*{}", quote(&[*first]), bytes.len());
    }
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                other if other.is_control() => {
                    let mut buffer = [0; 4];
                    for byte in other.encode_utf8(&mut buffer).bytes() {
                        quoted.push_str(&format!("\\x{byte:02x}"));
                    }
                }
                other => quoted.push(other),
            }
        }
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}
