//! Knows cameras by name: `camera/door` is fetched from the door's address once somebody wants to see it.

use std::collections::HashMap;

use wasmtx_plugin::resolver::{Answer, Resolver};
use wasmtx_plugin::{Client, Error, Plugin};

/// The `config` of mediamtx.yml: URLs by name.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Cameras {
    cameras: HashMap<String, String>,
}

impl Plugin for Cameras {
    type Config = Cameras;

    fn new(cameras: Cameras) -> Result<Self, Error> {
        Ok(cameras)
    }
}

impl Resolver for Cameras {
    fn resolve(&mut self, path: String, _: Client) -> Answer {
        let name = path.strip_prefix("camera/");
        match name.and_then(|name| self.cameras.get(name)) {
            Some(url) => Answer::source(url),
            None => Answer::Nothing,
        }
    }
}

wasmtx_plugin::export!(Cameras: resolver);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{client, configure};

    #[test]
    fn a_camera_is_found_by_its_name() {
        let mut cameras: Cameras = configure(r#"{"cameras":{"door":"rtsp://192.0.2.10/stream1"}}"#).unwrap();
        let mut resolve = |path: &str| cameras.resolve(path.into(), client());
        assert_eq!(resolve("camera/door"), Answer::source("rtsp://192.0.2.10/stream1"));
        assert_eq!(resolve("camera/gate"), Answer::Nothing);
        assert_eq!(resolve("door"), Answer::Nothing);
    }
}
