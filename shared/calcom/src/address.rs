//! Where requests may go: the check of the base URL, and of each address that its host resolves to.
//!
//! Deliberately absent: a list of Cal.com's own hosts (self-hosters have others), and any second look-up: the addresses
//! that were checked are the ones that are connected to, so a name cannot change its mind in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::client::ClientError;

/// A base URL that passed, and whether its host must resolve to public addresses.
pub(crate) struct Checked {
    pub(crate) url: Url,
    pub(crate) public_only: bool,
}

/// Takes `https://…`, and `http://` on the own machine; with `allow_insecure` any `http://` and any address.
pub(crate) fn check(base_url: &str, allow_insecure: bool) -> Result<Checked, ClientError> {
    let url = Url::parse(base_url).map_err(|_| ClientError::BaseUrl)?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(ClientError::BaseUrl);
    }
    let (own_machine, address) = match url.host() {
        None => return Err(ClientError::BaseUrl),
        Some(Host::Domain(name)) => (name == "localhost", None),
        Some(Host::Ipv4(ip)) => (ip.is_loopback(), Some(IpAddr::V4(ip))),
        Some(Host::Ipv6(ip)) => (ip.is_loopback(), Some(IpAddr::V6(ip))),
    };
    match url.scheme() {
        "https" => {}
        "http" if own_machine || allow_insecure => {}
        "http" => return Err(ClientError::Insecure),
        _ => return Err(ClientError::BaseUrl),
    }
    let public_only = !own_machine && !allow_insecure;
    if public_only && address.is_some_and(|ip| !is_public(ip)) {
        return Err(ClientError::PrivateAddress);
    }
    Ok(Checked { url, public_only })
}

/// Resolves a name and drops every address that is not on the public Internet.
pub(crate) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 is replaced by the URL's.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the host has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// IANA's special-purpose registry, read as: what could be inside somebody's network.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

/// Global unicast without the ranges that carry another address in them; NAT64 counts as the address it carries.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let [a, b, c, d, e, f, g, h] = ip.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [[w, x], [y, z]] = [g.to_be_bytes(), h.to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(w, x, y, z));
    }
    let global_unicast = a & 0xe000 == 0x2000;
    let special = match a {
        0x2001 => b < 0x0200 || b == 0x0db8,
        0x3fff => b < 0x1000,
        _ => a == 0x2002,
    };
    global_unicast && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        for good in ["https://api.cal.com/v2", "https://cal.example.org:8443/api/v2", "https://1.1.1.1/v2"] {
            assert!(check(good, false).is_ok_and(|checked| checked.public_only), "{good}");
        }
        for own in ["http://127.0.0.1:4010/v2", "http://localhost:4010/v2", "http://[::1]:4010/v2", "https://127.0.0.1"]
        {
            assert!(check(own, false).is_ok_and(|checked| !checked.public_only), "{own}");
        }
        for insecure in ["http://api.cal.com/v2", "http://127.0.0.1.nip.io/v2", "http://sandbox:4010/v2"] {
            assert!(matches!(check(insecure, false), Err(ClientError::Insecure)), "{insecure}");
            assert!(check(insecure, true).is_ok_and(|checked| !checked.public_only), "{insecure}");
        }
        for bad in [
            "",
            "api.cal.com/v2",
            "ftp://api.cal.com",
            "file:///etc/passwd",
            "gopher://127.0.0.1",
            "data:text/plain,x",
            "https://user@api.cal.com/v2",
            "https://user:secret@api.cal.com/v2",
            "https://api.cal.com/v2?x=1",
            "https://api.cal.com/v2#x",
            "https://",
            "https://0x100000000/",
        ] {
            assert!(matches!(check(bad, true), Err(ClientError::BaseUrl)), "{bad}");
        }
    }

    #[test]
    fn addresses_that_are_not_public() {
        for evil in [
            "0.0.0.0",
            "0",
            "0x0a000001",
            "10.0.0.1",
            "012.0.0.1",
            "167772161",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.43518",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.257",
            "3232235521",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::ffff:169.254.169.254]",
            "[::ffff:10.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[::10.0.0.1]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:2::1]",
            "[2001:10::1]",
            "[2001:db8::1]",
            "[2002:a00:1::1]",
            "[2002:a9fe:a9fe::1]",
            "[3fff::1]",
            "[5f00::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[4000::1]",
            "[::2]",
            "[0:0:0:0:0:ffff:c0a8:1]",
            "１０.0.0.1",
            "10。0。0。1",
            "%31%30.0.0.1",
        ] {
            let url = format!("https://{evil}/v2");
            assert!(matches!(check(&url, false), Err(ClientError::PrivateAddress)), "{url}");
        }
        // The own machine, however it is written, is not a way to somebody else's network, but it is not Cal.com either:
        // it must be asked for with its address, and then no other address is ever used.
        for own in ["https://0177.0.0.1/v2", "https://2130706433/v2", "https://127.1/v2", "https://0x7f.1/v2"] {
            assert!(
                check(own, false)
                    .is_ok_and(|checked| !checked.public_only && checked.url.host_str() == Some("127.0.0.1"))
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_the_own_machine_has_no_address() {
        let name = "localhost".parse().unwrap();
        assert!(PublicOnly.resolve(name).await.is_err());
    }
}
