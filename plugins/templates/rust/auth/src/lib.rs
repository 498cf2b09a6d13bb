//! Lets those in who are listed with their password, as themselves.

use std::collections::HashMap;

use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request, verify};
use wasmtx_plugin::{Error, Plugin};

/// The `config` of mediamtx.yml: passwords by name.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Door {
    users: HashMap<String, String>,
}

impl Plugin for Door {
    type Config = Door;

    fn new(door: Door) -> Result<Self, Error> {
        if door.users.is_empty() {
            return Err(Error::invalid("/users", "nobody could come in"));
        }
        Ok(door)
    }
}

impl Auth for Door {
    /// The password itself never comes here: `verify` asks the server whether it was this one.
    fn check(&mut self, _: Request) -> Decision {
        match self.users.iter().find(|(name, password)| verify(name, password)) {
            Some((name, _)) => Permit::default().identity(name).into(),
            None => Denial::Credentials.into(),
        }
    }
}

wasmtx_plugin::export!(Door: auth);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::Action;
    use wasmtx_plugin::testing::{configure, request, set_proof};

    #[test]
    fn who_is_listed_comes_in_with_the_right_password() {
        let mut door: Door = configure(r#"{"users":{"ada":"engine"}}"#).unwrap();
        let mut check = || door.check(request(Action::Read, "hall"));
        assert_eq!(check(), Denial::Credentials.into());
        set_proof("ada", "wrong");
        assert_eq!(check(), Denial::Credentials.into());
        set_proof("ada", "engine");
        assert_eq!(check(), Permit::default().identity("ada").into());
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert!(configure::<Door>(r#"{"users":{}}"#).is_err());
    }
}
