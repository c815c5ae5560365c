//! Which addresses may be called that someone chose: a subscriber's, and, where the configuration
//! wants it, those of the configuration file.
//!
//! Two questions, asked at every dial and not only when an address is saved: is the URL one that we
//! call at all ([`Rules::check_url`], which judges an address in it), and is each address that its
//! name resolves to a public one ([`Rules::check_address`]). A name whose answer changes after it was
//! saved (DNS rebinding) gains nothing so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// What may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Networks that may be called though they are not public.
    pub allow: Vec<IpNet>,
    /// Whether `http://` is called, too.
    pub http: bool,
    /// Ports that are called; empty: any.
    pub ports: Vec<u16>,
}

/// Why an address is not called. It does not say what a name resolved to: that would tell whoever
/// chose the address about our network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not HTTP over TLS.
    #[error("the address must begin with https:// (outbound.allow_http allows http://)")]
    Scheme,
    /// `user:password@`.
    #[error("the address must not hold a user or a password")]
    UserInfo,
    /// Any other port.
    #[error("the port is not one of outbound.ports")]
    Port,
    /// No host, or one of those by which machines ask their cloud for credentials.
    #[error("the address must name a host that may be called")]
    Host,
    /// Private, local, reserved, or our own.
    #[error(
        "the host is not, or does not resolve to public addresses only (outbound.allow names \
         exceptions)"
    )]
    NotPublic,
}

impl Default for Rules {
    /// Public addresses over TLS, on the ports that web servers have.
    fn default() -> Self {
        Self { allow: Vec::new(), http: false, ports: vec![443, 8443, 80] }
    }
}

impl Rules {
    /// Anything: for addresses of the configuration file, whose author may reach them anyway.
    #[must_use]
    pub fn trusting() -> Self {
        let all = |address: IpAddr| IpNet::new_assert(address, 0);
        let allow = vec![all(Ipv4Addr::UNSPECIFIED.into()), all(Ipv6Addr::UNSPECIFIED.into())];
        Self { allow, http: true, ports: Vec::new() }
    }

    /// All that can be judged without asking DNS. The parsed host counts: the parser knows every
    /// way to write `127.0.0.1`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        match url.scheme() {
            "https" => {}
            "http" if self.http => {}
            _ => return Err(Refused::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let port = url.port_or_known_default().ok_or(Refused::Port)?;
        if port == 0 || !self.ports.is_empty() && !self.ports.contains(&port) {
            return Err(Refused::Port);
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check_address(ip.into(), false),
            Some(Host::Ipv6(ip)) => self.check_address(ip.into(), false),
            Some(Host::Domain(name)) if !METADATA.contains(&name.trim_end_matches('.')) => Ok(()),
            Some(Host::Domain(_)) | None => Err(Refused::Host),
        }
    }

    /// `own`: whether it is one of this machine's.
    ///
    /// # Errors
    /// [`Refused::NotPublic`].
    pub fn check_address(&self, address: IpAddr, own: bool) -> Result<(), Refused> {
        let address = address.to_canonical();
        let allowed = self.allow.iter().any(|network| network.contains(&address));
        if allowed || is_public(address) && !own { Ok(()) } else { Err(Refused::NotPublic) }
    }
}

/// Names of services that hand out a machine's credentials. By address they are refused anyway.
const METADATA: [&str; 2] = ["metadata.google.internal", "metadata.goog"];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// IANA's special-purpose registry (RFC 6890 and its successors), and Azure's own public address.
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(168, 63, 129, 16, 32),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

const fn v6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

/// All of IPv6 that is handed out. What lies outside is loopback, mapped, translated, local,
/// multicast, or not in use.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

/// Parts of it that are not: protocol assignments with Teredo, documentation twice, and 6to4.
const NOT_PUBLIC_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x2002, 0, 16), v6(0x3fff, 0, 20)];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&ip)),
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip) && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&ip))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
mod tests {
    use super::*;

    fn check(rules: &Rules, url: &str, expected: Result<(), Refused>) {
        assert_eq!(rules.check_url(&url.parse().unwrap()), expected, "{url}");
    }

    #[test]
    fn only_plain_public_https_addresses_are_called() {
        let rules = Rules::default();
        check(&rules, "https://example.org/hook?key=1", Ok(()));
        check(&rules, "https://example.org:8443/", Ok(()));
        check(&rules, "https://93.184.215.14/", Ok(()));
        check(&rules, "https://[2606:4700::1111]/", Ok(()));
        check(&rules, "https://[::ffff:93.184.215.14]/", Ok(()));
        check(&rules, "http://example.org/", Err(Refused::Scheme));
        check(&rules, "ftp://example.org/", Err(Refused::Scheme));
        check(&rules, "file:///etc/passwd", Err(Refused::Scheme));
        check(&rules, "https://user@example.org/", Err(Refused::UserInfo));
        check(&rules, "https://:secret@example.org/", Err(Refused::UserInfo));
        check(&rules, "https://example.org:22/", Err(Refused::Port));
        check(&rules, "https://example.org:0/", Err(Refused::Port));
        check(&rules, "https://metadata.google.internal/", Err(Refused::Host));
        check(&rules, "https://METADATA.google.internal./", Err(Refused::Host));
        check(&rules, "https://10.0.0.1/", Err(Refused::NotPublic));
    }

    #[test]
    fn the_configuration_names_exceptions() {
        let rules =
            Rules { allow: vec!["10.1.0.0/16".parse().unwrap()], http: true, ports: Vec::new() };
        check(&rules, "http://10.1.2.3:9000/", Ok(()));
        check(&rules, "http://[::ffff:10.1.2.3]:9000/", Ok(()));
        check(&rules, "http://10.2.2.3:9000/", Err(Refused::NotPublic));
        let own: IpAddr = "93.184.215.14".parse().unwrap();
        assert_eq!(rules.check_address(own, true), Err(Refused::NotPublic));
        assert_eq!(rules.check_address("10.1.2.3".parse().unwrap(), true), Ok(()));
        for url in ["http://127.0.0.1:1/", "https://[::1]/", "http://169.254.169.254/"] {
            check(&Rules::trusting(), url, Ok(()));
        }
    }

    #[test]
    fn ranges_end_where_their_registry_says() {
        let public =
            ["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255"]
                .into_iter()
                .chain([
                    "172.32.0.0",
                    "192.0.1.0",
                    "198.17.255.255",
                    "198.20.0.0",
                    "223.255.255.255",
                ])
                .chain(["2001:200::", "2001:db7::", "2001:db9::", "2003::", "2a00::", "3ffe::"]);
        for ip in public {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["2001:1ff::", "3fff:fff::", "1fff::", "4000::", "64:ff9b::5db8:d70e"] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
