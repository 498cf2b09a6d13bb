//! Decides by the client's address: rules in order, each for some addresses, actions and paths. See README.md.

mod network;

use std::net::IpAddr;

use network::Network;
use serde::Deserialize;
use wasmtx_plugin::auth::{Auth, Decision, Denial, Request};
use wasmtx_plugin::{Action, Error, Pattern, Plugin, metrics};

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The first that fits decides.
    rules: Vec<Rule>,
    /// What happens when none fits.
    #[serde(default)]
    otherwise: Verdict,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// None: from anywhere.
    from: Option<Vec<Network>>,
    /// None: whatever they want.
    actions: Option<Vec<Action>>,
    /// None: wherever.
    paths: Option<Vec<Pattern>>,
    then: Verdict,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// Others decide: the next plugin or the configured users.
    #[default]
    Next,
    /// Comes in, and nobody else is asked.
    Allow,
    Deny,
}

struct IpRules {
    config: Config,
}

impl Plugin for IpRules {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        for (number, rule) in config.rules.iter().enumerate() {
            // An empty list fits nobody, and whoever writes one means everybody.
            let lists = [
                ("from", rule.from.as_ref().map(Vec::len)),
                ("actions", rule.actions.as_ref().map(Vec::len)),
                ("paths", rule.paths.as_ref().map(Vec::len)),
            ];
            if let Some((key, _)) = lists.iter().find(|(_, entries)| *entries == Some(0)) {
                return Err(Error::invalid(
                    format!("/rules/{number}/{key}"),
                    "an empty list fits nothing; leave it out to fit everything",
                ));
            }
        }
        Ok(Self { config })
    }
}

impl Auth for IpRules {
    fn check(&mut self, request: Request) -> Decision {
        let address = request.client.address.parse().ok();
        let rule = self.config.rules.iter().find(|rule| rule.fits(address, &request));
        match rule.map_or(self.config.otherwise, |rule| rule.then) {
            Verdict::Next => Decision::Abstain,
            Verdict::Allow => Decision::allow(),
            Verdict::Deny => {
                metrics::counter("denied", 1);
                Denial::NotAllowed.into()
            }
        }
    }
}

impl Rule {
    /// An address that cannot be read is in no range.
    fn fits(&self, address: Option<IpAddr>, request: &Request) -> bool {
        let from = |networks: &Vec<Network>| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
        };
        let about = |patterns: &Vec<Pattern>| patterns.iter().any(|pattern| pattern.matches(&request.path));
        self.from.as_ref().is_none_or(from)
            && self
                .actions
                .as_ref()
                .is_none_or(|actions| actions.contains(&request.action))
            && self.paths.as_ref().is_none_or(about)
    }
}

wasmtx_plugin::export!(IpRules: auth);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{configure, request};

    fn ask(plugin: &mut IpRules, address: &str, action: Action, path: &str) -> Decision {
        let mut request = request(action, path);
        request.client.address = address.into();
        plugin.check(request)
    }

    #[track_caller]
    fn check(config: &str, cases: &[(&str, Action, &str, Decision)]) {
        let mut plugin: IpRules = configure(config).unwrap();
        for (address, action, path, expected) in cases {
            let found = ask(&mut plugin, address, *action, path);
            assert_eq!(found, *expected, "{address} {} {path}", action.name());
        }
    }

    fn denied() -> Decision {
        Denial::NotAllowed.into()
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        check(
            r#"{"rules":[
                {"from":["10.9.0.0/16"],"then":"deny"},
                {"from":["10.0.0.0/8","::1"],"then":"allow"}
            ]}"#,
            &[
                ("10.9.1.1", Action::Read, "cam1", denied()),
                ("10.8.1.1", Action::Read, "cam1", Decision::allow()),
                ("::ffff:10.9.1.1", Action::Read, "cam1", denied()),
                ("::1", Action::Publish, "cam1", Decision::allow()),
                ("192.0.2.1", Action::Read, "cam1", Decision::Abstain),
            ],
        );
    }

    #[test]
    fn a_rule_fits_by_action_and_path_too() {
        check(
            r#"{"rules":[
                {"from":["10.0.0.0/8"],"actions":["publish"],"paths":["lobby","~^cam[0-9]+$"],"then":"next"},
                {"actions":["publish"],"then":"deny"}
            ]}"#,
            &[
                ("10.1.1.1", Action::Publish, "cam7", Decision::Abstain),
                ("10.1.1.1", Action::Publish, "lobby", Decision::Abstain),
                ("10.1.1.1", Action::Publish, "hall", denied()),
                ("192.0.2.1", Action::Publish, "cam7", denied()),
                ("192.0.2.1", Action::Read, "cam7", Decision::Abstain),
            ],
        );
    }

    #[test]
    fn nobody_else_comes_in_when_that_is_said() {
        check(
            r#"{"rules":[{"from":["127.0.0.1"],"then":"next"}],"otherwise":"deny"}"#,
            &[
                ("127.0.0.1", Action::Api, "", Decision::Abstain),
                ("127.0.0.2", Action::Api, "", denied()),
                ("", Action::Read, "cam1", denied()),
                ("no address", Action::Read, "cam1", denied()),
            ],
        );
    }

    #[test]
    fn an_address_that_cannot_be_read_is_in_no_range() {
        check(
            r#"{"rules":[{"from":["0.0.0.0/0","::/0"],"then":"allow"}]}"#,
            &[
                ("pipe", Action::Read, "cam1", Decision::Abstain),
                ("1.2.3.4", Action::Read, "cam1", Decision::allow()),
            ],
        );
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            ("{}", ""),
            (
                r#"{"rules":[{"then":"deny","from":["10.0.0.0/33"]}]}"#,
                "/rules/0/from/0",
            ),
            (r#"{"rules":[{"then":"deny","from":[]}]}"#, "/rules/0/from"),
            (
                r#"{"rules":[{"then":"deny"},{"then":"deny","paths":["~("]}]}"#,
                "/rules/1/paths/0",
            ),
            (
                r#"{"rules":[{"then":"deny","actions":["watch"]}]}"#,
                "/rules/0/actions/0",
            ),
            (r#"{"rules":[{"then":"drop"}]}"#, "/rules/0/then"),
            (r#"{"rules":[{"from":["::1"]}]}"#, "/rules/0"),
            (r#"{"rules":[],"default":"deny"}"#, "/default"),
        ] {
            match configure::<IpRules>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
