//! How near an address is to this server. Whoever is far away does not lead us to what is near: services that believe
//! whoever can reach them, a cloud's metadata among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How near an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Near {
    /// Anybody reaches it.
    Internet,
    /// A network of one's own.
    Network,
    /// This machine, and what only those on the same link reach.
    Machine,
}

impl Near {
    /// How near the address is; one that stands for another is where that is.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    const fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // "This network", the machine, the link, multicast and what nobody has.
            [0 | 127 | 224..=255, ..] | [169, 254, ..] => Self::Machine,
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [192, 0, 0, _]
            | [198, 18 | 19, ..] => Self::Network,
            _ => Self::Internet,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            // Unspecified, loopback, and the form of IPv4 that nobody uses any more.
            [0, 0, 0, 0, 0, 0, ..] => Self::Machine,
            // Link-local, multicast, and the metadata of one cloud, which has an address in a network of one's own.
            [0xfe80..=0xfebf | 0xff00..=0xffff, ..] | [0xfd00, 0xec2, ..] => Self::Machine,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Self::Network,
            // By way of a translator (RFC 6052, RFC 3056).
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
            [0x64, 0xff9b, ..] => Self::Network,
            [0x2002, high, low, ..] => embedded(high, low),
            _ => Self::Internet,
        }
    }

    /// In words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Internet => "on the Internet",
            Self::Network => "in a network of its own",
            Self::Machine => "on this machine or its link",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_as_near_as_what_it_stands_for() {
        for (near, addresses) in [
            (
                Near::Internet,
                &["192.0.2.1", "8.8.8.8", "172.32.0.1", "2001:db8::1", "64:ff9b::808:808", "2002:808:808::1"][..],
            ),
            (
                Near::Network,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "100.64.0.1",
                    "::ffff:10.0.0.1",
                    "fd12::1",
                ],
            ),
            (Near::Network, &["fec0::1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::1"]),
            (Near::Machine, &["127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255"]),
            (Near::Machine, &["::1", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::127.0.0.1"]),
            (Near::Machine, &["64:ff9b::a9fe:a9fe", "2002:7f00:1::"]),
        ] {
            for address in addresses {
                assert_eq!(Near::of(address.parse().unwrap()), near, "{address}");
            }
        }
        assert!(Near::Internet < Near::Network && Near::Network < Near::Machine);
    }
}
