//! RTMP as a client speaks it to publish and to play: the simple handshake, and five commands (Adobe's RTMP 1.0, sections
//! 5.2 and 7.2).

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    chunks::{self, Address, COMMAND, Chunks, Message, OUR_SIZE, SET_CHUNK_SIZE},
    session::Target,
};

const VERSION: u8 = 3;
/// C1, C2, S1 and S2 (section 5.2.3).
const HANDSHAKE: usize = 1_536;
/// What is read of the answers to commands at a time.
const ANSWER: usize = 16 << 10;

const CONTROL: Address = Address { chunks: 2, stream: 0 };
const COMMANDS: Address = Address { chunks: 3, stream: 0 };
/// The message stream that servers make first.
const FIRST_STREAM: u32 = 1;

/// What a connection is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Publish,
    Play,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Reads what the server says.
    pub(crate) chunks: Chunks,
}

impl Connection {
    /// Connects, and comes back when the server has agreed. Messages that come with its agreement go to the sink.
    pub(crate) async fn open(
        target: &Target,
        path: &str,
        goal: Goal,
        mut sink: impl FnMut(Message<'_>) -> Result<()>,
    ) -> Result<Connection> {
        ensure!(target.login.is_none(), "credentials go into the query of RTMP");
        let stream = TcpStream::connect(target.address).await;
        let mut stream = stream.with_context(|| format!("no connection to {}", target.address))?;
        stream.set_nodelay(true)?;
        shake_hands(&mut stream).await?;
        let mut connection = Connection {
            stream,
            chunks: Chunks::new(),
        };
        let (app, key) = path.split_once('/').unwrap_or((path, ""));
        let question = if target.query.is_empty() { "" } else { "?" };
        let key = format!("{key}{question}{}", target.query);
        let url = format!("rtmp://{}/{app}", target.address);

        let mut out = Vec::new();
        chunks::write(
            &mut out,
            OUR_SIZE,
            CONTROL,
            SET_CHUNK_SIZE,
            0,
            &(OUR_SIZE as u32).to_be_bytes(),
        );
        command(&mut out, COMMANDS, &connect(app, &url));
        connection.ask(&out, "_result", &mut sink).await?;
        out.clear();
        command(&mut out, COMMANDS, &[name("createStream"), number(2.0), vec![NULL]]);
        connection.ask(&out, "_result", &mut sink).await?;
        out.clear();
        let commands = Address {
            stream: FIRST_STREAM,
            ..COMMANDS
        };
        let arguments = |verb| [name(verb), number(3.0), vec![NULL], name(&key)];
        match goal {
            Goal::Play => command(&mut out, commands, &arguments("play")),
            Goal::Publish => {
                let [verb, transaction, null, key] = arguments("publish");
                command(&mut out, commands, &[verb, transaction, null, key, name("live")]);
            }
        }
        connection.ask(&out, "onStatus", &mut sink).await?;
        Ok(connection)
    }

    /// Sends a command and waits for its answer.
    async fn ask(&mut self, out: &[u8], answer: &str, sink: &mut impl FnMut(Message<'_>) -> Result<()>) -> Result<()> {
        self.stream.write_all(out).await?;
        let mut answered = false;
        let mut buffer = vec![0; ANSWER];
        while !answered {
            let size = self.stream.read(&mut buffer).await?;
            ensure!(size > 0, "the server closed the connection before it agreed");
            self.chunks.feed(&buffer[..size], |message| {
                if message.kind != COMMAND {
                    return sink(message);
                }
                answered |= check(message.body, answer)?;
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Whether a command of the server is the awaited answer.
fn check(body: &[u8], answer: &str) -> Result<bool> {
    let said = verb(body).unwrap_or_default();
    // The level of an onStatus is "error", an `_error` says so itself (section 7.2.2).
    if said == "_error" || body.windows(5).any(|text| text == b"error") {
        bail!("the server refused: {}", String::from_utf8_lossy(body).escape_debug());
    }
    Ok(said == answer)
}

/// The name of a command.
fn verb(body: &[u8]) -> Option<&str> {
    let [STRING, high, low, text @ ..] = body else {
        return None;
    };
    std::str::from_utf8(text.get(..usize::from(u16::from_be_bytes([*high, *low])))?).ok()
}

async fn shake_hands(stream: &mut TcpStream) -> Result<()> {
    let mut hello = vec![0x5a; 1 + HANDSHAKE];
    hello[0] = VERSION;
    // Its time and the four bytes behind it are zero.
    hello[1..9].fill(0);
    stream.write_all(&hello).await?;
    let mut answer = vec![0; 1 + 2 * HANDSHAKE];
    stream.read_exact(&mut answer).await.context("no handshake")?;
    ensure!(answer[0] == VERSION, "RTMP version {} is not known", answer[0]);
    stream.write_all(&answer[1..=HANDSHAKE]).await?;
    Ok(())
}

// AMF0 (Adobe's AMF 0, section 2), written only.
const NUMBER: u8 = 0;
const STRING: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const OBJECT_END: [u8; 3] = [0, 0, 9];

fn number(number: f64) -> Vec<u8> {
    [&[NUMBER][..], &number.to_be_bytes()].concat()
}

fn name(text: &str) -> Vec<u8> {
    [&[STRING], &*bare(text)].concat()
}

fn bare(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn connect(app: &str, url: &str) -> [Vec<u8>; 3] {
    let mut object = vec![OBJECT];
    for (key, value) in [
        ("app", app),
        ("type", "nonprivate"),
        ("flashVer", "wasmtx-load"),
        ("tcUrl", url),
    ] {
        object.extend_from_slice(&bare(key));
        object.extend_from_slice(&name(value));
    }
    object.extend_from_slice(&OBJECT_END);
    [name("connect"), number(1.0), object]
}

fn command(out: &mut Vec<u8>, address: Address, values: &[Vec<u8>]) {
    chunks::write(out, OUR_SIZE, address, COMMAND, 0, &values.concat());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_a_refusal_and_from_other_commands() {
        let agreed = [name("_result"), number(1.0), vec![NULL]].concat();
        let status = [name("onStatus"), number(0.0), vec![NULL], name("NetStream.Play.Start")].concat();
        let refused = [name("onStatus"), number(0.0), vec![NULL], name("error")].concat();
        assert!(check(&agreed, "_result").unwrap());
        assert!(!check(&agreed, "onStatus").unwrap());
        assert!(check(&status, "onStatus").unwrap());
        assert!(check(&refused, "onStatus").is_err());
        assert!(check(&[name("_error"), number(1.0)].concat(), "_result").is_err());
        assert!(!check(b"\x02\x00\x09short", "short").unwrap());
    }
}
