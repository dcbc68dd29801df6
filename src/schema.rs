//! One description per schema: [`described!`] writes down each key once, with what it is for, its type, what may stand
//! there, whether it changes while the gateway runs, and its default. From that follow the reading with every fault at
//! once ([`Described::read`]), what a reload keeps ([`Described::adopt`]), the tables of the handbook ([`reference`]) and
//! the JSON Schemas ([`json_schema`]).
//!
//! Ground: knows neither the configuration nor jobs. Why no derive of a library: a reading needs the file's folder and
//! says warnings, checks between keys must run though another key is faulty, and a default must stand in one place for
//! the program, the handbook and the JSON Schema.

use std::marker::PhantomData;

use serde_json::Value as Json;

pub mod kinds;
mod reference;
pub mod tree;
pub mod value;

pub use reference::{json_schema, object, rows};
pub use tree::Tree;
pub use value::{Format, Reading, TableView, Value, Weight};

/// What may stand behind a key, and what it becomes.
pub trait ValueKind {
    type Out;

    /// Reads a value. None: it has said why not.
    fn read(&self, value: &Value<'_>) -> Option<Self::Out>;

    /// Bounds, words or form, for the handbook.
    fn said(&self) -> String;

    /// The same as a JSON Schema.
    fn json(&self) -> Json;

    /// The keys of a table, or of the tables of a list.
    fn inside(&self) -> Vec<Key> {
        Vec::new()
    }
}

/// A schema.
pub trait Described: Sized + Clone + PartialEq {
    /// In the order in which they are described.
    fn keys() -> Vec<Key>;

    /// Reads all keys of a table. Which others stand there is for [`TableView::finish`].
    fn read(table: &TableView<'_>) -> Option<Self>;

    /// What holds beside a gateway that runs with `self`, once the file says `read`: keys that can't change while it
    /// runs stay as they are and are noted.
    fn adopt(&self, read: Self, waiting: &mut RestartNeeded) -> Self;
}

/// A table whose keys are described at two places.
impl<A: Described, B: Described> Described for (A, B) {
    fn keys() -> Vec<Key> {
        let mut keys = A::keys();
        keys.extend(B::keys());
        keys
    }

    fn read(table: &TableView<'_>) -> Option<Self> {
        // Both, so that the faults of both are told.
        let (one, other) = (A::read(table), B::read(table));
        Some((one?, other?))
    }

    fn adopt(&self, read: Self, waiting: &mut RestartNeeded) -> Self {
        (self.0.adopt(read.0, waiting), self.1.adopt(read.1, waiting))
    }
}

/// A key as it is described.
pub struct Key {
    pub name: &'static str,
    pub about: &'static str,
    pub change: Applies,
    pub presence: Presence,
    pub said: String,
    pub json: Json,
    pub inside: Vec<Key>,
}

/// What happens when another value stands there while the gateway runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// In force at once.
    Live,
    /// The old one holds until a restart.
    Restart,
    /// In force at once, by a new link or socket.
    Successor,
    /// The keys of its table say it.
    Inside,
    /// As its table, which changes as a whole.
    Whole,
    /// It is part of a message.
    Message,
}

impl Applies {
    pub fn name(self) -> &'static str {
        match self {
            Applies::Live => "live",
            Applies::Restart => "restart",
            Applies::Successor => "successor",
            Applies::Inside | Applies::Whole | Applies::Message => "",
        }
    }
}

/// What holds where the key is absent. Values as they are written in TOML.
#[derive(Clone, Copy)]
pub enum Presence {
    Default(&'static str),
    /// It must be there; an example.
    Needed(&'static str),
    /// What is the case then; an example, or nothing.
    Absent(&'static str, &'static str),
}

/// The keys whose new value waits for a restart, as a reload finds them.
#[derive(Default)]
pub struct RestartNeeded {
    path: Vec<&'static str>,
    pub keys: Vec<String>,
}

impl RestartNeeded {
    /// What is in force; if something else was read, the key is noted.
    pub fn keep<T: PartialEq + Clone>(&mut self, key: &'static str, in_force: &T, read: &T) -> T {
        if in_force != read {
            self.note(&[key]);
        }
        in_force.clone()
    }

    /// A key below the table that is looked at.
    pub fn note(&mut self, key: &[&str]) {
        let steps: Vec<&str> = self.path.iter().chain(key).copied().collect();
        self.keys.push(steps.join("."));
    }

    /// The same for the keys of a table.
    pub fn inside<T: Adopt>(&mut self, key: &'static str, in_force: &T, read: T) -> T {
        T::adopt(in_force, read, key, self)
    }
}

/// A table that is there, or may be.
pub trait Adopt: Sized {
    fn adopt(in_force: &Self, read: Self, key: &'static str, waiting: &mut RestartNeeded) -> Self;
}

impl<T: Described> Adopt for T {
    fn adopt(in_force: &T, read: T, key: &'static str, waiting: &mut RestartNeeded) -> T {
        waiting.path.push(key);
        let adopted = in_force.adopt(read, waiting);
        waiting.path.pop();
        adopted
    }
}

/// A table comes and goes with a restart; what is in it changes key by key.
impl<T: Described> Adopt for Option<T> {
    fn adopt(in_force: &Self, read: Self, key: &'static str, waiting: &mut RestartNeeded) -> Self {
        match (in_force, read) {
            (Some(old), Some(new)) => Some(<T as Adopt>::adopt(old, new, key, waiting)),
            (_, read) => waiting.keep(key, in_force, &read),
        }
    }
}

impl Key {
    /// Of a value of this type.
    pub fn of<T>(
        name: &'static str,
        about: &'static str,
        change: Applies,
        presence: Presence,
        kind: &impl ValueKind<Out = T>,
        _: PhantomData<T>,
    ) -> Key {
        Key {
            name,
            about: about.trim(),
            change,
            presence,
            said: kind.said(),
            json: kind.json(),
            inside: kind.inside(),
        }
    }

    /// Of a value that may be absent.
    pub fn optional<T>(
        name: &'static str,
        about: &'static str,
        change: Applies,
        presence: Presence,
        kind: &impl ValueKind<Out = T>,
        _: PhantomData<Option<T>>,
    ) -> Key {
        Key::of(name, about, change, presence, kind, PhantomData)
    }
}

/// Describes a table: a struct with a line for each key.
///
/// ```text
/// described! {
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Node {
///         /// How long what is in the air may take after SIGTERM.
///         pub drain: Duration, span(0, HOUR), live, default("20s");
///     }
/// }
/// ```
///
/// A line: the doc comment is the handbook's text; the field, with the key in brackets where it is called otherwise
/// (`path("url")`); its type; the kind of value ([`ValueKind`]) that gives it (of `absent`: that gives what
/// the `Option` holds); `live`, `restart`,
/// `successor`, `inside` (a table, key by key), `whole` (as the table that it stands in) or `message` ([`Applies`]); and one of `default(VALUE)`, `needed(EXAMPLE)`,
/// `absent("what holds then", EXAMPLE)`, with values written as in TOML. `absent` leaves the type's own default.
///
/// After the struct may follow, in this order: `keys { }`, further lines whose values are no fields of the struct;
/// `fields { pub url: Text, restart; }`, fields that are no keys; `then (table) { }`, statements that see each key's
/// variable as an `Option` (None: faulty, and said), check them against each other, and give each field of `fields` as
/// an `Option`.
macro_rules! described {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[doc = $doc:literal])* $fvis:vis $key:ident $(($spelled:literal))?: $type:ty, $kind:expr, $change:ident,
                $presence:ident ($($example:tt)*); )*
        }
        $( keys {
            $( $(#[doc = $kdoc:literal])* $kkey:ident $(($kspelled:literal))?: $ktype:ty, $kkind:expr, $kchange:ident,
                $kpresence:ident ($($kexample:tt)*); )*
        } )?
        $( fields {
            $( $(#[doc = $fdoc:literal])* $ffvis:vis $field:ident $(($fspelled:literal))?: $ftype:ty, $fchange:ident; )*
        } )?
        $( then ($table:ident) { $($then:tt)* } )?
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $( $(#[doc = $doc])* $fvis $key: $type, )*
            $($( $(#[doc = $fdoc])* $ffvis $field: $ftype, )*)?
        }

        impl $crate::schema::Described for $name {
            fn keys() -> Vec<$crate::schema::Key> {
                use $crate::schema::{Applies, Key, Presence};
                vec![
                    $($( described!(
                        @key $kpresence $ktype, described!(@name $kkey $($kspelled)?), concat!($($kdoc),*),
                        described!(@change $kchange), described!(@presence $kpresence $($kexample)*), &$kkind
                    ), )*)?
                    $( described!(
                        @key $presence $type, described!(@name $key $($spelled)?), concat!($($doc),*),
                        described!(@change $change), described!(@presence $presence $($example)*), &$kind
                    ), )*
                ]
            }

            fn read(from: &$crate::schema::TableView<'_>) -> Option<Self> {
                $( let $key: Option<$type> = described!(
                    @read from, described!(@name $key $($spelled)?), $kind, $presence $($example)*
                ); )*
                $($( let $kkey: Option<$ktype> = described!(
                    @read from, described!(@name $kkey $($kspelled)?), $kkind, $kpresence $($kexample)*
                ); )*)?
                $( let $table = from; $($then)* )?
                Some($name {
                    $( $key: $key?, )*
                    $($( $field: $field?, )*)?
                })
            }

            fn adopt(&self, read: Self, waiting: &mut $crate::schema::RestartNeeded) -> Self {
                let _ = &waiting;
                $name {
                    $( $key: described!(
                        @adopt $change, described!(@name $key $($spelled)?), self.$key, read.$key, waiting
                    ), )*
                    $($( $field: described!(
                        @adopt $fchange, described!(@name $field $($fspelled)?), self.$field, read.$field, waiting
                    ), )*)?
                }
            }
        }
    };

    (@name $key:ident) => { stringify!($key) };
    (@name $key:ident $spelled:literal) => { $spelled };

    (@change live) => { Applies::Live };
    (@change restart) => { Applies::Restart };
    (@change successor) => { Applies::Successor };
    (@change inside) => { Applies::Inside };
    (@change whole) => { Applies::Whole };
    (@change message) => { Applies::Message };

    (@key absent $type:ty, $($part:expr),*) => {
        Key::optional($($part),*, std::marker::PhantomData::<$type>)
    };
    (@key $presence:ident $type:ty, $($part:expr),*) => {
        Key::of($($part),*, std::marker::PhantomData::<$type>)
    };

    (@presence default $($value:tt)*) => { Presence::Default(stringify!($($value)*)) };
    (@presence needed $($value:tt)*) => { Presence::Needed(stringify!($($value)*)) };
    (@presence absent $what:literal) => { Presence::Absent($what, "") };
    (@presence absent $what:literal, $($value:tt)*) => { Presence::Absent($what, stringify!($($value)*)) };

    (@read $from:ident, $key:expr, $kind:expr, default $($value:tt)*) => {{
        static DEFAULT: std::sync::LazyLock<$crate::schema::Tree<'static>> =
            std::sync::LazyLock::new(|| $crate::schema::Tree::literal(stringify!($($value)*)));
        $crate::schema::ValueKind::read(&$kind, &$from.get_or($key, &DEFAULT))
    }};
    (@read $from:ident, $key:expr, $kind:expr, needed $($value:tt)*) => {
        $from
            .need($key, stringify!($($value)*))
            .and_then(|value| $crate::schema::ValueKind::read(&$kind, &value))
    };
    (@read $from:ident, $key:expr, $kind:expr, absent $($value:tt)*) => {
        $crate::schema::kinds::maybe(&$kind, $from.get($key))
    };

    (@adopt live, $key:expr, $in_force:expr, $read:expr, $waiting:ident) => { $read };
    (@adopt successor, $key:expr, $in_force:expr, $read:expr, $waiting:ident) => { $read };
    (@adopt whole, $key:expr, $in_force:expr, $read:expr, $waiting:ident) => { $read };
    (@adopt message, $key:expr, $in_force:expr, $read:expr, $waiting:ident) => { $read };
    (@adopt restart, $key:expr, $in_force:expr, $read:expr, $waiting:ident) => {
        $waiting.keep($key, &$in_force, &$read)
    };
    (@adopt inside, $key:expr, $in_force:expr, $read:expr, $waiting:ident) => {
        $waiting.inside($key, &$in_force, $read)
    };
}
pub(crate) use described;
