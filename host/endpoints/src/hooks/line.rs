//! A command line as it stands in mediamtx.yml, and how it becomes a program with arguments.
//!
//! Split first, in the manner of a shell but without one; then variables are replaced inside each word, which is never
//! split again. So no value, wherever it comes from, adds an argument. Quotes guide the splitting only: variables are
//! replaced inside single quotes too.

/// Bytes of a command line.
const MAX_LINE: usize = 64 * 1024;
/// Words of a command line.
const MAX_WORDS: usize = 1_024;

/// Why a command cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLine {
    /// Nothing but space.
    #[error("the command is empty")]
    Empty,
    /// A quote that is not closed, or a backslash at the end.
    #[error("a quote is not closed, or a backslash stands at the end")]
    Unfinished,
    /// More than 64 KiB or 1,024 words.
    #[error("the command is too long")]
    TooLong,
    /// A value that a client chose would be taken for an option.
    #[error("the value of ${0} begins with '-' and would be taken for an option")]
    Option(String),
    /// A control character in a value.
    #[error("the value of ${0} holds a control character")]
    Control(String),
}

/// The words of a command line, with their variables still in place.
pub(super) fn split(line: &str) -> Result<Vec<String>, InvalidLine> {
    if line.len() > MAX_LINE {
        return Err(InvalidLine::TooLong);
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(InvalidLine::Unfinished)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next().ok_or(InvalidLine::Unfinished)? {
                // A line continued on the next one.
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c => word.get_or_insert_default().push(c),
        }
        if words.len() > MAX_WORDS {
            return Err(InvalidLine::TooLong);
        }
    }
    words.extend(word);
    if words.is_empty() {
        Err(InvalidLine::Empty)
    } else {
        Ok(words)
    }
}

/// Inside double quotes a backslash escapes only what has a meaning there (POSIX 2.2.3).
fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), InvalidLine> {
    loop {
        match chars.next().ok_or(InvalidLine::Unfinished)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(InvalidLine::Unfinished)? {
                '\n' => {}
                c @ ('"' | '\\' | '`' | '$') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// Where a variable's value comes from.
pub(super) enum Value<'a> {
    /// From the hook: a client may have chosen it.
    Hook(&'a str),
    /// From the operator's environment.
    Environment(String),
}

/// Replaces `$NAME` and `${NAME}` in one word. A name without a value becomes nothing; a `$` without a name stays.
pub(super) fn expand<'a>(word: &str, value: impl Fn(&str) -> Option<Value<'a>>) -> Result<String, InvalidLine> {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((name, after)) = name(rest) else {
            out.push('$');
            continue;
        };
        rest = after;
        match value(name) {
            Some(Value::Hook(value)) => {
                if out.is_empty() && value.starts_with('-') {
                    return Err(InvalidLine::Option(name.to_owned()));
                }
                if value.chars().any(char::is_control) {
                    return Err(InvalidLine::Control(name.to_owned()));
                }
                out.push_str(value);
            }
            Some(Value::Environment(value)) => out.push_str(&value),
            None => {}
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The variable's name at the start of the text behind a `$`, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        let (name, after) = braced.split_once('}')?;
        return is_name(name).then_some((name, after));
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    is_name(name).then_some((name, after))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, InvalidLine> {
        split(line)
    }

    fn expanded(word: &str) -> Result<String, InvalidLine> {
        expand(word, |name| match name {
            "MTX_PATH" => Some(Value::Hook("cam/1")),
            "MTX_QUERY" => Some(Value::Hook("a b; $(reboot) \"'")),
            "G1" => Some(Value::Hook("-rf")),
            "G2" => Some(Value::Hook("a\nb")),
            "HOME" => Some(Value::Environment("-home dir".into())),
            _ => None,
        })
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        let check = |line, expected: &[&str]| assert_eq!(words(line).unwrap(), expected, "{line}");
        check("ffmpeg -i  x\ty\n", &["ffmpeg", "-i", "x", "y"]);
        check("a 'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"]);
        check("a'b'\"c\"d", &["abcd"]);
        check("a '' \"\"", &["a", "", ""]);
        check(r#"a "b\"c\$d\e" '\n'"#, &["a", "b\"c$d\\e", "\\n"]);
        check("a \\\n  b", &["a", "b"]);
        check(
            "curl http://x/#top # all words",
            &["curl", "http://x/#top", "#", "all", "words"],
        );
        check("a;b|c>d $(e) `f`", &["a;b|c>d", "$(e)", "`f`"]);
    }

    #[test]
    fn what_is_not_a_command_is_refused() {
        assert_eq!(words(""), Err(InvalidLine::Empty));
        assert_eq!(words(" \n\t"), Err(InvalidLine::Empty));
        for line in ["a 'b", "a \"b", "a \\", "a \"b\\"] {
            assert_eq!(words(line), Err(InvalidLine::Unfinished), "{line}");
        }
        assert_eq!(words(&"a ".repeat(MAX_WORDS + 2)), Err(InvalidLine::TooLong));
        assert_eq!(words(&"a".repeat(MAX_LINE + 1)), Err(InvalidLine::TooLong));
    }

    #[test]
    fn variables_are_replaced_inside_a_word() {
        assert_eq!(
            expanded("rtsp://h/$MTX_PATH-${MTX_PATH}x").unwrap(),
            "rtsp://h/cam/1-cam/1x"
        );
        assert_eq!(expanded("$MTX_PATHS.${NOTHING}").unwrap(), ".");
        assert_eq!(expanded("$HOME").unwrap(), "-home dir", "the operator's own value");
    }

    #[test]
    fn a_value_is_not_looked_at_again() {
        assert_eq!(expanded("q=$MTX_QUERY").unwrap(), "q=a b; $(reboot) \"'");
    }

    #[test]
    fn a_dollar_without_a_name_stays() {
        for word in ["$", "$$", "a$", "$1", "${", "${}", "${1}", "$(x)", "{print $1}"] {
            assert_eq!(expanded(word).unwrap(), word);
        }
    }

    #[test]
    fn a_value_never_becomes_an_option_and_holds_no_control_character() {
        assert_eq!(expanded("$G1"), Err(InvalidLine::Option("G1".into())));
        assert_eq!(expanded("${NOTHING}$G1"), Err(InvalidLine::Option("G1".into())));
        assert_eq!(expanded("--name=$G1").unwrap(), "--name=-rf");
        assert_eq!(expanded("x$G2"), Err(InvalidLine::Control("G2".into())));
    }
}
