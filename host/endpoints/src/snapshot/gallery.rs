//! The newest picture of each path, made when somebody asks for it and kept while it is the newest.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtx_hub::{Entry, Hub, PathName, Publication};
use wasmtx_media::{Codec, Kind};

use crate::codec::{Keyframe, NoPicture, Pictures};

/// A request waits for so long, for the first keyframe of a stream and for whoever decodes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Paths whose newest picture is kept. One more takes the place of one that nobody waits for.
const PATHS: usize = 64;
/// Widths in which a picture is kept; the newest are.
const WIDTHS: usize = 2;
/// Bytes of a picture that is kept: with the two numbers above, 64 MiB at most.
const KEPT_LEN: usize = 512 << 10;

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSnapshot {
    /// Nobody publishes there.
    #[error("nothing is published on this path")]
    Offline,
    /// The stream has no picture, only these tracks.
    #[error("the stream has no video: its tracks are {0}")]
    NoVideo(String),
    /// No keyframe came in time, or it was not decoded in time.
    #[error("there is no picture yet")]
    TooLate,
    /// This server has no decoders.
    #[error("this wasmtx was built without FFmpeg, which snapshots need")]
    NotBuilt,
    /// The keyframe did not become a picture.
    #[error(transparent)]
    Picture(NoPicture),
}

/// The pictures of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gallery(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pictures: Option<Pictures>,
    easels: Mutex<HashMap<PathName, Arc<Easel>>>,
}

/// The place of one path: who holds the lock makes the picture, the others wait for it.
type Easel = tokio::sync::Mutex<Shown>;

/// What was made of one keyframe, also nothing: a hostile one is decoded once.
#[derive(Debug, Default)]
struct Shown {
    publication: Weak<Publication>,
    index: u64,
    made: Vec<(u16, Result<Bytes, NoPicture>)>,
}

impl Gallery {
    /// `None` where nothing decodes: M-JPEG is shown nevertheless.
    pub fn new(pictures: Option<Pictures>) -> Gallery {
        Gallery(Arc::new(Shared {
            pictures,
            easels: Mutex::default(),
        }))
    }

    /// The newest keyframe on `path` as JPEG, `width` pixels wide where it has more; 0: as it is. Waits for the first one of a
    /// stream, and for those who ask the same.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn snapshot(&self, hub: &Hub, path: &PathName, width: u16) -> Result<Bytes, NoSnapshot> {
        let publication = hub.path(path).and_then(|path| path.publication());
        let publication = publication.ok_or(NoSnapshot::Offline)?;
        let shown = async {
            let entry = keyframe(&publication).await?;
            self.show(path, &publication, &entry, width).await
        };
        tokio::time::timeout(PATIENCE, shown)
            .await
            .unwrap_or(Err(NoSnapshot::TooLate))
    }

    async fn show(
        &self,
        path: &PathName,
        publication: &Arc<Publication>,
        entry: &Entry,
        width: u16,
    ) -> Result<Bytes, NoSnapshot> {
        let codec = match entry.tracks.get(entry.slot) {
            Some(track) => track.codec.clone(),
            None => return Err(NoSnapshot::TooLate),
        };
        let payload = || Bytes::clone(&entry.frame.payload);
        if codec == Codec::Mjpeg && width == 0 {
            return Ok(payload());
        }
        let Some(pictures) = &self.0.pictures else {
            return Err(NoSnapshot::NotBuilt);
        };
        let easel = self.easel(path);
        let mut shown = easel.lock().await;
        if !shown.is_of(publication, entry) {
            *shown = Shown {
                publication: Arc::downgrade(publication),
                index: entry.index,
                made: Vec::new(),
            };
        }
        if let Some((_, made)) = shown.made.iter().find(|(made, _)| *made == width) {
            return made.clone().map_err(NoSnapshot::Picture);
        }
        let keyframe = Keyframe {
            codec,
            payload: payload(),
        };
        let made = pictures.jpeg(keyframe, width).await;
        let is_kept = match &made {
            Ok(jpeg) => jpeg.len() <= KEPT_LEN,
            Err(NoPicture::Busy | NoPicture::Missing(_)) => false,
            Err(_) => true,
        };
        if is_kept {
            if shown.made.len() >= WIDTHS {
                drop(shown.made.remove(0));
            }
            shown.made.push((width, made.clone()));
        }
        made.map_err(NoSnapshot::Picture)
    }

    fn easel(&self, path: &PathName) -> Arc<Easel> {
        let mut easels = self.0.easels.lock();
        if easels.len() >= PATHS && !easels.contains_key(path) {
            let idle = |easel: &Arc<Easel>| Arc::strong_count(easel) == 1;
            let name = easels
                .iter()
                .find(|(_, easel)| idle(easel))
                .map(|(name, _)| name.clone());
            name.and_then(|name| easels.remove(&name));
        }
        if easels.len() >= PATHS && !easels.contains_key(path) {
            // Somebody waits at each of them: this one is not kept.
            return Arc::default();
        }
        easels.entry(path.clone()).or_default().clone()
    }
}

impl Shown {
    /// Whether this was made of `entry`, or of a newer one: whoever waited does not go back.
    fn is_of(&self, publication: &Arc<Publication>, entry: &Entry) -> bool {
        std::ptr::eq(self.publication.as_ptr(), Arc::as_ptr(publication)) && self.index >= entry.index
    }
}

/// The newest keyframe, or the first to come.
async fn keyframe(publication: &Publication) -> Result<Arc<Entry>, NoSnapshot> {
    let tracks = publication.tracks();
    if !tracks.iter().any(|track| track.kind == Kind::Video) {
        let names: Vec<_> = tracks.iter().map(|track| track.codec.name()).collect();
        return Err(NoSnapshot::NoVideo(names.join(", ")));
    }
    let mut news = publication.follow();
    loop {
        if let Some(entry) = publication.newest_keyframe() {
            return Ok(entry);
        }
        if publication.ended().is_some() {
            return Err(NoSnapshot::Offline);
        }
        news.wait().await;
    }
}
