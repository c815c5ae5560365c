//! Names to addresses, and whether those may be called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use copydesk_core::outbound::Rules;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A resolver that answers with addresses that the rules allow, or not at all: a name with a
/// public and a private address is one whose owner wants us to try both.
pub(super) struct Guard {
    pub(super) rules: Arc<Rules>,
    pub(super) names: Arc<dyn Resolve>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, resolving) = (Arc::clone(&self.rules), self.names.resolve(name));
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            for ip in addresses.iter().map(SocketAddr::ip) {
                rules.check_address(ip, is_own(ip))?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The machine's resolver.
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0: the client puts in the URL's.
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of this machine's, public ones included: behind them are our own
/// listeners. The kernel reaches its own addresses from themselves; connecting a datagram socket
/// asks it and sends nothing.
pub(super) fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let asked = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    // Where there is no way to it, connecting will say so.
    asked.is_ok_and(|from| from.ip() == ip)
}
