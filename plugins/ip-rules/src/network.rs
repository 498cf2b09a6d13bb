//! Ranges of IP addresses: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.

use std::net::IpAddr;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    v4: bool,
    /// In the high bits, zeros behind the prefix.
    bits: u128,
    prefix: u32,
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (v4, bits) = bits(address);
        self.v4 == v4 && bits & mask(self.prefix) == self.bits
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither an address nor a range such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if prefix > longest {
            return Err(format!(
                "`{text}`: the prefix of such an address has at most {longest} bits"
            ));
        }
        let (v4, bits) = bits(address);
        // `::ffff:10.0.0.0/104` is 10.0.0.0/8 in other words; one that is wider than all of IPv4 is not about IPv4.
        let prefix = match (v4, address) {
            (true, IpAddr::V6(_)) => prefix.checked_sub(96).ok_or_else(wrong)?,
            _ => prefix,
        };
        Ok(Self {
            v4,
            bits: bits & mask(prefix),
            prefix,
        })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Whether it is of IPv4, and the address in the high bits. An IPv4 address mapped into IPv6, which is how a socket for both shows it, is that IPv4 address.
fn bits(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (true, u128::from(u32::from(address)) << 96),
        IpAddr::V6(address) => (false, u128::from(address)),
    }
}

fn mask(prefix: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, inside: &[&str], outside: &[&str]) {
        let range: Network = network.parse().unwrap();
        for address in inside {
            assert!(range.contains(address.parse().unwrap()), "{address} in {network}");
        }
        for address in outside {
            assert!(!range.contains(address.parse().unwrap()), "{address} not in {network}");
        }
    }

    #[test]
    fn a_range_is_all_addresses_with_its_prefix() {
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255"],
            &["11.0.0.0", "9.255.255.255"],
        );
        check("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]);
        check("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1"]);
        check("::/0", &["::1", "ffff::"], &["127.0.0.1"]);
    }

    #[test]
    fn an_address_alone_is_a_range_of_one() {
        check("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
        check("::1", &["::1"], &["::2", "::"]);
    }

    #[test]
    fn bits_behind_the_prefix_mean_nothing() {
        check("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]);
    }

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        check("10.0.0.0/8", &["::ffff:10.1.2.3"], &["::ffff:11.1.2.3", "::10.1.2.3"]);
        check("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.1.2.3"]);
        check("::ffff:10.1.2.3", &["10.1.2.3"], &["10.1.2.4"]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "localhost",
            "10.0.0.0 ",
            "fe80::1%eth0",
            "010.0.0.1",
            "::ffff:10.0.0.0/90",
            "10.0.0.0/99999999999",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
