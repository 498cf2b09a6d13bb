//! Which entry of `paths` a path name belongs to.

use std::sync::Arc;

use regex::Regex;

use crate::{PathConfig, PathName};

/// One entry of `paths`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The entry's key as written (`cam1`, `~^cam(\d+)$`, `all_others`).
    pub name: Arc<str>,
    matcher: Matcher,
    /// What holds on the paths of this entry.
    pub config: Arc<PathConfig>,
}

#[derive(Clone, Debug)]
enum Matcher {
    Exact(PathName),
    Pattern(Regex),
    AllOthers,
}

/// Why a key of `paths` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRule {
    /// Neither a name nor a pattern.
    #[error(transparent)]
    Name(#[from] crate::InvalidName),
    /// The text behind `~` is not a regular expression.
    #[error("invalid regular expression: {0}")]
    Pattern(String),
}

impl Rule {
    /// Reads a key of `paths`: a name, `~` and a regular expression, or `all` / `all_others`.
    ///
    /// # Errors
    /// [`InvalidRule`] when the key is none of these.
    pub fn new(key: &str, config: Arc<PathConfig>) -> Result<Rule, InvalidRule> {
        let matcher = match key {
            "all" | "all_others" | "~^.*$" => Matcher::AllOthers,
            _ => match key.strip_prefix('~') {
                Some(pattern) => {
                    Matcher::Pattern(Regex::new(pattern).map_err(|e| InvalidRule::Pattern(e.to_string()))?)
                }
                None => Matcher::Exact(PathName::new(key)?),
            },
        };
        Ok(Rule {
            name: key.into(),
            matcher,
            config,
        })
    }

    /// The path's name when the entry stands for exactly one path.
    pub fn exact(&self) -> Option<&PathName> {
        match &self.matcher {
            Matcher::Exact(name) => Some(name),
            Matcher::Pattern(_) | Matcher::AllOthers => None,
        }
    }
}

/// All entries of `paths`, in lookup order: exact names first, then patterns by their key, `all_others` last.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Sorts the entries into lookup order.
    pub fn new(mut rules: Vec<Rule>) -> Rules {
        let rank = |rule: &Rule| match rule.matcher {
            Matcher::Exact(_) => 0,
            Matcher::Pattern(_) => 1,
            Matcher::AllOthers => 2,
        };
        rules.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
        Rules(rules)
    }

    /// Every entry, in lookup order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The entry that a name belongs to, and what its groups matched: `$G1` is the first.
    pub fn find(&self, name: &PathName) -> Option<(&Rule, Vec<String>)> {
        self.0.iter().find_map(|rule| match &rule.matcher {
            Matcher::Exact(exact) => (exact == name).then(|| (rule, Vec::new())),
            Matcher::AllOthers => Some((rule, Vec::new())),
            Matcher::Pattern(pattern) => pattern.captures(name.as_str()).map(|captures| {
                let groups = captures
                    .iter()
                    .skip(1)
                    .map(|group| group.map_or(String::new(), |m| m.as_str().to_owned()));
                (rule, groups.collect())
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(keys: &[&str]) -> Rules {
        Rules::new(keys.iter().map(|key| Rule::new(key, Arc::default()).unwrap()).collect())
    }

    fn find(rules: &Rules, name: &str) -> Option<(String, Vec<String>)> {
        rules
            .find(&PathName::new(name).unwrap())
            .map(|(rule, groups)| (rule.name.to_string(), groups))
    }

    #[test]
    fn an_exact_name_wins_over_a_pattern_and_a_pattern_over_all_others() {
        let rules = rules(&["all_others", "~^cam", "cam1"]);
        assert_eq!(find(&rules, "cam1").unwrap().0, "cam1");
        assert_eq!(find(&rules, "cam2").unwrap().0, "~^cam");
        assert_eq!(find(&rules, "x").unwrap().0, "all_others");
    }

    #[test]
    fn patterns_are_tried_in_the_order_of_their_keys() {
        let rules = rules(&["~^cam2", "~^cam"]);
        assert_eq!(find(&rules, "cam2").unwrap().0, "~^cam");
    }

    #[test]
    fn groups_are_captured_in_order_and_absent_ones_are_empty() {
        let rules = rules(&["~^(a|b)/(x)?(\\d+)$"]);
        assert_eq!(find(&rules, "b/17").unwrap().1, ["b", "", "17"]);
    }

    #[test]
    fn without_an_entry_nothing_matches() {
        assert_eq!(find(&rules(&["cam1"]), "cam2"), None);
    }

    #[test]
    fn a_broken_pattern_is_an_error() {
        assert!(matches!(Rule::new("~(", Arc::default()), Err(InvalidRule::Pattern(_))));
        assert!(matches!(Rule::new("../x", Arc::default()), Err(InvalidRule::Name(_))));
    }
}
