//! Users that come from elsewhere than `authInternalUsers`, and what stands open to everybody.

use super::super::{
    Config,
    deprecated::{Credentials, Found},
    error::Origin,
    paths::Matcher,
    schema::{Reader, Value},
    secret::{Credential, Password},
    user::{ANYBODY, Action, Pattern, Permission, User, default_users},
};
use ipnet::IpNet;
use regex::Regex;

/// Adds the users that paths ask for with deprecated keys, in place of the default users.
pub(crate) fn adopt_credentials(config: &mut Config, found: &Found, reader: &mut Reader) {
    let first = found
        .credentials
        .values()
        .chain([&found.default_credentials])
        .flat_map(Credentials::iter)
        .next();
    let Some((key, entry)) = first else { return };
    // Files that spell out the default users and old credentials are common.
    if config.global.auth_internal_users != default_users() {
        let message = "credentials of paths and authInternalUsers exclude each other; move them to authInternalUsers";
        reader.problems.refuse(&entry.origin, *key, message);
        return;
    }
    let administrator = config.global.auth_internal_users.pop();
    config.global.auth_internal_users = administrator.into_iter().collect();
    let named: Vec<&str> = config
        .paths
        .entries()
        .iter()
        .filter(|entry| matches!(entry.matcher, Matcher::Exact(_)))
        .map(|entry| entry.name.as_str())
        .collect();
    let anything = Regex::new("").ok();
    let none = Credentials::new();
    let mut users = Vec::new();
    for entry in config.paths.entries() {
        let own = found.credentials.get(&entry.name).unwrap_or(&none);
        let regex = match &entry.matcher {
            Matcher::Exact(_) => None,
            Matcher::Regex(regex) => Some(regex),
            Matcher::AllOthers => anything.as_ref(),
        };
        let pattern = Pattern::of_entry(&entry.name, regex, &named);
        for (keys, actions) in [
            (["publishUser", "publishPass", "publishIPs"], &[Action::Publish][..]),
            (
                ["readUser", "readPass", "readIPs"],
                &[Action::Read, Action::Playback][..],
            ),
        ] {
            let value = |key: &str| {
                own.get(key)
                    .or_else(|| found.default_credentials.get(key))
                    .map(|entry| &entry.value)
            };
            let [user, pass, ips] = keys.map(value);
            let permission = |action: &Action| Permission {
                action: *action,
                path: pattern.clone(),
            };
            users.push(User {
                user: user
                    .and_then(|node| Credential::read(node, reader))
                    .unwrap_or(Credential::from(ANYBODY)),
                pass: pass
                    .and_then(|node| Password::read(node, reader))
                    .unwrap_or(Password(Credential::empty())),
                ips: ips
                    .and_then(|node| Vec::<IpNet>::read(node, reader))
                    .unwrap_or_default(),
                permissions: actions.iter().map(permission).collect(),
            });
        }
    }
    config.global.auth_internal_users.extend(users);
}

/// One sentence about what everybody may do from everywhere, and how to close it.
pub(crate) fn open_doors(config: &Config) -> Option<String> {
    let everywhere = |user: &&User| user.is_anybody() && user.ips.is_empty();
    let mut open: Vec<&str> = Vec::new();
    for permission in config
        .global
        .auth_internal_users
        .iter()
        .filter(everywhere)
        .flat_map(|user| &user.permissions)
    {
        let listening = match permission.action {
            Action::Publish | Action::Read => true,
            Action::Playback => config.global.playback,
            Action::Api | Action::Plugins => config.global.api,
            Action::Metrics => config.global.metrics,
            Action::Pprof => config.global.pprof,
        };
        if listening && !open.contains(&permission.action.as_str()) {
            open.push(permission.action.as_str());
        }
    }
    let place = match config.tree.locate(&["authInternalUsers"]) {
        Origin::File { line, .. } => format!("authInternalUsers, line {line}"),
        _ => "set authInternalUsers".to_owned(),
    };
    (!open.is_empty()).then(|| {
        format!(
            "anybody may {} without a password, from any address ({place})",
            open.join(", ")
        )
    })
}
