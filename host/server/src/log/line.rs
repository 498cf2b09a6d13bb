//! A record as a line: `2026/11/22 15:04:05 INF [RTSP] message path=cam1`, or a JSON object with the same parts.

use super::sink::Queue;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value as Json};
use std::{
    fmt::{self, Write},
    sync::Arc,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Longest text of one field; what is longer is cut.
const MAX_TEXT: usize = 8 << 10;

/// Turns records into lines for the queue.
pub(super) struct Lines {
    queue: Arc<Queue>,
    zone: TimeZone,
}

impl Lines {
    pub(super) fn new(queue: Arc<Queue>) -> Lines {
        Lines {
            queue,
            zone: TimeZone::system(),
        }
    }
}

/// The name of the component that a target stands for; module paths are none.
pub(super) fn component(target: &str) -> Option<&str> {
    target.starts_with(|c: char| c.is_ascii_uppercase()).then_some(target)
}

/// Named values of a record or a span, the message apart.
#[derive(Clone, Default)]
pub(super) struct Fields {
    message: String,
    named: Vec<(&'static str, Json)>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Json) {
        match field.name() {
            "message" => self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            // Where a `log` record was made is the business of its author.
            name if name.starts_with("log.") => {}
            name => self.put(name, value),
        }
    }

    fn put(&mut self, name: &'static str, value: Json) {
        match self.named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.named.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        // The only error is the bound, and then the text is cut.
        let _ = write!(text, "{value:?}");
        self.set(field, Json::from(text.0));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Bounded(String::new());
        let _ = text.write_str(value);
        self.set(field, Json::from(text.0));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Json::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Json::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Json::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Json::from(value));
    }
}

/// Text that stops growing at a bound.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(outer) = span.extensions().get::<Fields>() {
                outer
                    .named
                    .iter()
                    .for_each(|(name, value)| fields.put(name, value.clone()));
            }
        }
        event.record(&mut fields);
        let normal = event.normalized_metadata();
        let metadata = normal.as_ref().unwrap_or_else(|| event.metadata());
        let level = *metadata.level();
        if let Some(dropped) = self
            .queue
            .push(level, self.line(level, component(metadata.target()), fields))
        {
            let fields = Fields {
                message: format!("{dropped} lines of the log were dropped"),
                ..Fields::default()
            };
            self.queue.push(Level::WARN, self.line(Level::WARN, None, fields));
        }
    }
}

impl Lines {
    fn line(&self, level: Level, component: Option<&str>, fields: Fields) -> String {
        let time = Timestamp::now().to_zoned(self.zone.clone());
        if self.queue.structured() {
            json(
                &time.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string(),
                level,
                component,
                fields,
            )
        } else {
            plain(
                &time.strftime("%Y/%m/%d %H:%M:%S").to_string(),
                level,
                component,
                &fields,
            )
        }
    }
}

fn short(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERR",
        Level::WARN => "WAR",
        Level::INFO => "INF",
        _ => "DEB",
    }
}

fn plain(time: &str, level: Level, component: Option<&str>, fields: &Fields) -> String {
    let mut line = format!("{time} {} ", short(level));
    if let Some(component) = component {
        line.push('[');
        escape(component, &mut line);
        line.push_str("] ");
    }
    escape(&fields.message, &mut line);
    for (name, value) in &fields.named {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        match value.as_str() {
            Some(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                line.push('"');
                escape(&text.replace('"', "\\\""), &mut line);
                line.push('"');
            }
            Some(text) => escape(text, &mut line),
            None => escape(&value.to_string(), &mut line),
        }
    }
    line
}

/// What a terminal would act on is shown instead.
fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

fn json(time: &str, level: Level, component: Option<&str>, fields: Fields) -> String {
    let mut map = Map::new();
    for (name, value) in fields.named {
        map.insert(name.to_owned(), value);
    }
    // Last, so that no field can pass for one of them.
    map.insert("timestamp".into(), Json::from(time));
    map.insert("level".into(), Json::from(short(level)));
    map.insert("message".into(), Json::from(fields.message));
    if let Some(component) = component {
        map.insert("component".into(), Json::from(component));
    }
    // JSON itself escapes only the controls below a space.
    let mut line = String::new();
    for c in Json::Object(map).to_string().chars() {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String does not fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str, named: &[(&'static str, Json)]) -> Fields {
        Fields {
            message: message.into(),
            named: named.to_vec(),
        }
    }

    #[test]
    fn a_plain_line_has_time_level_component_message_and_fields() {
        let fields = fields(
            "opened",
            &[("path", "cam 1".into()), ("readers", 3.into()), ("conn", "ab12".into())],
        );
        let line = plain("2026/11/22 15:04:05", Level::INFO, Some("RTSP"), &fields);
        assert_eq!(
            line,
            r#"2026/11/22 15:04:05 INF [RTSP] opened path="cam 1" readers=3 conn=ab12"#
        );
    }

    #[test]
    fn a_structured_line_keeps_the_fields_apart() {
        let fields = fields(
            "opened",
            &[("path", "cam1".into()), ("code", 404.into()), ("level", "fake".into())],
        );
        let line: Json = serde_json::from_str(&json("T", Level::WARN, Some("RTSP"), fields)).unwrap();
        let expected = serde_json::json!({
            "timestamp": "T", "level": "WAR", "component": "RTSP", "message": "opened", "path": "cam1", "code": 404
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        let hostile = "a\nb\u{1b}[2Jc\u{7f}\u{9b}\u{202e}d\u{2028}";
        let fields = || fields(hostile, &[("user", hostile.into())]);
        for line in [
            plain("T", Level::INFO, None, &fields()),
            json("T", Level::INFO, None, fields()),
        ] {
            assert!(
                line.chars()
                    .all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{2028}'),
                "{line:?}"
            );
        }
        let back: Json = serde_json::from_str(&json("T", Level::INFO, None, fields())).unwrap();
        assert_eq!(back["message"], hostile);
    }

    #[test]
    fn only_a_target_that_begins_with_a_capital_is_a_component() {
        assert_eq!(component("RTSP"), Some("RTSP"));
        assert_eq!(component("wasmtx_server::run"), None);
        assert_eq!(component(""), None);
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let mut text = Bounded(String::new());
        assert!(text.write_str(&"ä".repeat(MAX_TEXT)).is_err());
        assert!(text.0.len() <= MAX_TEXT + '…'.len_utf8());
    }
}
