//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::{
    clip::Shape,
    pace::Pace,
    relay::Unit,
    run::{MAX_SECONDS, Options, SETTLE_TIME},
    session::{Protocol, Target},
    verify::Depth,
};

/// Every subcommand and option.
pub(crate) fn command() -> Command {
    Command::new("wasmtx-load")
        .about(
            "Paced publishers and many cheap readers that check every frame, and the relays to compare a server with",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .subcommand(run())
        .subcommand(
            relay(
                "relay",
                "The null relay: copies each frame to every reader with one vectored write, no more",
            )
            .arg(
                option(
                    "merge",
                    "MILLISECONDS",
                    "",
                    "Write all that came in this time at once; 0: that came at once",
                )
                .value_parser(value_parser!(u64).range(..1_000)),
            ),
        )
        .subcommand(relay(
            "packet-relay",
            "Copies each RTP packet to every reader as soon as it is there",
        ))
        .subcommand(bench())
}

fn option(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).help(help);
    if default.is_empty() {
        arg
    } else {
        arg.default_value(default)
    }
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn seconds(default: &'static str, help: &'static str) -> Arg {
    option("seconds", "N", default, help).value_parser(value_parser!(u64).range(1..=MAX_SECONDS))
}

fn run() -> Command {
    Command::new("run")
        .about("Publish, read, check every frame and measure; ends by itself")
        .arg(option("address", "HOST:PORT", "127.0.0.1:8554", "The server").value_parser(value_parser!(SocketAddr)))
        .arg(flag("remote", "Allow an address that is not of this machine"))
        .arg(
            option(
                "protocol",
                "rtsp|rtmp|flv|bare",
                "rtsp",
                "What is spoken; flv is for reading over HTTP, bare is for the relays",
            )
            .value_parser(["rtsp", "rtmp", "flv", "bare"]),
        )
        .arg(
            option(
                "publish-address",
                "HOST:PORT",
                "",
                "Publish there by RTMP; where to is the same otherwise",
            )
            .value_parser(value_parser!(SocketAddr))
            .conflicts_with("no-publish"),
        )
        .arg(option("transport", "tcp|udp", "tcp", "How RTSP's media travels").value_parser(["tcp", "udp"]))
        .arg(option(
            "path",
            "NAME",
            "load",
            "The path, or what the numbers of several are appended to",
        ))
        .arg(option(
            "query",
            "TEXT",
            "",
            "Appended to the path behind a question mark",
        ))
        .arg(option("user", "NAME:PASSWORD", "", "Who publishes and reads"))
        .arg(option("paths", "N", "1", "How many paths").value_parser(value_parser!(u32)))
        .arg(option("readers", "N", "1", "Readers of each path").value_parser(value_parser!(u32)))
        .arg(option("threads", "N", "1", "Threads for the readers").value_parser(value_parser!(u32)))
        .arg(flag("no-publish", "Somebody else publishes"))
        .arg(
            option(
                "clip",
                "FILE",
                "",
                "Publish the H264 of this file, over and over; without it a made-up stream",
            )
            .value_parser(value_parser!(PathBuf))
            .conflicts_with_all(["bitrate", "fps", "gop"]),
        )
        .arg(option("bitrate", "BITS", "4M", "Of the made-up stream, per second").value_parser(parse_bits))
        .arg(option("fps", "N", "25", "Frames per second of the made-up stream").value_parser(value_parser!(f64)))
        .arg(option("gop", "N", "50", "Frames from one keyframe to the next").value_parser(value_parser!(u32)))
        .arg(option("sound", "BITS", "", "Add AAC of so many bits per second").value_parser(parse_bits))
        .arg(
            option(
                "pace",
                "steady|bursty",
                "steady",
                "Send each frame at its time, or five bursts a second",
            )
            .value_parser(["steady", "bursty"]),
        )
        .arg(seconds("10", "How long is measured"))
        .arg(
            option("pid", "PID", "", "The server's process, to measure its time and memory")
                .value_parser(value_parser!(u32)),
        )
        .arg(
            option(
                "verify",
                "headers|all",
                "headers",
                "Check packet numbers and stamps, or each frame's bytes, too",
            )
            .value_parser(["headers", "all"]),
        )
        .arg(flag("json", "Print JSON instead of a table"))
}

fn relay(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(option("address", "HOST:PORT", "127.0.0.1:0", "Where it listens").value_parser(value_parser!(SocketAddr)))
        .arg(seconds("600", "When it stops"))
}

fn bench() -> Command {
    Command::new("bench")
        .about("Measure a server beside the relays and print every figure with its reference")
        .arg(
            option("server", "FILE", "", "The server's program")
                .required(true)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(seconds("10", "How long each run measures"))
        .arg(
            option("readers", "N,N,…", "1,100,1000", "Fan-outs to measure")
                .value_delimiter(',')
                .value_parser(value_parser!(u32).range(1..=10_000)),
        )
        .arg(
            option(
                "rows",
                "FILE",
                "",
                "Figures of other benches, a line each, to print in the same table",
            )
            .value_parser(value_parser!(PathBuf)),
        )
}

/// What `run` shall do, and on what.
pub(crate) fn options(matches: &ArgMatches) -> Result<Options> {
    let number = |name| matches.get_one::<u32>(name).copied().unwrap_or_default();
    let text = |name| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let address = *matches
        .get_one::<SocketAddr>("address")
        .ok_or_else(|| anyhow::anyhow!("no address"))?;
    let publish_address = matches.get_one::<SocketAddr>("publish-address").copied();
    // A typing error should not flood somebody else's machine.
    for address in publish_address.iter().chain([&address]) {
        ensure!(
            address.ip().is_loopback() || matches.get_flag("remote"),
            "{address} is not of this machine; say --remote if that is meant"
        );
    }
    let protocol = match (text("protocol").as_str(), text("transport").as_str()) {
        ("bare", _) => Protocol::Bare,
        ("rtmp", _) => Protocol::Rtmp,
        ("flv", _) => Protocol::Flv,
        (_, "udp") => Protocol::RtspUdp,
        _ => Protocol::RtspTcp,
    };
    let user = text("user");
    let login = user
        .split_once(':')
        .map(|(name, password)| (name.to_owned(), password.to_owned()));
    ensure!(
        login.is_some() || user.is_empty(),
        "--user wants a name, a colon and a password"
    );
    let target = Target {
        address,
        protocol,
        query: text("query"),
        login,
    };
    let source = match publish_address {
        Some(address) => Some(Target {
            address,
            protocol: Protocol::Rtmp,
            ..target.clone()
        }),
        None => (!matches.get_flag("no-publish")).then(|| target.clone()),
    };
    ensure!(
        source.as_ref().is_none_or(|source| source.protocol != Protocol::Flv),
        "nobody publishes by flv; say --publish-address or --no-publish"
    );
    Ok(Options {
        target,
        source,
        pace: if text("pace") == "bursty" {
            Pace::Bursty
        } else {
            Pace::Steady
        },
        path: text("path"),
        paths: number("paths"),
        readers: number("readers"),
        threads: number("threads"),
        window: Duration::from_secs(matches.get_one::<u64>("seconds").copied().unwrap_or_default()),
        settle: SETTLE_TIME,
        pid: matches.get_one::<u32>("pid").copied(),
        depth: if text("verify") == "all" {
            Depth::All
        } else {
            Depth::Headers
        },
    })
}

/// What the null relay shall write at a time.
pub(crate) fn unit(matches: &ArgMatches) -> Unit {
    let window = matches.get_one::<u64>("merge");
    window.map_or(Unit::Frame, |window| Unit::Merged(Duration::from_millis(*window)))
}

/// The made-up stream that `run` shall publish.
pub(crate) fn shape(matches: &ArgMatches) -> Shape {
    Shape {
        bitrate: matches.get_one::<u64>("bitrate").copied().unwrap_or_default(),
        fps: matches.get_one::<f64>("fps").copied().unwrap_or_default(),
        gop: matches.get_one::<u32>("gop").copied().unwrap_or_default(),
    }
}

/// Bits per second: a number with `k` or `M` behind it or nothing.
fn parse_bits(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(bits) if (0.0..=1e9).contains(&(bits * unit)) => Ok((bits * unit) as u64),
        _ => Err("expected bits per second, at most 1000M, as in 4M or 343k".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(Options, Shape)> {
        let matches = command().try_get_matches_from(line.split(' '))?;
        let matches = matches.subcommand_matches("run").unwrap();
        Ok((options(matches)?, shape(matches)))
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_run_has_defaults_for_everything() {
        let (options, shape) = parse("wasmtx-load run").unwrap();
        assert_eq!(
            (options.paths, options.readers, options.window),
            (1, 1, Duration::from_secs(10))
        );
        assert_eq!(options.target.protocol, Protocol::RtspTcp);
        assert_eq!(
            shape,
            Shape {
                bitrate: 4_000_000,
                fps: 25.0,
                gop: 50
            }
        );
    }

    #[test]
    fn what_is_said_holds() {
        let line =
            "wasmtx-load run --address 127.0.0.1:1 --transport udp --bitrate 343k --verify all --user a:b:c --pid 7";
        let (options, shape) = parse(line).unwrap();
        assert_eq!(
            (options.target.protocol, options.depth, options.pid),
            (Protocol::RtspUdp, Depth::All, Some(7))
        );
        assert_eq!(options.target.login, Some(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(shape.bitrate, 343_000);
    }

    #[test]
    fn flv_is_read_where_somebody_publishes_by_another_protocol() {
        assert!(parse("wasmtx-load run --protocol flv").is_err());
        let (options, _) = parse("wasmtx-load run --protocol flv --no-publish").unwrap();
        assert!(options.source.is_none());
        let line = "wasmtx-load run --protocol flv --publish-address 127.0.0.1:1935 --pace bursty";
        let (options, _) = parse(line).unwrap();
        assert_eq!(options.source.unwrap().protocol, Protocol::Rtmp);
        assert_eq!((options.target.protocol, options.pace), (Protocol::Flv, Pace::Bursty));
        assert!(parse("wasmtx-load run --protocol flv --publish-address 192.0.2.1:1935").is_err());
    }

    #[test]
    fn another_machine_is_asked_for_by_name() {
        assert!(parse("wasmtx-load run --address 192.0.2.1:554").is_err());
        assert!(parse("wasmtx-load run --remote --address 192.0.2.1:554").is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "run --bitrate fast",
            "run --bitrate 2000M",
            "run --seconds 0",
            "run --user me",
            "run --readers -1",
            "dance",
        ] {
            assert!(parse(&format!("wasmtx-load {line}")).is_err(), "{line}");
        }
    }
}
