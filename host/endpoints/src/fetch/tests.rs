//! Against servers that say what a test wants. The same against a real registry: `tests/e2e/sources.rs`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

use axum::{Router, extract::State, response::IntoResponse};
use parking_lot::Mutex;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

/// Stands for a component: nothing here looks into it.
const COMPONENT: &[u8] = b"\0asm component";

/// A state directory of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmtx-fetch-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(&self.0)
    }

    fn stored(&self, digest: Digest) -> PathBuf {
        self.0.join("plugins/sha256").join(digest.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server with these files, which counts what it is asked for.
#[derive(Clone, Default)]
struct Site {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
}

impl Site {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(Site::answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address.to_string()
    }

    async fn answer(State(site): State<Site>, uri: http::Uri) -> axum::response::Response {
        site.asked.fetch_add(1, Relaxed);
        let file = site.files.lock().get(uri.path()).cloned();
        file.map_or(StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
    }

    fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.files.lock().insert(path.to_owned(), content.into());
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// An artifact of one layer, under its digest and a tag; answers the digest.
    fn put_artifact(&self, layer: &[u8], annotations: serde_json::Value) -> Digest {
        let described = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": format!("sha256:{}", Digest::of(bytes)), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("application/vnd.wasm.config.v0+json", b"{}"),
            "layers": [described("application/wasm", layer)],
            "annotations": annotations,
        });
        self.put(&format!("/v2/team/door/blobs/sha256:{}", Digest::of(layer)), layer);
        self.put_manifest(&manifest)
    }

    fn put_manifest(&self, manifest: &serde_json::Value) -> Digest {
        let manifest = manifest.to_string();
        let digest = Digest::of(manifest.as_bytes());
        self.put(&format!("/v2/team/door/manifests/sha256:{digest}"), manifest.as_bytes());
        self.put("/v2/team/door/manifests/1.0", manifest);
        self.put("/v2/", "{}");
        digest
    }
}

fn wanted(origin: &str) -> Wanted {
    Wanted {
        origin: origin.parse().unwrap(),
        sha256: None,
        key: None,
    }
}

fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let key = PublicKey(pair.public_key().as_ref().try_into().unwrap());
    (pair, key)
}

fn base64(signature: ring::signature::Signature) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(signature)
}

#[tokio::test]
async fn a_file_is_fetched_once_and_kept() {
    let (folder, site) = (Folder::new(), Site::default());
    site.put("/door.wasm", COMPONENT);
    let mut door = wanted(&format!("http://{}/door.wasm", site.start().await));
    door.sha256 = Some(Digest::of(COMPONENT));
    let fetched = folder.fetcher().fetch(&door).await.unwrap();
    assert_eq!(fs::read(&fetched.file).unwrap(), COMPONENT);
    assert_eq!(fetched.file, folder.stored(Digest::of(COMPONENT)));
    let mode = fs::metadata(&fetched.file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // A server that is gone, or has something else by now, changes nothing.
    site.put("/door.wasm", "another");
    assert_eq!(folder.fetcher().fetch(&door).await.unwrap(), fetched);
    assert_eq!(site.asked(), 1);
    // A damaged copy is no copy.
    fs::write(&fetched.file, "damaged").unwrap();
    let error = folder.fetcher().fetch(&door).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    site.put("/door.wasm", COMPONENT);
    folder.fetcher().fetch(&door).await.unwrap();
    assert_eq!(fs::read(&fetched.file).unwrap(), COMPONENT);
}

#[tokio::test]
async fn nothing_is_taken_without_a_digest() {
    let (folder, site) = (Folder::new(), Site::default());
    site.put("/door.wasm", COMPONENT);
    site.put_artifact(COMPONENT, json!({}));
    let address = site.start().await;
    for origin in [
        format!("http://{address}/door.wasm"),
        format!("oci://{address}/team/door:1.0"),
    ] {
        let error = folder.fetcher().fetch(&wanted(&origin)).await.unwrap_err();
        assert!(matches!(error, Error::Unpinned), "{error}");
    }
    assert_eq!(site.asked(), 0);
}

#[tokio::test]
async fn something_else_is_not_taken_and_not_kept() {
    let (folder, site) = (Folder::new(), Site::default());
    site.put("/door.wasm", "another");
    site.put("/large.wasm", vec![0; COMPONENT_BYTES + 1]);
    let address = site.start().await;
    for (path, expected) in [
        ("door.wasm", "expected"),
        ("large.wasm", "larger"),
        ("none.wasm", "404"),
    ] {
        let mut wanted = wanted(&format!("http://{address}/{path}"));
        wanted.sha256 = Some(Digest::of(COMPONENT));
        let error = folder.fetcher().fetch(&wanted).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(!folder.0.exists());
}

#[tokio::test]
async fn what_a_file_now_is_can_be_asked_for() {
    let (folder, site) = (Folder::new(), Site::default());
    site.put("/door.wasm", COMPONENT);
    let mut door = wanted(&format!("http://{}/door.wasm", site.start().await));
    assert_eq!(
        folder.fetcher().resolve(&door).await.unwrap().sha256,
        Digest::of(COMPONENT)
    );
    site.put("/door.wasm", "another");
    assert_eq!(
        folder.fetcher().resolve(&door).await.unwrap().sha256,
        Digest::of(b"another")
    );
    door.sha256 = Some(Digest::of(COMPONENT));
    let error = folder.fetcher().resolve(&door).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn with_a_key_only_what_it_signed_counts() {
    let (folder, site) = (Folder::new(), Site::default());
    let ((ours, key), (theirs, other)) = (pair(1), pair(2));
    site.put("/door.wasm", COMPONENT);
    let mut door = wanted(&format!("http://{}/door.wasm", site.start().await));
    (door.sha256, door.key) = (Some(Digest::of(COMPONENT)), Some(key));
    let error = folder.fetcher().fetch(&door).await.unwrap_err();
    assert!(matches!(error, Error::Unsigned), "{error}");
    for wrong in [
        theirs.sign(COMPONENT).as_ref().to_vec(),
        ours.sign(b"another").as_ref().to_vec(),
        vec![],
        vec![0; 64],
        b"no signature".to_vec(),
    ] {
        site.put("/door.wasm.sig", wrong);
        let error = folder.fetcher().fetch(&door).await.unwrap_err();
        assert!(matches!(error, Error::Signature), "{error}");
    }
    assert!(!folder.stored(Digest::of(COMPONENT)).exists());

    site.put("/door.wasm.sig", format!("{}\n", base64(ours.sign(COMPONENT))));
    folder.fetcher().fetch(&door).await.unwrap();
    site.put("/door.wasm.sig", "");
    // The copy came with its signature.
    folder.fetcher().fetch(&door).await.unwrap();
    // It is no copy for who wants another one, nor without it.
    door.key = Some(other);
    assert!(folder.fetcher().fetch(&door).await.is_err());
    door.key = Some(key);
    fs::remove_file(folder.stored(Digest::of(COMPONENT)).with_extension("sig")).unwrap();
    assert!(folder.fetcher().fetch(&door).await.is_err());
}

#[tokio::test]
async fn an_artifact_is_fetched_by_its_digest_and_kept() {
    let (folder, site) = (Folder::new(), Site::default());
    let digest = site.put_artifact(COMPONENT, json!({}));
    let address = site.start().await;
    let tag = wanted(&format!("oci://{address}/team/door:1.0"));
    let resolved = folder.fetcher().resolve(&tag).await.unwrap();
    assert_eq!(
        resolved.origin.to_string(),
        format!("oci://{address}/team/door:1.0@sha256:{digest}")
    );
    assert_eq!(resolved.sha256, Digest::of(COMPONENT));
    assert_eq!(fs::read(&resolved.file).unwrap(), COMPONENT);
    let asked = site.asked();
    site.files.lock().clear();
    let by_digest = wanted(&format!("oci://{address}/team/door@sha256:{digest}"));
    assert_eq!(folder.fetcher().fetch(&by_digest).await.unwrap().file, resolved.file);
    assert_eq!(site.asked(), asked);
}

#[tokio::test]
async fn a_registry_that_lies_is_not_believed() {
    let (folder, site) = (Folder::new(), Site::default());
    let digest = site.put_artifact(COMPONENT, json!({}));
    let address = site.start().await;
    let door = wanted(&format!("oci://{address}/team/door@sha256:{digest}"));
    let fails = async |what: &str| {
        let error = folder.fetcher().fetch(&door).await.unwrap_err();
        assert!(!folder.stored(Digest::of(COMPONENT)).exists(), "{what}: {error}");
    };
    let layer = format!("/v2/team/door/blobs/sha256:{}", Digest::of(COMPONENT));
    site.put(&layer, "another");
    fails("another layer").await;
    site.put(&layer, vec![0; COMPONENT_BYTES + 1]);
    fails("a large layer").await;
    site.put(&layer, COMPONENT);
    let manifest = format!("/v2/team/door/manifests/sha256:{digest}");
    site.put(&manifest, "{}");
    fails("another manifest").await;
    site.files.lock().remove(&manifest);
    fails("no manifest").await;
    let mut other = door.clone();
    other.sha256 = Some(Digest::of(b"another"));
    site.put_artifact(COMPONENT, json!({}));
    let error = folder.fetcher().fetch(&other).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_of_something_else_is_said_to_be_one() {
    let (folder, site) = (Folder::new(), Site::default());
    let address = site.start().await;
    let digest = Digest::of(COMPONENT);
    let layer = |kind: &str| json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": 14});
    let manifest =
        |layers: serde_json::Value| json!({"schemaVersion": 2, "config": layer("application/json"), "layers": layers});
    let wasm = layer("application/wasm");
    let mut large = wasm.clone();
    large["size"] = json!(COMPONENT_BYTES + 1);
    let mut negative = wasm.clone();
    negative["size"] = json!(-1);
    let mut sha512 = wasm.clone();
    sha512["digest"] = json!(format!("sha512:{digest}{digest}"));
    for (manifest, expected) in [
        (json!({"manifests": []}), "no image manifest"),
        (json!([[[]]]), "no image manifest"),
        (manifest(json!([])), "no layer of type application/wasm"),
        (
            manifest(json!([layer("application/vnd.oci.image.layer.v1.tar")])),
            "no layer of type",
        ),
        (manifest(json!([wasm, wasm])), "more than one"),
        (manifest(json!([large])), "larger"),
        (manifest(json!([negative])), "larger"),
        (manifest(json!([sha512])), "no SHA-256"),
    ] {
        let digest = site.put_manifest(&manifest);
        let door = wanted(&format!("oci://{address}/team/door@sha256:{digest}"));
        let error = folder.fetcher().fetch(&door).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_artifact_is_signed_by_an_annotation() {
    let (folder, site) = (Folder::new(), Site::default());
    let ((ours, key), (theirs, _)) = (pair(1), pair(2));
    let address = site.start().await;
    for (annotations, good) in [
        (json!({}), false),
        (json!({ SIGNATURE: base64(theirs.sign(COMPONENT)) }), false),
        (json!({ SIGNATURE: "" }), false),
        (json!({ SIGNATURE: base64(ours.sign(COMPONENT)) }), true),
    ] {
        let digest = site.put_artifact(COMPONENT, annotations);
        let mut door = wanted(&format!("oci://{address}/team/door@sha256:{digest}"));
        door.key = Some(key);
        let fetched = folder.fetcher().fetch(&door).await;
        assert_eq!(fetched.is_ok(), good, "{fetched:?}");
    }
}
