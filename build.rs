//! Makes the transcripts part of the binary: all of them in one piece, compressed, so that `leveret conformance` needs no other file.
//!
//! The form is our own, and the smallest that a few lines can unpack (src/conformance/suite.rs): the transcripts repeat themselves so much
//! that a look for earlier occurrences alone leaves an eighth. A library for it would be a dependency for one file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is shorter costs as much as it saves.
const SHORTEST: usize = 6;
/// How many earlier places are tried for the longest match.
const TRIES: usize = 48;

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("tests/broker/scenarios");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut paths = Vec::new();
    transcripts(&root, &mut paths)?;
    let mut all = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let name = path.strip_prefix(&root).map_err(io::Error::other)?;
        all.extend_from_slice(format!("{}\n{}\n", name.display(), text.len()).as_bytes());
        all.extend_from_slice(text.as_bytes());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("transcripts");
    fs::write(out, pack(&all))
}

/// The files of the folder, then those of its folders, by name.
fn transcripts(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    entries.sort_by_key(|path| (path.is_dir(), path.clone()));
    for path in entries {
        if path.is_dir() {
            transcripts(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The length of the text, then over and over: how many bytes come as they are, these, the length of a repetition, how far back it is.
fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    number(text.len(), &mut packed);
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let (mut at, mut plain) = (0, 0);
    while at < text.len() {
        let (length, from) = longest(text, at, &places);
        let end = at + length.max(1);
        for place in at..end.min(text.len().saturating_sub(SHORTEST)) {
            places.entry(&text[place..place + SHORTEST]).or_default().push(place);
        }
        if length > 0 {
            number(at - plain, &mut packed);
            packed.extend_from_slice(&text[plain..at]);
            number(length, &mut packed);
            number(at - from, &mut packed);
            plain = end;
        }
        at = end;
    }
    number(text.len() - plain, &mut packed);
    packed.extend_from_slice(&text[plain..]);
    packed
}

/// The longest earlier occurrence of what is at `at`, the last of them: its length, 0 if there is none, and its place.
fn longest(text: &[u8], at: usize, places: &HashMap<&[u8], Vec<usize>>) -> (usize, usize) {
    let Some(key) = text.get(at..at + SHORTEST) else { return (0, 0) };
    let mut best = (0, 0);
    for place in places.get(key).into_iter().flatten().rev().take(TRIES) {
        let length = text[at..].iter().zip(&text[*place..]).take_while(|(here, there)| here == there).count();
        if length > best.0 {
            best = (length, *place);
        }
    }
    best
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn number(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}
