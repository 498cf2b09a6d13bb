//! One declaration per setting. [`settings!`] turns a table of keys into a struct, its defaults, the reading of each
//! key from a tree, the JSON that the API shows, and the shape that environment variables are matched with.

use super::{
    error::{Origin, Problem, Problems},
    node::{Content, Node},
    suggest::nearest,
};
use serde_json::{Map, Value as Json};

/// Text from the file is quoted in messages up to this many characters.
const MAX_QUOTED: usize = 60;

/// Something a key can hold.
pub(crate) trait Value: Sized {
    /// What may stand below it, for environment variables.
    fn shape() -> Shape {
        Shape::Scalar
    }

    /// The value that stands in the tree; what is wrong with it goes to the reader.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self>;

    /// What the API shows; secrets are masked.
    fn json(&self) -> Json;

    /// Lets the tree change a value that is there already, a default or an inherited one.
    fn apply(&mut self, node: &Node, reader: &mut Reader) {
        if let Some(value) = Self::read(node, reader) {
            *self = value;
        }
    }
}

/// What may stand below a value.
pub(crate) enum Shape {
    Scalar,
    List(fn() -> Shape),
    Map(fn() -> Shape),
    Struct(fn() -> &'static [Field]),
    /// Anything: a plugin's own configuration.
    Json,
}

/// A key of a struct.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    /// The name of the struct's field, which is how the code that obeys the key calls it.
    #[cfg(test)]
    pub(crate) name: &'static str,
    pub(crate) shape: fn() -> Shape,
}

/// A struct that [`settings!`] made.
pub(crate) trait Settings: Default {
    /// Its keys, in the order of the table.
    fn fields() -> &'static [Field];

    /// Reads one key; false when there is no such key.
    fn apply_key(&mut self, key: &str, node: &Node, reader: &mut Reader) -> bool;

    /// One key as the API shows it.
    fn key_json(&self, key: &str) -> Option<Json>;

    /// All keys as the API shows them.
    fn to_json(&self) -> Map<String, Json>;
}

/// Walks a tree: knows which key it is at, and collects what is wrong.
#[derive(Default)]
pub(crate) struct Reader {
    trail: String,
    pub(crate) problems: Problems,
}

impl Reader {
    /// Reads what is below `key`.
    pub(crate) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Reader) -> T) -> T {
        let length = self.trail.len();
        if length > 0 {
            self.trail.push('.');
        }
        self.trail.push_str(key);
        let value = read(self);
        self.trail.truncate(length);
        value
    }

    pub(crate) fn refuse(&mut self, origin: &Origin, message: impl Into<String>) {
        self.problems.refuse(origin, self.trail.clone(), message);
    }

    pub(crate) fn suggest(&mut self, origin: &Origin, message: impl Into<String>, suggestion: Option<String>) {
        let (key, message) = (self.trail.clone(), message.into());
        self.problems.push(Problem {
            origin: origin.clone(),
            key,
            message,
            suggestion,
        });
    }

    /// Refuses a value: what was expected, what was found.
    pub(crate) fn expected<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        self.refuse(&node.origin, format!("expected {what}, found {}", describe(node)));
        None
    }

    /// Refuses a key that is none of `known`.
    pub(crate) fn unknown<'a>(&mut self, key: &str, origin: &Origin, known: impl IntoIterator<Item = &'a str>) {
        let suggestion = nearest(key, known).map(str::to_owned);
        self.within(&printable(key), |reader| {
            reader.suggest(origin, "unknown key", suggestion)
        });
    }
}

/// A node in a few words.
pub(crate) fn describe(node: &Node) -> String {
    match &node.content {
        Content::Scalar(..) if node.is_null() => "nothing".into(),
        Content::Scalar(text, _) => format!("`{}`", printable(text)),
        Content::List(_) => "a list".into(),
        Content::Map(_) => "a map".into(),
    }
}

/// Text from outside, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        shown.push('…');
    }
    shown.replace("\\'", "'").replace("\\\"", "\"")
}

/// Lets a map of the tree change settings; a key with nothing in it leaves its setting as it is.
pub(crate) fn apply_map<S: Settings>(settings: &mut S, node: &Node, reader: &mut Reader) {
    if node.is_null() {
        return;
    }
    let Content::Map(entries) = &node.content else {
        reader.expected::<()>(node, "keys with values");
        return;
    };
    for entry in entries {
        let shown = entry.written.as_deref().unwrap_or(&entry.key);
        let known = reader.within(shown, |reader| {
            if entry.value.is_null() {
                S::fields().iter().any(|field| field.key == &*entry.key)
            } else {
                settings.apply_key(&entry.key, &entry.value, reader)
            }
        });
        if !known {
            reader.unknown(&entry.key, &entry.origin, S::fields().iter().map(|field| field.key));
        }
    }
}

/// Declares a struct of settings: `"key" => field: Type = default`, one line each.
macro_rules! settings {
    ($(#[$meta:meta])* pub struct $name:ident {
        $( $(#[$doc:meta])* $key:literal => $field:ident: $type:ty = $default:expr, )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[$doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::schema::Settings for $name {
            fn fields() -> &'static [$crate::config::schema::Field] {
                &[ $( $crate::config::schema::Field {
                    key: $key,
                    #[cfg(test)]
                    name: stringify!($field),
                    shape: <$type as $crate::config::schema::Value>::shape,
                }, )* ]
            }

            fn apply_key(
                &mut self,
                key: &str,
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::schema::Reader,
            ) -> bool {
                match key {
                    $( $key => $crate::config::schema::Value::apply(&mut self.$field, node, reader), )*
                    _ => return false,
                }
                true
            }

            fn key_json(&self, key: &str) -> Option<serde_json::Value> {
                match key {
                    $( $key => Some($crate::config::schema::Value::json(&self.$field)), )*
                    _ => None,
                }
            }

            fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
                let mut map = serde_json::Map::new();
                $( map.insert($key.to_owned(), $crate::config::schema::Value::json(&self.$field)); )*
                map
            }
        }

        impl $crate::config::schema::Value for $name {
            fn shape() -> $crate::config::schema::Shape {
                $crate::config::schema::Shape::Struct(<Self as $crate::config::schema::Settings>::fields)
            }

            fn read(
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::schema::Reader,
            ) -> Option<Self> {
                let mut settings = Self::default();
                $crate::config::schema::apply_map(&mut settings, node, reader);
                Some(settings)
            }

            fn json(&self) -> serde_json::Value {
                serde_json::Value::Object($crate::config::schema::Settings::to_json(self))
            }
        }
    };
}

/// Declares a choice of words: `Variant = "word"`, further spellings behind `|`.
macro_rules! choices {
    ($(#[$meta:meta])* pub enum $name:ident {
        $( $(#[$doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*, )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$doc])* $variant, )*
        }

        impl $name {
            /// The word that stands in the file.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::schema::Value for $name {
            fn read(
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::schema::Reader,
            ) -> Option<Self> {
                match $crate::config::value::text(node) {
                    $( Some($word $(| $alias)*) => Some(Self::$variant), )*
                    _ => $crate::config::value::wrong_choice(node, &[$($word),*], reader),
                }
            }

            fn json(&self) -> serde_json::Value {
                serde_json::Value::from(self.as_str())
            }
        }
    };
}

pub(crate) use {choices, settings};
