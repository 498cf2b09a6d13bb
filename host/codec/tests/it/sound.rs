//! Sound that is easy to recognise: tones and impulses.

use std::f64::consts::TAU;

/// Samples of a tone, in 16 bits.
pub(crate) fn tone(frequency: f64, rate: u32, amplitude: f64, samples: usize) -> impl Iterator<Item = i16> {
    (0..samples).map(move |at| {
        let turn = frequency * at as f64 / f64::from(rate);
        (amplitude * 32_767.0 * (TAU * turn).sin()) as i16
    })
}

/// How loud a tone is within `sound`: its amplitude.
pub(crate) fn loudness(sound: &[f32], frequency: f64, rate: u32) -> f64 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (at, sample) in sound.iter().enumerate() {
        let turn = TAU * frequency * at as f64 / f64::from(rate);
        real += f64::from(*sample) * turn.cos();
        imaginary += f64::from(*sample) * turn.sin();
    }
    (real * real + imaginary * imaginary).sqrt() * 2.0 / sound.len() as f64
}

/// Where the sound is loudest.
pub(crate) fn peak(sound: &[f32]) -> usize {
    let loud = |at: &usize| sound[*at].abs();
    (0..sound.len()).max_by(|a, b| loud(a).total_cmp(&loud(b))).unwrap()
}

/// Samples of 16 bits as they go over the network.
pub(crate) fn big_endian(samples: impl IntoIterator<Item = i16>) -> Vec<u8> {
    samples.into_iter().flat_map(i16::to_be_bytes).collect()
}
