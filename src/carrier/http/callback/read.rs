//! Where receipts and texts stand in a callback's body, and what each says. Pure.
//!
//! A body may hold one of them or many: a list at a pointer (`each`, or a `/0` in the pointers, which stands for every
//! element, not for the first), lists in lists, a list as the whole body, or one document after the other.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::json;
use crate::{
    carrier::{Inbound, Incoming, Receipt, ReceiptState},
    cause::Cause,
    config::carrier::{CarrierConfig, HttpCallback},
};

/// A body's parts from the outside to the innermost: the document, an element of its list, an element of that one's.
pub type Part<'a> = Vec<&'a RawValue>;

/// The carrier's pointers, cut at the lists that they pass.
pub struct Layout {
    /// Each leads on from an element of the list before it.
    lists: Vec<String>,
    id: Option<Place>,
    reference: Place,
    state: Place,
    code: Option<Place>,
    from: Option<Place>,
    to: Option<Place>,
    text: Option<Place>,
}

struct Place {
    /// How many lists it is in.
    depth: usize,
    pointer: String,
}

/// A receipt or a text, and the callback's own id of it.
pub struct Brought {
    pub id: Option<Arc<str>>,
    pub incoming: Incoming,
}

impl Layout {
    pub fn new(callback: &HttpCallback) -> Layout {
        let lists = match &callback.each {
            Some(each) => vec![each.to_string()],
            None => lists_in(&callback.reference),
        };
        let place = |pointer: &Arc<str>| match callback.each {
            Some(_) => Place {
                depth: 1,
                pointer: pointer.to_string(),
            },
            None => within(&lists, pointer),
        };
        let maybe = |pointer: &Option<Arc<str>>| pointer.as_ref().map(place);
        Layout {
            id: maybe(&callback.id),
            reference: place(&callback.reference),
            state: place(&callback.state),
            code: maybe(&callback.code),
            from: maybe(&callback.from),
            to: maybe(&callback.to),
            text: maybe(&callback.text),
            lists,
        }
    }

    /// Adds every part of this document that may be a receipt or a text. Err: more than `most`.
    pub fn each<'a>(
        &self,
        document: &'a RawValue,
        found: &mut Vec<Part<'a>>,
        most: usize,
    ) -> Result<(), ()> {
        // A list as the whole body, where the pointers don't begin with one.
        let listed = self.lists.first().is_some_and(String::is_empty);
        if json::is_list(document) && !listed {
            for item in json::items(document).unwrap_or_default() {
                self.expand(vec![item], found, most)?;
            }
            return Ok(());
        }
        self.expand(vec![document], found, most)
    }

    fn expand<'a>(&self, part: Part<'a>, found: &mut Vec<Part<'a>>, most: usize) -> Result<(), ()> {
        let next = self.lists.get(part.len() - 1);
        let inner = part
            .last()
            .zip(next)
            .and_then(|(value, pointer)| json::at(value, pointer));
        let Some(inner) = inner else {
            if found.len() >= most {
                return Err(());
            }
            found.push(part);
            return Ok(());
        };
        // One alone stands there without its list with some carriers.
        let items = match json::is_list(inner) {
            true => json::items(inner).unwrap_or_default(),
            false => vec![inner],
        };
        for item in items {
            let mut longer = part.clone();
            longer.push(item);
            self.expand(longer, found, most)?;
        }
        Ok(())
    }
}

/// `/results/0/ids/0`: `/results` and `/ids`.
fn lists_in(pointer: &str) -> Vec<String> {
    let mut lists = Vec::new();
    let mut list = String::new();
    for token in pointer.split('/').skip(1) {
        match token {
            "0" => lists.push(std::mem::take(&mut list)),
            token => {
                list.push('/');
                list.push_str(token);
            }
        }
    }
    lists
}

/// Through as many of the lists as a pointer passes.
fn within(lists: &[String], pointer: &str) -> Place {
    let mut rest = pointer;
    let mut depth = 0;
    for list in lists {
        let Some(inner) = rest
            .strip_prefix(list.as_str())
            .and_then(|rest| rest.strip_prefix("/0"))
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            break;
        };
        rest = inner;
        depth += 1;
    }
    Place {
        depth,
        pointer: rest.to_owned(),
    }
}

/// A receipt where there is a reference and a state, else a text from a phone. None: neither.
pub fn one(
    callback: &HttpCallback,
    layout: &Layout,
    config: &CarrierConfig,
    part: &Part<'_>,
) -> Option<Brought> {
    let value = |place: &Place| {
        // With `each`, a body that lacks the list is read as its one element: texts come alone with some carriers.
        let within = match callback.each {
            Some(_) => part.last(),
            None => part.get(place.depth),
        };
        json::at(within?, &place.pointer)
    };
    let word = |place: &Place| value(place).and_then(json::word);
    let maybe = |place: &Option<Place>| place.as_ref().and_then(word);
    let id = maybe(&layout.id);
    if let (Some(reference), Some(state)) = (word(&layout.reference), word(&layout.state)) {
        let named = |states: &[Arc<str>]| {
            states
                .iter()
                .any(|known| known.eq_ignore_ascii_case(&state))
        };
        let code = maybe(&layout.code);
        let by_code = code.as_ref().and_then(|code| config.status.get(code));
        let cause: Option<Cause> = by_code.or_else(|| config.status.get(&state)).copied();
        let state = match (named(&callback.delivered), named(&callback.undelivered)) {
            (true, _) => ReceiptState::Delivered,
            (false, true) => ReceiptState::Undelivered,
            (false, false) => ReceiptState::Intermediate,
        };
        let bare = |number: Arc<str>| Arc::from(number.trim_start_matches('+'));
        let receipt = Receipt {
            references: vec![reference],
            state,
            carrier_code: code,
            cause,
            phone: maybe(&layout.to).map(bare),
            sender: maybe(&layout.from).map(bare),
        };
        return Some(Brought {
            id,
            incoming: Incoming::Receipt(receipt),
        });
    }
    let text = value(layout.text.as_ref()?).and_then(json::string)?;
    let inbound = Inbound {
        from: maybe(&layout.from)?,
        to: maybe(&layout.to)?,
        body: text.into(),
    };
    Some(Brought {
        id,
        incoming: Incoming::Text(inbound),
    })
}
