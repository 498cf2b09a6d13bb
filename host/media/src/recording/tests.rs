use super::{civil::Civil, *};

const USUAL: &str = "%path/%Y-%m-%d_%H-%M-%S-%f";
/// The last microsecond of the year 9999.
const LAST: u64 = 253_402_300_799_999_999;

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn start(text: &str, name: &str) -> Option<u64> {
    template(text).matches(name, None, |_| 0).map(|found| found.start)
}

/// Numbers that are the same in every run.
fn numbers() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn names_are_those_of_mediamtx() {
    let time = 1_226_361_815_000_123; // 2008-11-11 00:03:35.000123 UTC
    for (text, offset, name) in [
        (USUAL, 0, "a/b/2008-11-11_00-03-35-000123"),
        (USUAL, -7_200, "a/b/2008-11-10_22-03-35-000123"),
        ("%Y/%m/%d/%path_%s", 0, "2008/11/11/a/b_1226361815"),
        ("%path/%s%f%z", 0, "a/b/1226361815000123Z"),
        ("%path/%s%z", 19_800, "a/b/1226361815+0530"),
        ("%path/%s%z", -12_600, "a/b/1226361815-0330"),
        ("x%%Q %path ü:+/%s", 0, "x%%Q a/b ü:+/1226361815"),
    ] {
        assert_eq!(template(text).expand("a/b", time, offset), name, "{text}");
        let found = template(text).matches(name, None, |_| offset).unwrap();
        let rest = if text.contains("%f") { 123 } else { 0 };
        assert_eq!((found.path, found.start), ("a/b", time - 123 + rest), "{text}");
    }
}

#[test]
fn every_time_comes_back_from_its_name() {
    let mut next = numbers();
    let texts = [
        USUAL,
        "%path/%s-%f",
        "%Y/%m/%d/%path/%H/%M/%S/%f%z",
        "rec %path.%Y%m%d%H%M%S%f",
        "%path%f%s%path",
    ];
    for round in 0..20_000 {
        let text = texts[round % texts.len()];
        // Until 2286 for %s, which has ten digits.
        let most = if text.contains("%s") {
            9_999_999_999_999_999
        } else {
            LAST - 86_400_000_000
        };
        let time = match round {
            0..10 => u64::from(text.contains("%s")) * 1_000_000_000_000_000,
            10..20 => most,
            _ => next() % most,
        };
        let offset = i32::try_from(next() % 172_800).unwrap() - 86_400;
        if time < 86_400_000_000 && offset < 0 {
            continue;
        }
        let name = template(text).expand("cam/1", time, offset);
        let given = template(text).matches(&name, Some("cam/1"), |_| offset.clamp(-86_399, 86_399));
        assert_eq!(given.map(|found| found.start), Some(time), "{text} {offset} {name}");
        let found = template(text)
            .matches(&name, None, |_| offset.clamp(-86_399, 86_399))
            .unwrap();
        assert_eq!((found.path, found.start), ("cam/1", time), "{text} {offset} {name}");
        assert!(template(text).matches(&name, Some("cam/2"), |_| offset).is_none());
    }
}

#[test]
fn every_day_has_its_date() {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..2_932_897_i64 {
        let civil = Civil::from_seconds(days * 86_400 + 86_399);
        assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
        assert_eq!((civil.hour, civil.minute, civil.second), (23, 59, 59));
        assert_eq!(civil.seconds(), Some(days * 86_400 + 86_399));
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day += 1;
        if day > length {
            (month, day) = (month + 1, 1);
        }
        if month > 12 {
            (year, month) = (year + 1, 1);
        }
    }
    assert_eq!((year, month, day), (10_000, 1, 1));
}

#[test]
fn a_name_that_would_never_be_written_is_none() {
    assert_eq!(start(USUAL, "a/1970-01-01_00-00-01-000000"), Some(1_000_000));
    for name in [
        "a/2023-02-29_00-00-00-000000",
        "a/2024-13-01_00-00-00-000000",
        "a/2024-00-01_00-00-00-000000",
        "a/2024-01-00_00-00-00-000000",
        "a/2024-01-01_24-00-00-000000",
        "a/2024-01-01_00-60-00-000000",
        "a/2024-01-01_00-00-60-000000",
        "a/1969-12-31_23-59-59-000000",
        "a/2024-01-01_00-00-00-00000",
        "a/2024-01-01_00-00-00-0000000",
        "a/2024-01-01_00-00-00-+00001",
        "a/２024-01-01_00-00-00-000000",
        "a/2024-01-01_00-00-00-000000.bak",
        "/2024-01-01_00-00-00-000000",
        "2024-01-01_00-00-00-000000",
        "",
    ] {
        assert_eq!(start(USUAL, name), None, "{name}");
    }
    let twice = "%path/%Y/%Y-%m-%d_%H-%M-%S";
    assert!(start(twice, "a/2024/2024-01-01_00-00-00").is_some());
    assert_eq!(start(twice, "a/2023/2024-01-01_00-00-00"), None);
    assert_eq!(start("%path/%s%z", "a/1700000000+0160"), None);
    assert_eq!(start("%path_%path_%s", "a_b_1700000000"), None);
}

#[test]
fn the_shortest_path_that_fits_is_meant() {
    let found = |text, name| {
        template(text)
            .matches(name, None, |_| 0)
            .map(|found| found.path.to_owned())
    };
    assert_eq!(
        found("%path-%s", "a-1700000000-1800000000").as_deref(),
        Some("a-1700000000")
    );
    assert_eq!(found("%path%s", "cam121700000000").as_deref(), Some("cam12"));
    assert_eq!(
        found(USUAL, "a/b/c/2024-01-01_00-00-00-000000").as_deref(),
        Some("a/b/c")
    );
}

#[test]
fn local_times_are_read_with_the_offset_of_their_day() {
    // Central Europe in 2024: from 01:00 UTC on 31 March until 01:00 UTC on 27 October two hours ahead, else one.
    let (spring, autumn) = (1_711_846_800_000_000, 1_729_990_800_000_000);
    let europe = |at| if (spring..autumn).contains(&at) { 7_200 } else { 3_600 };
    // New York: four hours behind from 07:00 UTC on 10 March until 06:00 UTC on 3 November.
    let (begin, end) = (1_710_054_000_000_000, 1_730_613_600_000_000);
    let america = |at| if (begin..end).contains(&at) { -14_400 } else { -18_000 };
    let hour = 3_600_000_000;
    let read = |time, offset: &dyn Fn(u64) -> i32| {
        let name = template(USUAL).expand("a", time, offset(time));
        template(USUAL).matches(&name, None, offset).unwrap().start
    };
    for minutes in (0..60 * 24 * 366).step_by(7) {
        let time = 1_704_067_200_000_000 + minutes * 60_000_000;
        // Of the hour that clocks show twice.
        let first = (autumn - hour..autumn).contains(&time);
        assert_eq!(read(time, &europe), if first { time + hour } else { time });
        let second = (end..end + hour).contains(&time);
        assert_eq!(read(time, &america), if second { time - hour } else { time });
    }
    // An hour that clocks skip is read, as a time beside it.
    let name = "a/2024-03-31_02-30-00-000000";
    let skipped = template(USUAL).matches(name, None, europe).unwrap().start;
    assert!((spring - hour..spring + hour).contains(&skipped));
}

#[test]
fn names_stay_below_the_directory_whatever_the_path_is_called() {
    for path in [
        "..",
        "../../etc",
        "/etc",
        "a//b",
        "a/../..",
        ".",
        "",
        "a/",
        "a\0b",
        "a\nb",
    ] {
        for text in [USUAL, "%s/%path", "%path%path/%s"] {
            let name = template(text).expand(path, 1_700_000_000_000_000, 0);
            assert!(!name.starts_with('/') && !name.chars().any(char::is_control));
            assert!(
                !name.split('/').any(|segment| matches!(segment, "" | "." | "..")),
                "{name}"
            );
        }
    }
}

#[test]
fn templates_that_tell_too_little_or_lead_out_are_refused() {
    for text in [
        "",
        "%Y-%m-%d_%H-%M-%S",
        "%path",
        "%path/%Y-%m-%d_%H-%M",
        "%path/../%s",
        "../%path/%s",
        "%path/%s/..",
        "%path/\n%s",
        &format!("%path/%s{}", "x".repeat(1_024)),
    ] {
        assert!(Template::parse(text).is_err(), "{text}");
    }
    assert_eq!(template("./%path//x/./%s/"), template("%path/x/%s"));
    assert!(template(USUAL).has_micros() && !template("%path/%s").has_micros());
}

#[test]
fn the_directory_is_what_stands_in_front_of_the_first_variable() {
    for (text, directory, rest) in [
        ("./recordings/%path/%s", "./recordings", "%path/%s"),
        ("/srv/rec/cam-%path/%s", "/srv/rec", "cam-%path/%s"),
        ("../x/%path_%s", "../x", "%path_%s"),
        ("/%path/%s", "/", "%path/%s"),
        ("%path/%s", "", "%path/%s"),
        ("s3://bucket/a/b/%path/%s", "s3://bucket/a/b", "%path/%s"),
        ("s3://bucket/%path/%s", "s3://bucket", "%path/%s"),
        ("s3://%path/%s", "s3://", "%path/%s"),
        ("s3://b-%Y/%path/%s", "s3://", "b-%Y/%path/%s"),
        ("plain/name", "plain", "name"),
        ("s3:", "", "s3:"),
        ("é%path", "", "é%path"),
        ("", "", ""),
    ] {
        assert_eq!(Template::split(text), (directory, rest), "{text}");
    }
}

#[test]
fn the_folder_of_a_path_holds_all_its_files() {
    for (text, folder) in [
        (USUAL, "a/b/"),
        ("x/%path/y/%Y/%s", "x/a/b/y/"),
        ("%path_%s", "a/"),
        ("%Y/%path/%m%d%H%M%S", ""),
    ] {
        let name = template(text).expand("a/b", 1_700_000_000_000_000, 0);
        assert_eq!(template(text).folder("a/b"), folder, "{text}");
        assert!(name.starts_with(folder));
        assert_eq!(template(text).depth("a/b"), name.split('/').count() - 1, "{text}");
    }
}

#[test]
fn the_ending_tells_the_format() {
    assert_eq!(Format::split("a/b.c.mp4"), Some(("a/b.c", Format::Fmp4)));
    assert_eq!(Format::split("a.ts"), Some(("a", Format::MpegTs)));
    for file in ["a", "a.MP4", "a.mp4.trash", "", "mp4"] {
        assert_eq!(Format::split(file), None, "{file}");
    }
}
