//! Text that means harm, or no sense at all. The time bounds of a test runner are the only clock here.

use super::{
    shipped::{SHIPPED, uncommented},
    *,
};

#[test]
fn the_shipped_file_cut_anywhere_is_read_or_refused() {
    // Within prose a cut changes nothing: it is left out, and the settings in comments are switched on.
    let settings = uncommented();
    let text: String = settings
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        let _ = parse(&text[..at], &[]);
    }
}

/// A small generator of numbers, the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

#[test]
fn the_shipped_file_with_anything_changed_is_read_or_refused() {
    let alphabet: Vec<char> = "\n\t :-#&*?|>%@`'\"[]{},<!~$.\\/0aé\u{0}\u{7f}\u{feff}\u{2028}"
        .chars()
        .collect();
    let lines: Vec<&str> = SHIPPED
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let mut numbers = Numbers(42);
    for _ in 0..1_500 {
        let from = numbers.below(lines.len());
        let mut text: Vec<char> = lines[from..(from + 40).min(lines.len())].join("\n").chars().collect();
        for _ in 0..=numbers.below(6) {
            let at = numbers.below(text.len());
            match numbers.below(4) {
                0 => text.insert(at, alphabet[numbers.below(alphabet.len())]),
                1 if !text.is_empty() => drop(text.remove(at)),
                2 if !text.is_empty() => text[at] = alphabet[numbers.below(alphabet.len())],
                _ => text
                    .splice(at..at, lines[numbers.below(lines.len())].chars().chain(['\n']))
                    .for_each(drop),
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(config) = parse(&text, &[]) {
            let _ = (config.global_json(), config.path_defaults_json());
        }
    }
}

#[test]
fn a_bomb_of_aliases_is_refused_before_it_is_unfolded() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for i in 1..30 {
        let below = vec![format!("*a{}", i - 1); 9].join(",");
        text += &format!("a{i}: &a{i} [{below}]\n");
    }
    assert!(
        complaints(&text).contains("more than 2000000 values"),
        "{}",
        complaints(&text)
    );
}

#[test]
fn nested_anchors_do_not_multiply() {
    let wide = vec!["x"; 200_000].join(",");
    let mut text = String::new();
    for i in 0..30 {
        text += &format!("{}- &a{i}\n", "  ".repeat(i));
    }
    let text = format!("{text}{}[{wide}]\n", "  ".repeat(31));
    assert!(
        complaints(&text).contains("more than 2000000 values"),
        "{}",
        complaints(&text)
    );
}

#[test]
fn aliases_are_counted() {
    let text = format!("a: &a x\nb: [{}]\n", vec!["*a"; 1_001].join(","));
    assert!(complaints(&text).contains("more than 1000 aliases"));
    let inside = "a: &a [1, *a]\n";
    assert!(complaints(inside).contains("alias"), "{}", complaints(inside));
}

#[test]
fn depth_is_bounded() {
    let flow = "paths: ".to_owned() + &"[".repeat(100_000);
    let block: String = (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    let dashes = "- ".repeat(50_000);
    for text in [flow, block, dashes] {
        let complaints = complaints(&text);
        assert!(
            complaints.lines().count() == 1 && complaints.starts_with("line "),
            "{complaints}"
        );
    }
    assert!(
        complaints(&format!(
            "plugins: {{a: {{config: {}1{}}}}}",
            "[".repeat(30),
            "]".repeat(30)
        ))
        .contains("deeper than 32")
    );
    accepted(&format!(
        "plugins: {{a: {{file: x, config: {}1{}}}}}",
        "[".repeat(28),
        "]".repeat(28)
    ));
}

#[test]
fn size_and_number_are_bounded() {
    let long = format!("logFile: \"{}\"\n", "x".repeat(yaml::MAX_TEXT));
    assert!(complaints(&long).contains("at most 16777216 are read"));
    let many = format!("rtspTransports: [{}]\n", vec!["1"; 2_100_000].join(","));
    assert!(complaints(&many).contains("more than 2000000 values"));
}

#[test]
fn many_paths_are_no_problem() {
    let text: String = "paths:\n".to_owned()
        + &(0..20_000)
            .map(|i| format!("  cam{i}: {{maxReaders: 1}}\n"))
            .collect::<String>();
    assert_eq!(accepted(&text).paths.entries().len(), 20_000);
}

#[test]
fn things_that_are_no_configuration_are_refused() {
    for text in [
        "[]",
        "just text",
        "3",
        "- a\n- b\n",
        "? [a]\n: b\n",
        "a: 1\n---\nb: 2\n",
        "rtsp: !!binary yes\nx: !custom y",
        "\u{0}",
    ] {
        let _ = complaints(text);
    }
    assert!(complaints("a: 1\n---\nb: 2\n").contains("a second one begins"));
    assert!(complaints("logFile: !run x\n").contains("the tag `!run` means nothing here"));
}
