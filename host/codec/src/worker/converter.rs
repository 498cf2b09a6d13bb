//! One stream on its way: decoder, clock, resampler, encoder, and the queue that cuts sound to the encoder's frames.

use bytes::Bytes;
use wasmtx_codec::{
    clock::{Clock, Timeline},
    wire::{Packet, Problem, Source, Target},
};

use super::sound::Sound;
use crate::av::{Decoded, Decoder, Encoder, Resampler};

/// Seconds of sound in one packet, more than any codec puts there. Raw samples of a bad stream could be minutes.
const LONGEST: usize = 4;

/// Why a converter is over.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) problem: Problem,
    pub(super) words: String,
}

impl Failure {
    fn of(problem: Problem) -> impl FnOnce(String) -> Failure {
        move |words| Failure { problem, words }
    }
}

/// Packets in, packets out.
pub(super) struct Converter {
    source: Source,
    target: Target,
    decoder: Decoder,
    clock: Option<Clock>,
    /// Of the last packet.
    pts: i64,
    /// `None` where the rates are the same.
    resampler: Option<Resampler>,
    outlet: Outlet,
}

impl Converter {
    pub(super) fn open(source: &Source, target: Target) -> Result<Converter, Failure> {
        let encoder = Encoder::open(target).map_err(Failure::of(Problem::Target))?;
        Ok(Converter {
            decoder: Decoder::open(source, target).map_err(Failure::of(Problem::Source))?,
            source: source.clone(),
            target,
            clock: None,
            pts: 0,
            resampler: None,
            outlet: Outlet::new(encoder, target),
        })
    }

    /// The configuration of what comes out.
    pub(super) fn parameters(&self) -> &Bytes {
        self.outlet.encoder.parameters()
    }

    /// Takes a packet in. What was wrong with it is no failure: the next may be good, and silence fills the hole.
    pub(super) fn push(
        &mut self,
        pts: i64,
        payload: &[u8],
        packets: &mut Vec<Packet>,
    ) -> Result<Option<Problem>, Failure> {
        self.pts = pts;
        let mut bad = self.decoder.push(pts, payload).is_err();
        loop {
            match self.decoder.pull() {
                Ok(Some(decoded)) if decoded.sound.len() > LONGEST * decoded.sample_rate as usize => bad = true,
                Ok(Some(decoded)) => self.take(decoded, packets)?,
                Ok(None) => return Ok(bad.then_some(Problem::Packet)),
                Err(_) => return Ok(Some(Problem::Packet)),
            }
        }
    }

    /// Gets everything out. Nothing can be pushed afterwards.
    pub(super) fn flush(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        self.decoder.finish();
        while let Ok(Some(decoded)) = self.decoder.pull() {
            self.take(decoded, packets)?;
        }
        self.finish_stretch(packets)?;
        self.outlet.finish(packets)
    }

    fn take(&mut self, mut decoded: Decoded, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        let (rate, pts) = (decoded.sample_rate, decoded.pts.unwrap_or(self.pts));
        let mut known = decoded.pts;
        // HE-AAC shows its rate only here, and some streams change it.
        if self.clock.as_ref().is_none_or(|clock| clock.sample_rate() != rate) {
            self.clock = Some(Clock::new(self.source.clock_rate, rate));
            known = Some(pts);
        }
        let Some(clock) = &mut self.clock else { return Ok(()) };
        let place = clock.place(known, decoded.sound.len());
        if place.jump {
            self.finish_stretch(packets)?;
            let resampler = || Resampler::open(rate, self.target).map_err(Failure::of(Problem::Inside));
            self.resampler = (rate != self.target.sample_rate).then(resampler).transpose()?;
            self.outlet.jump(pts, self.source.clock_rate);
        }
        if place.silence > 0 {
            let mut silence = Sound::new(self.target.channels.into());
            silence.append_silence(place.silence);
            self.give(&silence, packets)?;
        }
        if place.cut > 0 {
            decoded.sound.take(place.cut);
        }
        if place.adjust != 0 {
            decoded.sound.adjust(place.adjust);
        }
        self.give(&decoded.sound, packets)
    }

    fn give(&mut self, sound: &Sound, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        match &mut self.resampler {
            Some(resampler) => {
                let sound = resampler.push(sound).map_err(Failure::of(Problem::Inside))?;
                self.outlet.give(&sound, packets)
            }
            None => self.outlet.give(sound, packets),
        }
    }

    /// What is held back goes out, with silence up to the end of the encoder's frame.
    fn finish_stretch(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        if let Some(resampler) = self.resampler.take() {
            let rest = resampler.finish().map_err(Failure::of(Problem::Inside))?;
            self.outlet.give(&rest, packets)?;
        }
        self.outlet.fill(packets)
    }
}

/// Sound at the target's rate becomes packets with their times.
struct Outlet {
    encoder: Encoder,
    queue: Sound,
    timeline: Timeline,
    /// Samples that the encoder was given.
    given: i64,
    frame: usize,
}

impl Outlet {
    fn new(encoder: Encoder, target: Target) -> Outlet {
        let frame = encoder.frame();
        Outlet {
            timeline: Timeline::new(target.sample_rate, frame, encoder.priming()),
            queue: Sound::new(target.channels.into()),
            given: 0,
            frame: frame as usize,
            encoder,
        }
    }

    /// What follows begins at `pts`.
    fn jump(&mut self, pts: i64, clock_rate: u32) {
        self.timeline.jump(self.given, pts, clock_rate);
    }

    fn give(&mut self, sound: &Sound, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        self.queue.append(sound);
        while self.queue.len() >= self.frame {
            let frame = self.queue.take(self.frame);
            let encoded = self.encoder.push(&frame, self.given);
            encoded.map_err(Failure::of(Problem::Inside))?;
            self.given = self.given.saturating_add_unsigned(self.frame as u64);
            self.drain(packets)?;
        }
        Ok(())
    }

    fn fill(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        let missing = self.queue.len().next_multiple_of(self.frame) - self.queue.len();
        let mut silence = Sound::new(self.queue.channels().len());
        silence.append_silence(missing);
        self.give(&silence, packets)
    }

    fn finish(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        self.encoder.finish();
        self.drain(packets)
    }

    fn drain(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        while let Some(payload) = self.encoder.pull().map_err(Failure::of(Problem::Inside))? {
            if let Some(stamp) = self.timeline.stamp() {
                packets.push(Packet {
                    pts: stamp.pts,
                    duration: self.encoder.frame(),
                    discontinuity: stamp.discontinuity,
                    payload,
                });
            }
        }
        Ok(())
    }
}
