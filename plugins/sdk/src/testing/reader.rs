//! A stream read by one sink, as the server runs it: interests, batches with or without bytes, and the swap.

use super::stream::{Shown, described};
use crate::sink::{Item, Sink, Wants};
use crate::{CloseReason, Error, FrameInfo, Held, Publication, host};

/// A sink at its place in a stream.
#[derive(Debug)]
pub struct Reader<S> {
    sink: S,
    publication: Publication,
    bytes: bool,
    shown: Shown,
}

impl<S: Sink> Reader<S> {
    /// The stream starts.
    pub fn open(mut sink: S, publication: Publication) -> Result<Self, Error> {
        let Wants { interests, bytes } = sink.open(publication.clone())?;
        Ok(Self {
            sink,
            publication,
            bytes,
            shown: Shown::new(interests),
        })
    }

    /// These frames came since the last batch. The sink is given those that it asked for in one call, or is not called if there are none.
    pub fn push<'a>(&mut self, frames: impl IntoIterator<Item = (FrameInfo, &'a [u8])>) -> Result<(), Error> {
        let frames = frames
            .into_iter()
            .map(|(info, payload)| (described(info, payload), payload))
            .filter(|(info, _)| self.shown.wants(info))
            .collect::<Vec<_>>();
        if frames.is_empty() {
            return Ok(());
        }
        if !self.bytes {
            return self.sink.infos(frames.into_iter().map(|(info, _)| info).collect());
        }
        let item = |(info, payload)| Item {
            info,
            data: Held(host::Held::new(payload)),
        };
        self.sink.frames(frames.into_iter().map(item).collect())
    }

    /// How many frames the sink was given.
    pub fn shown(&self) -> u64 {
        self.shown.count()
    }

    /// The sink, to look at.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Puts another instance in the place of this one, as when the plugin's file changed: opened, given the saved state, the old one closed. The old one
    /// stays where it was if `open` or `restore` fails, but for [`Error::Unsupported`].
    pub fn replace(&mut self, mut sink: S) -> Result<(), Error> {
        let Wants { interests, bytes } = sink.open(self.publication.clone())?;
        super::stream::hand_over(&self.sink, &mut sink)?;
        self.sink.close(CloseReason::Reload);
        self.sink = sink;
        self.bytes = bytes;
        self.shown.renew(interests);
        Ok(())
    }

    /// Takes the sink away from the stream without telling it. [`open`](Self::open) with other tracks is then what a server does when those of the
    /// stream change.
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// The stream ends. Returns the sink, to look at.
    pub fn close(mut self, reason: CloseReason) -> S {
        self.sink.close(reason);
        self.sink
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Interest, Wants};
    use crate::testing::{configure, delta, h264, key, opus, publication, take_log};
    use crate::{NoConfig, Plugin, Snapshot, http, info, storage};

    /// Logs what it gets.
    struct Watch {
        wants: Option<Wants>,
        kept: Vec<Item>,
        state: Vec<u8>,
    }

    impl Plugin for Watch {
        type Config = NoConfig;

        fn new(_: NoConfig) -> Result<Self, Error> {
            Ok(Self {
                wants: None,
                kept: Vec::new(),
                state: Vec::new(),
            })
        }

        fn save(&self) -> Option<Snapshot> {
            let data = [&self.state[..], &[self.kept.len() as u8]].concat();
            Some(Snapshot { schema: 1, data })
        }

        fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
            if old.data.len() > 2 {
                return Err(Error::other("two swaps are enough"));
            }
            self.state = old.data;
            Ok(())
        }
    }

    impl Sink for Watch {
        fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
            Ok(self.wants.clone().unwrap_or(Wants::all(&publication.tracks)))
        }

        fn frames(&mut self, batch: Vec<Item>) -> Result<(), Error> {
            info!("{} frames, the first {:?}", batch.len(), batch[0].read(0..3));
            self.kept.extend(batch);
            Ok(())
        }

        fn infos(&mut self, batch: Vec<FrameInfo>) -> Result<(), Error> {
            info!("{} infos, the first of {} bytes", batch.len(), batch[0].size);
            Err(Error::other("enough"))
        }

        fn close(&mut self, reason: CloseReason) {
            info!("closed: {}", reason.name());
        }
    }

    fn watch(wants: Option<Wants>) -> Watch {
        Watch {
            wants,
            ..configure("").unwrap()
        }
    }

    fn open(wants: Option<Wants>) -> Reader<Watch> {
        Reader::open(watch(wants), publication("cam", [h264(1), opus(2)])).unwrap()
    }

    fn logged() -> Vec<String> {
        take_log().into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn frames_come_in_batches_and_stay_as_long_as_they_are_kept() {
        let mut reader = open(None);
        reader
            .push([(key(1, 0), b"picture".as_slice()), (key(2, 0), b"sound")])
            .unwrap();
        reader.push([]).unwrap();
        reader.push([(delta(1, 1), b"".as_slice())]).unwrap();
        assert_eq!(
            logged(),
            ["2 frames, the first [112, 105, 99]", "1 frames, the first []"]
        );
        assert_eq!(reader.shown(), 3);
        let sink = reader.close(CloseReason::Ended);
        assert_eq!(logged(), ["closed: ended"]);
        let kept = &sink.kept[0];
        assert_eq!(
            (kept.payload(), kept.data.size(), kept.is_key()),
            (b"picture".to_vec(), 7, true)
        );
        assert_eq!(&kept.lead()[..8], b"picture\0");
    }

    #[test]
    fn only_what_was_asked_for_is_given() {
        let mut reader = open(Some(Wants::with([Interest::keyframes(1)])));
        reader
            .push([(key(1, 0), b"1".as_slice()), (delta(1, 1), b"2"), (key(2, 0), b"3")])
            .unwrap();
        reader.push([(delta(1, 2), b"4".as_slice())]).unwrap();
        assert_eq!(logged(), ["1 frames, the first [49]"]);
    }

    #[test]
    fn without_bytes_there_are_sizes() {
        let mut reader = open(Some(Wants::with([Interest::all(1)]).without_bytes()));
        let refused = reader.push([(key(1, 0), b"picture".as_slice()), (delta(1, 1), b"2")]);
        assert!(matches!(refused, Err(Error::Other(_))), "what the sink answers is seen");
        assert_eq!(logged(), ["2 infos, the first of 7 bytes"]);
    }

    #[test]
    fn a_replaced_sink_hands_over_its_state_or_stays() {
        let mut reader = open(None);
        reader.push([(key(1, 0), b"1".as_slice())]).unwrap();
        reader.replace(watch(Some(Wants::with([])))).unwrap();
        assert_eq!(reader.sink().state, [1]);
        reader.push([(key(1, 1), b"2".as_slice())]).unwrap();
        assert_eq!(reader.shown(), 1, "the new one wants nothing");
        reader.replace(watch(None)).unwrap();
        logged();
        assert!(reader.replace(watch(None)).is_err());
        assert_eq!(reader.sink().state, [1, 0]);
        assert_eq!(logged(), [""; 0], "the old one is not closed");
    }

    #[test]
    fn a_sink_may_wait_for_services_and_a_filter_may_not() {
        use crate::filter::{Filter, Verdict};
        use crate::testing::{Stream, answer_http};

        struct Ask;
        impl Plugin for Ask {
            type Config = NoConfig;

            fn new(_: NoConfig) -> Result<Self, Error> {
                Ok(Ask)
            }
        }
        let ask = || {
            http::Request::get("http://a.example")
                .send()
                .map(|answer| answer.status)
        };
        impl Filter for Ask {
            fn frame(&mut self, _: &crate::Frame) -> Verdict {
                let answer = http::Request::get("http://a.example").send();
                assert_eq!(answer, Err(http::Error::NotGranted));
                assert_eq!(storage::list("").unwrap_err(), storage::Error::NotGranted);
                Verdict::Pass
            }
        }
        answer_http(|_| Ok(http::Response::new(200)));
        let mut stream = Stream::open(Ask, publication("cam", [h264(1)])).unwrap();
        assert_eq!(stream.push(key(1, 0), b"1").unwrap().len(), 1);
        assert_eq!(ask(), Ok(200), "outside of its calls all is as before");
    }
}
