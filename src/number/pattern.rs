//! The small pattern language of numbering plans: digits, `\d`, `[..]`, groups, `|`, `?`, `*`, `+`, `{n}`,
//! `{n,m}`. Compiled to a nondeterministic automaton that the prefix table makes deterministic.
//! Whatever else a pattern may hold is refused, and its calling code goes without a table. Pure.

/// Largest repetition that a numbering plan can need (a number has 17 digits at most).
const MAX_REPEAT: u32 = 20;
/// Most states of one calling code's automaton; beyond, no table.
const MAX_STATES: usize = 200_000;
/// Deepest nesting of groups.
const MAX_DEPTH: usize = 32;

/// One state of the automaton.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Takes one digit out of the set (bit n for digit n).
    Digits(u16, u32),
    /// Goes both ways without taking anything.
    Fork(u32, u32),
    /// The pattern of this number is matched by all digits so far.
    Match(u16),
    /// The pattern of this number is matched by some first digits; stays.
    Prefix(u16),
}

/// Patterns joined into one automaton.
#[derive(Default)]
pub(super) struct Automaton {
    pub states: Vec<State>,
    pub starts: Vec<u32>,
}

/// How a pattern is held against the digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// All of them.
    Whole,
    /// Some of the first, or none.
    Prefix,
    /// Like `Prefix`, and overlooks `$`: matches at least wherever the pattern does.
    Perhaps,
}

impl Automaton {
    /// Adds a pattern. `None` if it holds something this language lacks.
    pub fn add(&mut self, pattern: &str, id: u16, anchor: Anchor) -> Option<()> {
        let mut reader = Reader {
            rest: pattern.as_bytes(),
            depth: 0,
            overlook_end: anchor == Anchor::Perhaps,
        };
        let tree = reader.alternatives()?;
        if !reader.rest.is_empty() {
            return None;
        }
        let end = match anchor {
            Anchor::Whole => State::Match(id),
            Anchor::Prefix | Anchor::Perhaps => State::Prefix(id),
        };
        let end = self.push(end)?;
        let start = self.build(&tree, end)?;
        self.starts.push(start);
        Some(())
    }

    fn push(&mut self, state: State) -> Option<u32> {
        if self.states.len() >= MAX_STATES {
            return None;
        }
        self.states.push(state);
        u32::try_from(self.states.len() - 1).ok()
    }

    /// Builds the states that take `tree` and go on to `next`; returns the first.
    fn build(&mut self, tree: &Tree, next: u32) -> Option<u32> {
        match tree {
            Tree::Digits(set) => self.push(State::Digits(*set, next)),
            Tree::Sequence(parts) => {
                let mut at = next;
                for part in parts.iter().rev() {
                    at = self.build(part, at)?;
                }
                Some(at)
            }
            Tree::Either(parts) => {
                let mut at = None;
                for part in parts.iter().rev() {
                    let start = self.build(part, next)?;
                    at = match at {
                        None => Some(start),
                        Some(other) => Some(self.push(State::Fork(start, other))?),
                    };
                }
                at
            }
            Tree::Repeat(part, least, most) => {
                let mut at = next;
                for _ in *least..*most {
                    let start = self.build(part, at)?;
                    at = self.push(State::Fork(start, next))?;
                }
                for _ in 0..*least {
                    at = self.build(part, at)?;
                }
                Some(at)
            }
        }
    }
}

enum Tree {
    Digits(u16),
    Sequence(Vec<Tree>),
    Either(Vec<Tree>),
    Repeat(Box<Tree>, u32, u32),
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
    overlook_end: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn alternatives(&mut self) -> Option<Tree> {
        let mut all = vec![self.sequence()?];
        while self.eat(b'|') {
            all.push(self.sequence()?);
        }
        if all.len() == 1 {
            all.pop()
        } else {
            Some(Tree::Either(all))
        }
    }

    fn sequence(&mut self) -> Option<Tree> {
        let mut parts = Vec::new();
        while let Some(octet) = self.peek() {
            if octet == b'|' || octet == b')' {
                break;
            }
            let atom = self.atom()?;
            parts.push(self.repeated(atom)?);
        }
        Some(Tree::Sequence(parts))
    }

    fn atom(&mut self) -> Option<Tree> {
        match self.take()? {
            digit @ b'0'..=b'9' => Some(Tree::Digits(1 << (digit - b'0'))),
            b'\\' => self.eat(b'd').then_some(Tree::Digits(0x3ff)),
            b'[' => self.set(),
            b'$' if self.overlook_end => Some(Tree::Sequence(Vec::new())),
            b'(' => {
                if self.eat(b'?') && !self.eat(b':') {
                    return None;
                }
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return None;
                }
                let inner = self.alternatives()?;
                self.depth -= 1;
                self.eat(b')').then_some(inner)
            }
            _ => None,
        }
    }

    fn set(&mut self) -> Option<Tree> {
        let mut set = 0u16;
        loop {
            let low = match self.take()? {
                b']' => return Some(Tree::Digits(set)),
                b'\\' => {
                    if !self.eat(b'd') {
                        return None;
                    }
                    set |= 0x3ff;
                    continue;
                }
                digit @ b'0'..=b'9' => digit - b'0',
                _ => return None,
            };
            let high = if self.eat(b'-') {
                match self.take()? {
                    digit @ b'0'..=b'9' => digit - b'0',
                    _ => return None,
                }
            } else {
                low
            };
            for digit in low..=high {
                set |= 1 << digit;
            }
        }
    }

    fn repeated(&mut self, atom: Tree) -> Option<Tree> {
        let (least, most) = match self.peek() {
            Some(b'?') => (0, 1),
            Some(b'*') => (0, MAX_REPEAT),
            Some(b'+') => (1, MAX_REPEAT),
            Some(b'{') => return self.counted(atom),
            _ => return Some(atom),
        };
        self.take()?;
        self.not_lazy()?;
        Some(Tree::Repeat(Box::new(atom), least, most))
    }

    fn counted(&mut self, atom: Tree) -> Option<Tree> {
        self.take()?;
        let least = self.count()?;
        let most = if self.eat(b',') {
            if self.peek() == Some(b'}') {
                MAX_REPEAT
            } else {
                self.count()?
            }
        } else {
            least
        };
        if !self.eat(b'}') || most > MAX_REPEAT || least > most {
            return None;
        }
        self.not_lazy()?;
        Some(Tree::Repeat(Box::new(atom), least, most))
    }

    fn count(&mut self) -> Option<u32> {
        let mut value = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            self.take()?;
            value = Some(value.unwrap_or(0) * 10 + u32::from(digit - b'0'));
            if value > Some(MAX_REPEAT) {
                return None;
            }
        }
        value
    }

    /// A repetition of a repetition, lazy ones among them, is beyond this language.
    fn not_lazy(&self) -> Option<()> {
        (!matches!(self.peek(), Some(b'?' | b'*' | b'+' | b'{'))).then_some(())
    }
}
