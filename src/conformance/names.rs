//! Names the broker makes up: the transcript calls them `$gen1`, `$ctag1`, `$reply1` in the order of their appearance.

/// The prefixes of made-up names, the length of what follows (none: at least one character), and what to call them.
const KINDS: [(&str, Option<usize>, &str); 3] =
    [("amq.gen-", Some(22), "gen"), ("amq.ctag-", Some(22), "ctag"), ("amq.rabbitmq.reply-to.", None, "reply")];

#[derive(Default)]
pub(crate) struct Names {
    /// The made-up name, and what the transcript calls it.
    known: Vec<(String, String)>,
}

impl Names {
    /// Puts the real names into a line to be sent. The longest first, as `$gen1` begins `$gen10`.
    pub(crate) fn reveal(&self, line: &str) -> String {
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort_by_key(|(_, alias)| std::cmp::Reverse(alias.len()));
        known.iter().fold(line.to_owned(), |line, (name, alias)| {
            // As an argument of its own it may need quotes: some end in '='.
            line.replace(&format!("={alias}"), &format!("=\"{name}\"")).replace(alias, name)
        })
    }

    /// Hides the real names in a line received. A name of another shape than RabbitMQ's stays as it is, and shows as a difference.
    pub(crate) fn hide(&mut self, line: &str) -> String {
        let mut hidden = line.to_owned();
        for (prefix, length, kind) in KINDS {
            while let Some(name) = find(&hidden, prefix, length) {
                let alias = self.alias(&name, kind);
                hidden = hidden.replace(&format!("\"{name}\""), &alias).replace(&name, &alias);
            }
        }
        hidden
    }

    fn alias(&mut self, name: &str, kind: &str) -> String {
        if let Some((_, alias)) = self.known.iter().find(|(known, _)| known == name) {
            return alias.clone();
        }
        let kind = format!("${kind}");
        let count = self.known.iter().filter(|(_, alias)| alias.starts_with(&kind)).count();
        let alias = format!("{kind}{}", count + 1);
        self.known.push((name.to_owned(), alias.clone()));
        alias
    }
}

fn find(line: &str, prefix: &str, length: Option<usize>) -> Option<String> {
    line.match_indices(prefix).find_map(|(start, _)| {
        let rest = &line[start + prefix.len()..];
        let is_part = |character: char| match length {
            Some(_) => character.is_ascii_alphanumeric() || "-_".contains(character),
            None => !" \"'".contains(character),
        };
        let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let fits = length.map_or(end > 0, |length| length == end);
        fits.then(|| format!("{prefix}{}", &rest[..end]))
    })
}
