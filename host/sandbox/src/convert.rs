//! The words of the other rooms as the contract spells them, and back.

use std::sync::Arc;

use bytes::Bytes;
use wasmtx_hub::{Action, Client, CloseReason, Opening, Protocol};
use wasmtx_media::{
    Codec, Kind, Payload, Track, Tracks,
    codec::{aac, av1, flac, h264, h265},
    nal,
};

use crate::{bindings::plugin::types as wit, host::Grants};

/// Fields that a guest may add to a track.
const EXTRA: usize = 16;
/// Bytes of one such field's name or value.
const EXTRA_LEN: usize = 256;

/// The extra field of a track that the server makes: the id of the track that it is made of.
const MADE_OF: &str = "madeOf";
/// Those of codecs that have no record which could say it: `mu` or `a`, and bits of a sample.
const LAW: &str = "law";
const BIT_DEPTH: &str = "bitDepth";
/// What the server says in these fields, a guest does not.
const OWN_EXTRA: [&str; 3] = [MADE_OF, LAW, BIT_DEPTH];

/// A query is shown with these keys' values only to plugins that were granted credentials.
const SECRET_KEYS: [&str; 9] = ["pass", "pwd", "token", "jwt", "secret", "key", "sig", "auth", "cred"];
const REDACTED: &str = "redacted";

pub(crate) fn close_reason(reason: CloseReason) -> wit::CloseReason {
    match reason {
        CloseReason::Ended => wit::CloseReason::Ended,
        CloseReason::Replaced => wit::CloseReason::Replaced,
        CloseReason::Reload => wit::CloseReason::Reload,
        CloseReason::Failed => wit::CloseReason::Failed,
        CloseReason::Shutdown => wit::CloseReason::Shutdown,
        CloseReason::Kicked => wit::CloseReason::Kicked,
        CloseReason::Expired => wit::CloseReason::Expired,
        CloseReason::Timeout => wit::CloseReason::Timeout,
        CloseReason::TooSlow => wit::CloseReason::TooSlow,
        CloseReason::Other => wit::CloseReason::Other,
    }
}

fn protocol(protocol: Protocol) -> wit::Protocol {
    match protocol {
        Protocol::Rtsp => wit::Protocol::Rtsp,
        Protocol::Rtmp => wit::Protocol::Rtmp,
        Protocol::Srt => wit::Protocol::Srt,
        Protocol::Hls => wit::Protocol::Hls,
        Protocol::WebRtc => wit::Protocol::Webrtc,
        Protocol::Flv => wit::Protocol::Flv,
        Protocol::Moq => wit::Protocol::Moq,
        Protocol::File => wit::Protocol::File,
        Protocol::Api => wit::Protocol::Api,
        Protocol::Other => wit::Protocol::Other,
    }
}

pub(crate) fn action(action: Action) -> wit::Action {
    match action {
        Action::Publish => wit::Action::Publish,
        Action::Read => wit::Action::Read,
        Action::Playback => wit::Action::Playback,
        Action::Api => wit::Action::Api,
        Action::Metrics => wit::Action::Metrics,
        Action::Profile => wit::Action::Profile,
        Action::Plugins => wit::Action::Plugins,
    }
}

pub(crate) fn client(client: &Client, grants: &Grants) -> wit::Client {
    wit::Client {
        session: client.id.to_string(),
        protocol: protocol(client.protocol),
        address: client.address.to_string(),
        agent: client.agent.clone(),
        query: if grants.credentials {
            client.query.clone()
        } else {
            redacted(&client.query)
        },
        identity: client.identity.clone(),
        tags: client.tags.clone(),
        extra: client.extra.clone(),
    }
}

/// The query with the values of everything that may be a secret replaced.
fn redacted(query: &str) -> String {
    let field = |field: &str| match field.split_once('=') {
        Some((key, _)) if is_secret(key) => format!("{key}={REDACTED}"),
        // A token without a name is a common way to write one.
        None if !field.is_empty() => REDACTED.to_owned(),
        _ => field.to_owned(),
    };
    query.split('&').map(field).collect::<Vec<_>>().join("&")
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // An escaped name could hide any of them.
    key.contains('%') || SECRET_KEYS.iter().any(|secret| key.contains(secret))
}

pub(crate) fn publication(opening: &Opening, grants: &Grants) -> wit::Publication {
    wit::Publication {
        path: opening.path.to_string(),
        generation: opening.generation,
        publisher: opening.publisher.as_ref().map(|publisher| client(publisher, grants)),
        source: opening.source.clone(),
        tracks: opening.tracks.iter().map(track).collect(),
    }
}

fn track(track: &Track) -> wit::Track {
    let (width, height) = track.codec.dimensions().unwrap_or_default();
    let (sample_rate, channels) = track.codec.audio().unwrap_or_default();
    wit::Track {
        id: track.id.0,
        media: match track.kind {
            Kind::Video => wit::Media::Video,
            Kind::Audio => wit::Media::Audio,
            Kind::Data => wit::Media::Data,
        },
        codec: track.codec.name().to_owned(),
        clock_rate: track.clock_rate,
        width,
        height,
        channels: channels.into(),
        sample_rate,
        parameters: track.codec.parameters().to_vec(),
        extra: {
            let made_of = track.derived.map(|source| (MADE_OF, source.0.to_string()));
            let coding = match track.codec {
                Codec::G711 { mu_law, .. } => Some((LAW, if mu_law { "mu" } else { "a" }.to_owned())),
                Codec::Lpcm { bit_depth, .. } => Some((BIT_DEPTH, bit_depth.to_string())),
                _ => None,
            };
            let own = made_of.into_iter().chain(coding);
            let own = own.map(|(name, value)| (name.to_owned(), value));
            track.extra.iter().cloned().chain(own).collect()
        },
    }
}

/// The tracks that a filter sends on: those of `input`, or fewer, or with other `extra` fields.
///
/// # Errors
/// Says what the guest's answer would break.
pub(crate) fn tracks(input: &Tracks, answer: Option<Vec<wit::Track>>) -> Result<Tracks, String> {
    let Some(answer) = answer else { return Ok(input.clone()) };
    if answer.is_empty() {
        return Err("it would leave no track".into());
    }
    if answer.len() > input.len() {
        return Err("it answers more tracks than the stream has".into());
    }
    let mut output = Vec::with_capacity(answer.len());
    for (n, said) in answer.iter().enumerate() {
        let Some(old) = input.iter().find(|track| track.id.0 == said.id) else {
            return Err(format!("it answers track {}, which the stream does not have", said.id));
        };
        if answer[..n].iter().any(|other| other.id == said.id) {
            return Err(format!("it answers track {} twice", said.id));
        }
        if said.codec != old.codec.name() || said.clock_rate != old.clock_rate {
            return Err(format!("it changes the codec or the clock of track {}", said.id));
        }
        let parameters = old.codec.parameters();
        let codec = if parameters == said.parameters {
            old.codec.clone()
        } else {
            reparsed(old, &said.parameters)?
        };
        let fits = |text: &str| text.len() <= EXTRA_LEN && !text.chars().any(char::is_control);
        if said.extra.len() > EXTRA || !said.extra.iter().all(|(name, value)| fits(name) && fits(value)) {
            return Err(format!(
                "the extra fields of track {} are too many, too long or not text",
                said.id
            ));
        }
        output.push(Track {
            codec,
            extra: {
                let others = said
                    .extra
                    .iter()
                    .filter(|(name, _)| !OWN_EXTRA.contains(&name.as_str()));
                others.cloned().collect()
            },
            ..old.clone()
        });
    }
    // In the order of the stream, whatever the order of the answer: readers number tracks by position.
    output.sort_by_key(|track| input.iter().position(|old| old.id == track.id));
    Ok(if output == input[..] {
        input.clone()
    } else {
        Arc::from(output)
    })
}

/// The same codec with other parameters.
fn reparsed(old: &Track, parameters: &[u8]) -> Result<Codec, String> {
    let codec = match &old.codec {
        // The size of lengths in the record does not matter: payloads have lengths of four bytes whatever it says.
        Codec::H264(_) => h264::Parameters::from_configuration_record(parameters).map(|(new, _)| Codec::H264(new)),
        Codec::H265(_) => h265::Parameters::from_configuration_record(parameters).map(|(new, _)| Codec::H265(new)),
        Codec::Av1(_) => av1::Parameters::from_configuration_record(parameters).map(Codec::Av1),
        Codec::Aac(_) => aac::Config::parse(Bytes::copy_from_slice(parameters)).map(Codec::Aac),
        Codec::Flac(_) => flac::Config::parse(parameters).map(Codec::Flac),
        _ => {
            return Err(format!(
                "{} of track {} has no parameters to change",
                old.codec.name(),
                old.id.0
            ));
        }
    };
    codec.map_err(|error| {
        format!(
            "the parameters of track {} are not those of {}: {error}",
            old.id.0,
            old.codec.name()
        )
    })
}

/// Whether readers can stay when `new` follows `old`.
pub(crate) fn same_shape(old: &Tracks, new: &Tracks) -> bool {
    old.len() == new.len()
        && old
            .iter()
            .zip(new.iter())
            .all(|(old, new)| old.id == new.id && old.codec.same_format(&new.codec))
}

/// Whether the bytes can be a frame of the codec: what a guest makes is checked like what the network brings.
pub(crate) fn well_formed(codec: &Codec, payload: &Payload) -> bool {
    let lengths = matches!(codec, Codec::H264(_) | Codec::H265(_));
    !payload.is_empty() && (!lengths || nal::check_pieces(payload.pieces().iter().map(Bytes::as_ref)).is_ok())
}

#[cfg(test)]
mod tests {
    use wasmtx_media::TrackId;

    use super::*;

    fn opus(id: u32) -> Track {
        let codec = Codec::Opus { channels: 2 };
        Track {
            id: TrackId(id),
            kind: Kind::Audio,
            codec,
            clock_rate: 48_000,
            extra: Vec::new(),
            derived: None,
        }
    }

    fn answer(ids: &[u32]) -> Option<Vec<wit::Track>> {
        Some(ids.iter().map(|id| track(&opus(*id))).collect())
    }

    #[test]
    fn a_filter_may_leave_tracks_out_and_their_order_stays() {
        let input: Tracks = [opus(1), opus(2), opus(3)].into();
        assert_eq!(tracks(&input, None).unwrap(), input);
        assert_eq!(tracks(&input, answer(&[3, 1])).unwrap()[..], [opus(1), opus(3)]);
        assert!(same_shape(&input, &tracks(&input, answer(&[2, 3, 1])).unwrap()));
    }

    #[test]
    fn a_filter_may_not_invent_tracks_or_change_codecs() {
        let input: Tracks = [opus(1), opus(2)].into();
        for ids in [&[][..], &[4], &[1, 1], &[1, 2, 3]] {
            assert!(tracks(&input, answer(ids)).is_err(), "{ids:?}");
        }
        let changed = |change: fn(&mut wit::Track)| {
            let mut answer = answer(&[1, 2]);
            answer.iter_mut().flatten().for_each(change);
            tracks(&input, answer)
        };
        assert!(changed(|track| track.codec = "H264".into()).is_err());
        assert!(changed(|track| track.clock_rate = 0).is_err());
        assert!(changed(|track| track.parameters = vec![1]).is_err());
        assert!(changed(|track| track.extra = vec![("a\n".into(), String::new())]).is_err());
        let titled = changed(|track| track.extra = vec![("title".into(), "hall".into())]).unwrap();
        assert!(same_shape(&input, &titled) && titled != input);
    }

    #[test]
    fn what_a_codec_has_no_record_for_is_said_and_taken_from_nobody() {
        let track_of = |codec| Track { codec, ..opus(1) };
        let pcm = |bit_depth| Codec::Lpcm {
            bit_depth,
            sample_rate: 48_000,
            channels: 2,
        };
        let g711 = Codec::G711 {
            mu_law: false,
            sample_rate: 8_000,
            channels: 1,
        };
        for (codec, name, value) in [(pcm(24), "bitDepth", "24"), (g711, "law", "a")] {
            let input: Tracks = [track_of(codec)].into();
            let mut said = track(&input[0]);
            assert_eq!(said.extra, [(name.to_owned(), value.to_owned())]);
            said.extra[0].1 = "8".to_owned();
            assert!(Arc::ptr_eq(&tracks(&input, Some(vec![said])).unwrap(), &input));
        }
    }

    #[test]
    fn a_filter_may_change_parameters_to_others_of_the_same_codec() {
        let stereo = aac::Config::new(aac::LOW_COMPLEXITY, 48_000, 2).unwrap();
        let mono = aac::Config::new(aac::LOW_COMPLEXITY, 48_000, 1).unwrap();
        let aac = |config: &aac::Config| Track {
            codec: Codec::Aac(config.clone()),
            ..opus(1)
        };
        let input: Tracks = [aac(&stereo)].into();
        let said = |parameters: &[u8]| wit::Track {
            parameters: parameters.to_vec(),
            ..track(&input[0])
        };
        let output = tracks(&input, Some(vec![said(&mono.bytes())])).unwrap();
        assert_eq!(output[..], [aac(&mono)]);
        assert!(
            !same_shape(&input, &output),
            "readers cannot stay when the channels change"
        );
        assert!(tracks(&input, Some(vec![said(&[])])).is_err());
    }

    #[test]
    fn secrets_of_a_query_are_not_shown_without_the_grant() {
        assert_eq!(
            redacted("token=abc&view=2&jwt=x.y"),
            "token=redacted&view=2&jwt=redacted"
        );
        assert_eq!(redacted("PassWord=a&%74oken=b"), "PassWord=redacted&%74oken=redacted");
        assert_eq!(redacted("abcdef"), "redacted");
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn broken_lengths_are_no_access_unit() {
        let h264 = Codec::H264(Default::default());
        let well_formed = |codec: &Codec, payload: &'static [u8]| {
            let whole = well_formed(codec, &payload.into());
            for cut in 0..=payload.len() {
                let (first, second) = payload.split_at(cut);
                let pieces = [first, second].map(Bytes::from_static).to_vec();
                assert_eq!(
                    well_formed(codec, &Payload::of_pieces(pieces)),
                    whole,
                    "{payload:?} cut at {cut}"
                );
            }
            whole
        };
        assert!(well_formed(&h264, &[0, 0, 0, 1, 0x65]));
        assert!(well_formed(&h264, &[0, 0, 0, 1, 0x65, 0, 0, 0, 2, 1, 2]));
        for payload in [&[][..], &[0, 0, 0, 2, 0x65], &[7, 0, 0, 0, 1, 0x65], &[0, 0, 0]] {
            assert!(!well_formed(&h264, payload), "{payload:?}");
        }
        assert!(well_formed(&Codec::Vp8, &[1]));
        assert!(!well_formed(&Codec::Vp8, &[]));
    }
}
