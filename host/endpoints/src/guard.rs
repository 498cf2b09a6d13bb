//! Which addresses a stranger may make the server connect to (server-side request forgery).
//!
//! A host that the operator wrote into mediamtx.yml is trusted wherever it is; a camera on 192.168.x is the normal case.
//! Where a client's path or query, or a plugin, chooses the host, only public addresses will do, or those that the
//! operator listed. The name is resolved here, and the checked address is the one connected to: a name that means
//! something else a moment later gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether an address belongs to the public internet: not to this machine, its networks, its cloud's metadata service,
/// nor to a group.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The first public address among those a name resolved to.
pub(crate) fn first_public(addresses: impl IntoIterator<Item = SocketAddr>) -> Option<SocketAddr> {
    addresses.into_iter().find(|address| is_public(address.ip()))
}

/// The blocks of the IANA registry of special-purpose IPv4 addresses (RFC 6890), multicast and what is reserved.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

/// Only what IANA has given out as global unicast (2000::/3) is public; of that, forms that carry an IPv4 address are
/// as public as that address, and special-purpose blocks are not.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match address.segments() {
        // NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(join(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => is_public_v4(join(high, low)),
        // Teredo, ORCHID and other protocol assignments (RFC 2928); documentation (RFC 3849, RFC 9637).
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each block that is not public, in each form.
    pub(crate) const PRIVATE: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.10",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:c0a8:101::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ];

    #[test]
    fn addresses_of_this_machine_and_its_networks_are_not_public() {
        for address in PRIVATE {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2a00::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_name_with_addresses_of_both_kinds_gives_a_public_one() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mixed = [address("127.0.0.1:554"), address("[::1]:554"), address("8.8.8.8:554")];
        assert_eq!(first_public(mixed), Some(address("8.8.8.8:554")));
        assert_eq!(first_public(mixed.into_iter().take(2)), None);
    }
}
