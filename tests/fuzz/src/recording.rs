//! Names of recordings: they stay below their directory, and come back as what they were made of.

use wasmtx_media::recording::{Format, Template};

/// The last second that `%s` has ten digits for, and the last one with a year of four.
const LAST_SECONDS: u64 = 9_999_999_999;
const LAST_YEAR: u64 = 253_402_214_400;

/// A time, an offset, then lines: a `recordPath`, a path's name, the name of a file.
pub(crate) fn name(data: &[u8]) {
    let Some((time, rest)) = data.split_first_chunk() else {
        return;
    };
    let Some((offset, text)) = rest.split_first_chunk() else {
        return;
    };
    let (time, offset) = (u64::from_be_bytes(*time), i32::from_be_bytes(*offset));
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (whole, path, file) = (line(), line(), line());
    let (directory, text) = Template::split(whole);
    assert!(!directory.contains('%') && whole.starts_with(directory) && whole.ends_with(text));
    let Ok(template) = Template::parse(text) else { return };
    let name = template.expand(path, time, offset);
    assert!(!name.starts_with('/') && !name.chars().any(char::is_control));
    assert!(
        !name.split('/').any(|segment| matches!(segment, "" | "." | "..")),
        "{name}"
    );
    if is_path_name(path) {
        comes_back(&template, text, path, time, offset);
    }
    if let Some((name, _)) = Format::split(file)
        && let Some(found) = template.matches(name, None, |_| offset)
    {
        assert!(name.contains(found.path));
        let given = template.matches(name, Some(found.path), |_| offset);
        assert_eq!(given, Some(found));
    }
}

fn is_path_name(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    path.split('/')
        .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed))
}

fn comes_back(template: &Template, text: &str, path: &str, time: u64, offset: i32) {
    let seconds = time / 1_000_000;
    let last = if text.contains("%s") { LAST_SECONDS } else { LAST_YEAR };
    if seconds > last || seconds < 86_400 {
        return;
    }
    let name = template.expand(path, time, offset);
    assert!(name.starts_with(&template.folder(path)), "{name}");
    let found = template.matches(&name, Some(path), |_| offset.clamp(-86_399, 86_399));
    let start = if template.has_micros() {
        time
    } else {
        seconds * 1_000_000
    };
    assert_eq!(found.map(|found| found.start), Some(start), "{name}");
}
