//! Who may come in, in ten lines: what runs on this machine publishes, guests with a password watch, nobody does anything else.

use std::collections::HashMap;
use std::net::IpAddr;

use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request, verify};
use wasmtx_plugin::{Action, Error, Plugin};

/// The `config` of mediamtx.yml.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Door {
    guests: HashMap<String, String>,
}

impl Plugin for Door {
    type Config = Door;

    fn new(door: Door) -> Result<Self, Error> {
        Ok(door)
    }
}

impl Auth for Door {
    fn check(&mut self, request: Request) -> Decision {
        let at_home = request
            .client
            .address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
        let guest = self.guests.iter().find(|(name, password)| verify(name, password));
        match (request.action, guest) {
            (Action::Publish, _) if at_home => Decision::allow(),
            (Action::Read, Some((name, _))) => Permit::default().identity(name).into(),
            (Action::Read, None) => Denial::Credentials.into(),
            _ => Denial::NotAllowed.into(),
        }
    }
}

wasmtx_plugin::export!(Door: auth);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{configure, request, set_proof};

    #[test]
    fn guests_watch_and_this_machine_publishes() {
        let mut door: Door = configure(r#"{"guests":{"ada":"engine"}}"#).unwrap();
        assert_eq!(door.check(request(Action::Read, "hall")), Denial::Credentials.into());
        set_proof("ada", "engine");
        assert_eq!(
            door.check(request(Action::Read, "hall")),
            Permit::default().identity("ada").into()
        );

        let mut publish = request(Action::Publish, "hall");
        assert_eq!(door.check(publish.clone()), Denial::NotAllowed.into());
        publish.client.address = "127.0.0.1".into();
        assert_eq!(door.check(publish), Decision::allow());
    }
}
