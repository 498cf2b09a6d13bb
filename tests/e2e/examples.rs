//! The examples do what their pages say.

use std::{fs, path::Path};

use crate::harness::{Folder, Publisher, Reader, Server, made_up, plugin};

/// Starts a server with an example's own configuration, its plugin where the configuration looks for it.
fn serve(example: &str) -> Server {
    let folder = Folder::new();
    let plugins = folder.file("target").join("plugins");
    fs::create_dir_all(&plugins).expect("a folder of the test");
    let file = plugin(example);
    fs::copy(&file, plugins.join(file.file_name().expect("a file"))).expect("a plugin");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let yaml = root
        .expect("the root of the sources")
        .join("examples")
        .join(example)
        .join("mediamtx.yml");
    Server::start_in(folder, &fs::read_to_string(yaml).expect("a configuration"), &[])
}

#[test]
fn custom_auth_lets_guests_watch_and_nobody_else() {
    let server = serve("custom-auth");
    let address = server.address("rtspAddress");
    let mut publisher = Publisher::vp8(&server, "hall");
    publisher.send_all(&made_up(1, 1, 100));
    for guest in [("ada", "engine"), ("grace", "compiler")] {
        let reader = Reader::open(address, "hall", Some(guest)).expect("a guest may watch");
        reader.until(0, 1);
    }
    for stranger in [None, Some(("ada", "compiler")), Some(("alan", "engine"))] {
        let refusal = Reader::open(address, "hall", stranger)
            .err()
            .expect("a stranger may not watch");
        assert!(refusal.contains("401"), "{refusal}");
    }
}
