//! "Did you mean": the nearest of the words that would have been right.

/// Words longer than this are not compared: the cost grows with the square of the length.
const MAX_WORD: usize = 64;

/// The candidate nearest to `word`, when one is near enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let lower = word.to_lowercase();
    let slips = 1 + word.chars().count() / 4;
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= slips && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours cost one each.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let mut cost = (above[j] + usize::from(left != right))
                .min(above[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = above;
        above = row;
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_find_their_word() {
        let words = ["source", "sourceOnDemand", "record", "rtspAddress"];
        for (word, meant) in [
            ("sorce", "source"),
            ("soucre", "source"),
            ("RTSPADDRESS", "rtspAddress"),
            ("rtspAdress", "rtspAddress"),
        ] {
            assert_eq!(nearest(word, words), Some(meant), "{word}");
        }
    }

    #[test]
    fn something_else_entirely_finds_nothing() {
        for word in ["", "x", "bananas", &"source".repeat(100)] {
            assert_eq!(nearest(word, ["source", "record", "no"]), None, "{word}");
        }
    }
}
