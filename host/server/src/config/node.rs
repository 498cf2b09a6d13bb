//! The configuration as a tree that remembers where each value was written.
//!
//! Files, environment variables and API calls all become such a tree, and the typed schema is read from it. That is why
//! there is one place that checks a value, and why every complaint can name line and column. The YAML here is what its
//! parser calls events; aliases and merge keys are resolved while the tree grows, under the bounds below.

use super::error::{Origin, Problem, Problems};
use serde_json::Value as Json;
use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Tag, options};
use std::{collections::HashMap, sync::Arc};

/// The largest file that is read.
pub(crate) const MAX_TEXT: usize = 16 << 20;
/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 32;
/// Most uses of anchors.
const MAX_ALIASES: usize = 1_000;
/// Most values, those that aliases repeat included.
const MAX_NODES: usize = 2_000_000;
/// What the parser may hold of one key before it finds the colon.
const MAX_KEY: usize = 1_024;

/// How a scalar was spelled, which decides what it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bare: may be empty, a number, a boolean or text.
    Plain,
    /// Quoted or a block: text only.
    Quoted,
    /// From the environment: anything but null.
    Raw,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar(Arc<str>, Style),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Arc<str>,
    /// Where the key was written.
    pub(crate) origin: Origin,
    /// The deprecated name it was written under, when it was.
    pub(crate) written: Option<Arc<str>>,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn scalar(text: impl Into<Arc<str>>, style: Style, origin: Origin) -> Node {
        Node {
            origin,
            content: Content::Scalar(text.into(), style),
        }
    }

    pub(crate) fn list(items: Vec<Node>, origin: Origin) -> Node {
        Node {
            origin,
            content: Content::List(items),
        }
    }

    pub(crate) fn map(origin: Origin) -> Node {
        Node {
            origin,
            content: Content::Map(Vec::new()),
        }
    }

    /// A value from the API or from a default.
    pub(crate) fn from_json(json: &Json, origin: &Origin) -> Node {
        let content = match json {
            Json::Null => Content::Scalar("".into(), Style::Plain),
            Json::Bool(value) => Content::Scalar(value.to_string().into(), Style::Plain),
            Json::Number(number) => Content::Scalar(number.to_string().into(), Style::Plain),
            Json::String(text) => Content::Scalar(text.as_str().into(), Style::Quoted),
            Json::Array(items) => Content::List(items.iter().map(|item| Node::from_json(item, origin)).collect()),
            Json::Object(fields) => Content::Map(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.as_str().into(),
                        origin: origin.clone(),
                        written: None,
                        value: Node::from_json(value, origin),
                    })
                    .collect(),
            ),
        };
        Node {
            origin: origin.clone(),
            content,
        }
    }

    /// What a plugin's free-form configuration becomes.
    pub(crate) fn to_json(&self) -> Json {
        match &self.content {
            Content::Scalar(text, style) => plain_json(text, *style),
            Content::List(items) => items.iter().map(Node::to_json).collect(),
            Content::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.to_string(), entry.value.to_json()))
                    .collect(),
            ),
        }
    }

    /// Whether nothing stands here (`key:` with no value), which leaves a setting as it is.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(text, Style::Plain) if is_null(text))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| &*entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The map here; what is not a map becomes an empty one.
    pub(crate) fn entries_mut(&mut self) -> &mut Vec<Entry> {
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
        }
        match &mut self.content {
            Content::Map(entries) => entries,
            _ => unreachable!("it was just made a map"),
        }
    }

    /// The value under `key`, made as `fresh` says when there is none.
    pub(crate) fn get_or_insert(&mut self, key: &str, origin: &Origin, fresh: impl FnOnce() -> Node) -> &mut Node {
        let entries = self.entries_mut();
        let at = match entries.iter().position(|entry| &*entry.key == key) {
            Some(at) => at,
            None => {
                entries.push(Entry {
                    key: key.into(),
                    origin: origin.clone(),
                    written: None,
                    value: fresh(),
                });
                entries.len() - 1
            }
        };
        &mut entries[at].value
    }

    /// Puts `value` under `key`, in place of what was there.
    pub(crate) fn set(&mut self, key: &str, value: Node) {
        let origin = value.origin.clone();
        *self.get_or_insert(key, &origin, || Node::map(origin.clone())) = value;
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let entries = self.entries_mut();
        entries
            .iter()
            .position(|entry| &*entry.key == key)
            .map(|at| entries.remove(at))
    }

    /// Where the key that `trail` leads to was written, or the nearest key above it that was written at all.
    pub(crate) fn locate(&self, trail: &[&str]) -> Origin {
        let (mut node, mut origin) = (self, Origin::Default);
        for step in trail {
            let next = match &node.content {
                Content::Map(_) => node.entry(step).map(|entry| (&entry.value, &entry.origin)),
                Content::List(items) => step
                    .parse()
                    .ok()
                    .and_then(|i: usize| items.get(i))
                    .map(|item| (item, &item.origin)),
                Content::Scalar(..) => None,
            };
            let Some((value, at)) = next else { break };
            (node, origin) = (value, at.clone());
        }
        origin
    }
}

pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The booleans of YAML 1.1, which MediaMTX's own files use.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn plain_json(text: &str, style: Style) -> Json {
    if style == Style::Quoted {
        return Json::from(text);
    }
    if style == Style::Plain && is_null(text) {
        return Json::Null;
    }
    if let Some(value) = boolean(text) {
        return Json::from(value);
    }
    // A leading zero is a code or a phone number, not a quantity: it stays text.
    let digits = text.trim_start_matches(['-', '+']);
    let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let number = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    if !padded && number(text) {
        if let Ok(value) = text.parse::<i64>() {
            return Json::from(value);
        }
        if let Ok(value) = text.parse::<u64>() {
            return Json::from(value);
        }
        if let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) {
            return Json::from(value);
        }
    }
    Json::from(text)
}

/// Reads one YAML document.
///
/// # Errors
/// What is wrong with the text as YAML, or which bound it breaks. Reading ends at the first error of syntax.
pub(crate) fn parse(text: &str) -> Result<Node, Problems> {
    if text.len() > MAX_TEXT {
        return Err(Problems::whole(format!(
            "the text has {} bytes, at most {MAX_TEXT} are read",
            text.len()
        )));
    }
    let mut tree = Builder::default();
    match tree.grow(text) {
        Ok(()) => tree.problems.into_result()?,
        Err(problem) => {
            tree.problems.push(problem);
            return Err(tree.problems);
        }
    }
    Ok(tree.root.unwrap_or_else(|| Node::map(Origin::Default)))
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Position of each key of a map, to find duplicates in maps of any size.
    seen: HashMap<Arc<str>, usize>,
    /// The key that waits for its value.
    key: Option<(Arc<str>, Origin, bool)>,
    /// What `<<` brings, nearest first; it fills in what the map itself does not say.
    merged: Vec<Entry>,
    /// Values below, itself included, aliases expanded.
    size: usize,
}

#[derive(Default)]
struct Builder {
    problems: Problems,
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    aliases: usize,
    nodes: usize,
}

impl Builder {
    fn grow(&mut self, text: &str) -> Result<(), Problem> {
        let options = options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH + 1,
            block_nesting_limit: MAX_DEPTH + 1,
            simple_key_max_lookahead: MAX_KEY,
        };
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| {
                let at = error.marker();
                complain(position(at.line(), at.col()), error.info())
            })?;
            let origin = position(span.start.line(), span.start.col());
            match event {
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(complain(
                            origin,
                            "a configuration is one YAML document, here a second one begins",
                        ));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let style = self.scalar_style(style, tag.as_deref(), &origin);
                    let empty = text.is_empty() && style == Style::Plain;
                    self.count(1, &origin)?;
                    let origin = if empty { self.place_of_gap(origin) } else { origin };
                    self.place(Node::scalar(&*text, style, origin), 1, anchor)?;
                }
                Event::SequenceStart(_, anchor, tag) => {
                    self.check_tag(tag.as_deref(), &origin);
                    self.begin(Node::list(Vec::new(), origin), anchor)?;
                }
                Event::MappingStart(_, anchor, tag) => {
                    self.check_tag(tag.as_deref(), &origin);
                    self.begin(Node::map(origin), anchor)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                Event::Alias(anchor) => self.expand(anchor, origin)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn scalar_style(&mut self, style: ScalarStyle, tag: Option<&Tag>, origin: &Origin) -> Style {
        self.check_tag(tag, origin);
        let text_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
        if style == ScalarStyle::Plain && !text_tag {
            Style::Plain
        } else {
            Style::Quoted
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, origin: &Origin) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.problems.refuse(
                origin,
                "",
                format!("the tag `{}` means nothing here", tag.original().escape_debug()),
            );
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(complain(node.origin, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if let Some(open) = self.open.last()
            && matches!(open.node.content, Content::Map(_))
            && open.key.is_none()
        {
            return Err(complain(node.origin, "a key is a single word, not a list or a map"));
        }
        self.count(1, &node.origin)?;
        self.open.push(Open {
            node,
            anchor,
            seen: HashMap::new(),
            key: None,
            merged: Vec::new(),
            size: 1,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(mut done) = self.open.pop() else { return Ok(()) };
        if let Content::Map(entries) = &mut done.node.content {
            for entry in done.merged {
                if !done.seen.contains_key(&entry.key) {
                    done.seen.insert(entry.key.clone(), entries.len());
                    entries.push(entry);
                }
            }
        }
        self.place(done.node, done.size, done.anchor)
    }

    fn expand(&mut self, anchor: usize, origin: Origin) -> Result<(), Problem> {
        self.aliases += 1;
        if self.aliases > MAX_ALIASES {
            return Err(complain(origin, format!("more than {MAX_ALIASES} aliases")));
        }
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(complain(origin, "an alias within the value that it stands for"));
        };
        // Counted before it is copied: a bomb costs nothing.
        let (source, size) = (node, *size);
        let nodes = self.nodes.saturating_add(size);
        if nodes > MAX_NODES {
            return Err(too_many(origin));
        }
        self.nodes = nodes;
        let node = source.clone();
        self.place(node, size, 0)
    }

    fn count(&mut self, size: usize, origin: &Origin) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > MAX_NODES {
            Err(too_many(origin.clone()))
        } else {
            Ok(())
        }
    }

    /// Hangs a finished value where it belongs.
    fn place(&mut self, node: Node, size: usize, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.count(size, &node.origin)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.size = open.size.saturating_add(size);
        let Content::Map(entries) = &mut open.node.content else {
            if let Content::List(items) = &mut open.node.content {
                items.push(node);
            }
            return Ok(());
        };
        let Some((key, at, merge)) = open.key.take() else {
            let Content::Scalar(text, style) = &node.content else {
                return Err(complain(node.origin, "a key is a single word, not a list or a map"));
            };
            let merge = &**text == "<<" && *style == Style::Plain;
            open.key = Some((text.clone(), node.origin, merge));
            return Ok(());
        };
        if merge {
            return merge_into(&mut open.merged, node);
        }
        if open.seen.insert(key.clone(), entries.len()).is_some() {
            let first = entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| entry.origin.clone());
            let line = match first {
                Some(Origin::File { line, .. }) => format!(", first in line {line}"),
                _ => String::new(),
            };
            let trail = self.trail(&key);
            self.problems
                .refuse(&at, trail, format!("the key stands here twice{line}"));
            return Ok(());
        }
        entries.push(Entry {
            key,
            origin: at,
            written: None,
            value: node,
        });
        Ok(())
    }

    /// A key without a value has no place of its own in the text; the key's place says more than the next line's.
    fn place_of_gap(&self, origin: Origin) -> Origin {
        self.open
            .last()
            .and_then(|open| open.key.as_ref())
            .map_or(origin, |(_, at, _)| at.clone())
    }

    /// The keys above a key of the innermost map.
    fn trail(&self, key: &str) -> String {
        let mut trail = String::new();
        for open in &self.open {
            if let Some((key, ..)) = &open.key {
                trail.push_str(key);
                trail.push('.');
            }
        }
        trail + key
    }
}

fn merge_into(merged: &mut Vec<Entry>, node: Node) -> Result<(), Problem> {
    match node.content {
        Content::Map(entries) => merged.extend(entries),
        Content::List(items) if items.iter().all(|item| matches!(item.content, Content::Map(_))) => {
            items
                .into_iter()
                .for_each(|item| merged.extend(item.entries().iter().cloned()));
        }
        _ => return Err(complain(node.origin, "`<<` takes a map, or a list of maps")),
    }
    Ok(())
}

fn too_many(origin: Origin) -> Problem {
    complain(
        origin,
        format!("more than {MAX_NODES} values, those that aliases repeat included"),
    )
}

fn position(line: usize, column: usize) -> Origin {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Origin::File {
        line: number(line),
        column: number(column).saturating_add(1),
    }
}

fn complain(origin: Origin, message: impl Into<String>) -> Problem {
    Problem {
        origin,
        key: String::new(),
        message: message.into(),
        suggestion: None,
    }
}
