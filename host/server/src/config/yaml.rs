//! YAML text as a tree of nodes, from the events of its parser. Aliases and merge keys are resolved while the tree grows,
//! and bounds keep hostile text from growing it without end (threat T50).

use super::{
    error::{Origin, Problem, Problems},
    node::{Content, Entry, Node, Style},
};
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
