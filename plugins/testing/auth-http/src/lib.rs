//! An auth plugin that asks a service: `{ url: http://…, timeout: milliseconds }`. It posts `{"action","path","user"}` there and allows on 200; another
//! status denies for good, no answer denies for now and is logged by its name.

use serde::Deserialize;
use std::time::Duration;
use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request};
use wasmtx_plugin::{Error, Plugin, http, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthHttp {
    url: String,
    timeout: Option<u64>,
}

impl Plugin for AuthHttp {
    type Config = Self;

    fn new(config: Self) -> Result<Self, Error> {
        Ok(config)
    }
}

impl Auth for AuthHttp {
    fn check(&mut self, request: Request) -> Decision {
        let mut question = http::Request::post(&self.url).json(&json!({
            "action": request.action.name(),
            "path": request.path,
            "user": request.user,
        }));
        question.timeout = self.timeout.map(Duration::from_millis);
        match question.send() {
            Ok(response) if response.status == 200 => Permit::default().identity("asked").into(),
            Ok(response) => {
                wasmtx_plugin::info!("the service answered {}", response.status);
                Denial::NotAllowed.into()
            }
            Err(error) => {
                wasmtx_plugin::warn!("the service did not answer: {}", error.name());
                Denial::Later.into()
            }
        }
    }
}

wasmtx_plugin::export!(AuthHttp: auth);

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use wasmtx_plugin::Action;
    use wasmtx_plugin::testing::{answer_http, configure, request, take_requests};

    #[test]
    fn the_service_decides() {
        let mut plugin: AuthHttp = configure(r#"{"url":"http://127.0.0.1:1/check","timeout":50}"#).unwrap();
        let mut ask = || plugin.check(request(Action::Publish, "cam1"));
        assert_eq!(ask(), Denial::Later.into(), "nobody is there");
        answer_http(|_| Ok(Response::new(200)));
        assert_eq!(ask(), Permit::default().identity("asked").into());
        answer_http(|_| Ok(Response::new(204)));
        assert_eq!(ask(), Denial::NotAllowed.into());

        let asked = take_requests().pop().unwrap();
        assert_eq!(asked.timeout, Some(Duration::from_millis(50)));
        assert_eq!(asked.body, br#"{"action":"publish","path":"cam1","user":null}"#);
    }
}
