//! Deterministic mutations: the same seed number gives the same inputs on every machine.

/// Tokens that the grammars here turn upon.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"$\0\0\x04",
    b":",
    b";",
    b",",
    b"=",
    b"\"",
    b"\\",
    b"/",
    b"?",
    b"%",
    b"-",
    b"0",
    b"65535",
    b"65536",
    b"4294967296",
    b"18446744073709551616",
    b"RTSP/1.0",
    b"Content-Length: 4\r\n",
    b"CSeq: 1\r\n",
    b"Session: ",
    b"Transport: RTP/AVP/TCP;interleaved=0-1\r\n",
    b"m=audio 0 RTP/AVP 0\r\n",
    b"a=rtpmap:96 H264/90000\r\n",
    b"a=fmtp:96 ",
    b"a=control:",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"\x7f",
];

/// The longest input that a mutation makes out of a shorter one.
const MAX_GROWTH: usize = 4096;

/// Makes inputs out of seeds.
pub struct Mutator(u64);

impl Mutator {
    /// A mutator that makes the same inputs whenever it has the same number.
    pub fn new(number: u64) -> Mutator {
        Mutator(number)
    }

    /// One mutated input: a seed with one to eight small changes.
    pub fn next(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = self.pick(seeds).cloned().unwrap_or_default();
        for _ in 0..=self.below(7) {
            self.change(&mut data, seeds);
        }
        data
    }

    fn change(&mut self, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(data.len());
        let end = (at + self.below(32)).min(data.len());
        match self.below(7) {
            0 => data
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << self.below(7)),
            1 => data
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = self.number().to_le_bytes()[0]),
            2 => drop(data.drain(at..end)),
            3 => data.truncate(at),
            4 => {
                let token = self.pick(TOKENS).copied().unwrap_or_default();
                self.insert(data, at, token);
            }
            5 => {
                let copy = data[at..end].to_vec();
                for _ in 0..=self.below(3) {
                    self.insert(data, at, &copy);
                }
            }
            6 => {
                let other = self.pick(seeds).cloned().unwrap_or_default();
                let from = self.below(other.len());
                let to = (from + self.below(64)).min(other.len());
                self.insert(data, at, &other[from..to]);
            }
            _ => data[at..end].fill(b'0'),
        }
    }

    fn insert(&mut self, data: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        if data.len() < MAX_GROWTH {
            drop(data.splice(at..at, bytes.iter().copied()));
        }
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let last = of.len().checked_sub(1)?;
        of.get(self.below(last))
    }

    /// A number from 0 to `most`, both included.
    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.number() >> 32).map_or(0, |number| number % (most + 1))
    }

    /// SplitMix64: small, and good enough for choosing.
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
