//! The fields of a receipt's text: names in any order and case, values up to the next name. Pure.

/// The text's fields as written, spaces around them gone; an empty value is none.
#[derive(Default)]
pub struct Fields {
    pub id: Option<String>,
    pub sub: Option<String>,
    pub dlvrd: Option<String>,
    pub submit: Option<String>,
    pub done: Option<String>,
    pub stat: Option<String>,
    pub err: Option<String>,
    pub text: Option<String>,
    /// The text begins with a field: nothing stands before it.
    leads: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Id,
    Sub,
    Dlvrd,
    Submit,
    Done,
    Stat,
    Err,
    Text,
}

/// Spellings, longer ones first where one begins another. A space stands for any run of spaces,
/// underscores and hyphens, or none.
const SPELLINGS: [(&str, Name); 19] = [
    ("message id", Name::Id),
    ("msg id", Name::Id),
    ("id", Name::Id),
    ("submit date", Name::Submit),
    ("submitted date", Name::Submit),
    ("submit", Name::Submit),
    ("submitted", Name::Sub),
    ("sub", Name::Sub),
    ("dlvrd", Name::Dlvrd),
    ("delivered", Name::Dlvrd),
    ("done date", Name::Done),
    ("done", Name::Done),
    ("status", Name::Stat),
    ("state", Name::Stat),
    ("stat", Name::Stat),
    ("error", Name::Err),
    ("err", Name::Err),
    ("text", Name::Text),
    ("txt", Name::Text),
];

impl Fields {
    /// Reads what it can; the first of a name counts.
    pub fn read(text: &str) -> Fields {
        let mut fields = Fields::default();
        let mut at = 0;
        let mut open: Option<(Name, usize)> = None;
        while at < text.len() {
            let found = if boundary(text, at) {
                name_at(text, at)
            } else {
                None
            };
            let Some((name, length)) = found.filter(|(name, _)| fields.takes(*name, open)) else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            match open {
                Some((before, from)) => fields.set(before, &text[from..at]),
                None => fields.leads = text[..at].trim().is_empty(),
            }
            at += length;
            open = Some((name, at));
            // Our own text may hold anything: it goes to the end, unless what matters still has to come.
            if name == Name::Text && fields.id.is_some() && fields.stat.is_some() {
                break;
            }
        }
        if let Some((name, from)) = open {
            fields.set(name, &text[from..]);
        }
        fields
    }

    /// Whether the text can only be a receipt: it begins with a field, names a message and its state, and one
    /// thing more that no person writes.
    pub fn is_unmistakable(&self) -> bool {
        let more = [&self.sub, &self.dlvrd, &self.submit, &self.done, &self.err];
        self.leads
            && self.id.is_some()
            && self.stat.is_some()
            && more.iter().any(|field| field.is_some())
    }

    /// Whether a name met now begins a field: not one that was read before or is being read.
    fn takes(&self, name: Name, open: Option<(Name, usize)>) -> bool {
        self.slot(name).is_none() && open.is_none_or(|(before, _)| before != name)
    }

    fn slot(&self, name: Name) -> &Option<String> {
        match name {
            Name::Id => &self.id,
            Name::Sub => &self.sub,
            Name::Dlvrd => &self.dlvrd,
            Name::Submit => &self.submit,
            Name::Done => &self.done,
            Name::Stat => &self.stat,
            Name::Err => &self.err,
            Name::Text => &self.text,
        }
    }

    fn set(&mut self, name: Name, value: &str) {
        let value = if name == Name::Text {
            value.trim()
        } else {
            before_strange_name(value).trim_matches(|c: char| {
                c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '|' | '"')
            })
        };
        let value = (!value.is_empty()).then(|| value.to_owned());
        match name {
            Name::Id => self.id = value,
            Name::Sub => self.sub = value,
            Name::Dlvrd => self.dlvrd = value,
            Name::Submit => self.submit = value,
            Name::Done => self.done = value,
            Name::Stat => self.stat = value,
            Name::Err => self.err = value,
            Name::Text => self.text = value,
        }
    }
}

/// The value up to a name that we do not know: a word that begins with a letter and holds a colon.
fn before_strange_name(value: &str) -> &str {
    let mut from = 0;
    while let Some(space) = value[from..].find(char::is_whitespace) {
        let rest = &value[from + space..];
        let word = rest.split_whitespace().next().unwrap_or("");
        let begins = from > 0 || space > 0;
        if begins && word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.contains(':') {
            return &value[..from + space];
        }
        from += space + rest.chars().next().map_or(1, char::len_utf8);
    }
    value
}

/// Whether a name may begin here: at the start, or behind something that is part of no word.
fn boundary(text: &str, at: usize) -> bool {
    text[..at]
        .chars()
        .next_back()
        .is_none_or(|before| !before.is_alphanumeric() && before != '_')
}

/// The name that begins here with its colon, and the length of both.
fn name_at(text: &str, at: usize) -> Option<(Name, usize)> {
    let rest = &text[at..];
    SPELLINGS
        .iter()
        .find_map(|(spelling, name)| Some((*name, spelled(rest, spelling)?)))
}

/// The length of `spelling` and its colon at the start of `rest`.
fn spelled(rest: &str, spelling: &str) -> Option<usize> {
    let octets = rest.as_bytes();
    let mut at = 0;
    for expected in spelling.bytes() {
        if expected == b' ' {
            while matches!(octets.get(at), Some(b' ' | b'_' | b'-' | b'\t')) {
                at += 1;
            }
        } else if octets.get(at)?.eq_ignore_ascii_case(&expected) {
            at += 1;
        } else {
            return None;
        }
    }
    while octets.get(at) == Some(&b' ') {
        at += 1;
    }
    (octets.get(at) == Some(&b':')).then_some(at + 1)
}
