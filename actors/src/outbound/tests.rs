//! Dialling for real: a canary listens where nobody may get, and counts who does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use copydesk_core::outbound::{Refused, Rules};
use http::{HeaderMap, Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use super::{ANSWER_BYTES_MAX, Outbound, SendError, is_own};
use crate::delivery::{Site, SiteClient, SiteError};
use crate::enrichment::provider::Prices;
use crate::enrichment::provider::network::{Kind, Network, NetworkSettings, SetupError};

/// Every way to name an address that is not public. `PORT` is the canary's.
const VECTORS: &str = "\
http://127.0.0.1:PORT/
http://127.0.0.1.:PORT/
http://127.1:PORT/
http://127.0.1:PORT/
http://0x7f.1:PORT/
http://0x7f000001:PORT/
http://0x7f.0x0.0x0.0x1:PORT/
http://2130706433:PORT/
http://0177.0.0.1:PORT/
http://017700000001:PORT/
http://127.0.0.1:PORT\\@example.org/
http://example.org@127.0.0.1:PORT/
http://user:password@localhost:PORT/
http://%31%32%37.0.0.1:PORT/
http://１２７.０.０.１:PORT/
http://①②⑦.⓪.⓪.①:PORT/
http://127。0。0。1:PORT/
http://127.0.\t0.1:PORT/
http:127.0.0.1:PORT
http:\\\\127.0.0.1:PORT\\
http://0.0.0.0:PORT/
http://0:PORT/
http://127.255.255.254:PORT/
http://10.0.0.1:PORT/
http://100.64.0.1:PORT/
http://100.100.100.200:PORT/
http://168.63.129.16:PORT/
http://169.254.169.254:PORT/latest/meta-data/
http://172.16.0.1:PORT/
http://172.31.255.255:PORT/
http://192.0.0.192:PORT/
http://192.0.2.1:PORT/
http://192.88.99.1:PORT/
http://192.168.1.1:PORT/
http://198.18.0.1:PORT/
http://198.51.100.1:PORT/
http://203.0.113.1:PORT/
http://224.0.0.1:PORT/
http://240.0.0.1:PORT/
http://255.255.255.255:PORT/
http://[::]:PORT/
http://[::1]:PORT/
http://[0:0:0:0:0:0:0:1]:PORT/
http://[::127.0.0.1]:PORT/
http://[::ffff:127.0.0.1]:PORT/
http://[::ffff:7f00:1]:PORT/
http://[::ffff:169.254.169.254]:PORT/
http://[64:ff9b::7f00:1]:PORT/
http://[64:ff9b:1::7f00:1]:PORT/
http://[100::1]:PORT/
http://[2001::1]:PORT/
http://[2001:db8::1]:PORT/
http://[2002:7f00:1::1]:PORT/
http://[3fff::1]:PORT/
http://[5f00::1]:PORT/
http://[fd00:ec2::254]:PORT/
http://[fe80::1]:PORT/
http://[fec0::1]:PORT/
http://[ff02::1]:PORT/
http://localhost:PORT/
http://LocalHost.:PORT/
http://metadata.google.internal:PORT/computeMetadata/v1/
http://private.test:PORT/
http://sixth.test:PORT/
http://mixed.test:PORT/
http://mixed-families.test:PORT/
http://mapped.test:PORT/
http://unspecified.test:PORT/
ftp://127.0.0.1:PORT/
gopher://127.0.0.1:PORT/
file://127.0.0.1/etc/passwd
data:text/plain,127.0.0.1";

/// A resolver with the answers of the vectors' names. `flips.test` is a friend's address at every
/// second look and the canary's at the others, as a record with a TTL of 0 can be.
#[derive(Default)]
struct Names {
    asked: AtomicUsize,
}

const FRIEND: &str = "127.0.0.2";

impl Names {
    fn of(&self, name: &str) -> &'static [&'static str] {
        match name.trim_end_matches('.') {
            "friend.test" => &[FRIEND],
            "mixed.test" => &[FRIEND, "127.0.0.1"],
            "mixed-families.test" => &[FRIEND, "::1"],
            "sixth.test" => &["::1"],
            "mapped.test" => &["::ffff:127.0.0.1"],
            "unspecified.test" => &["0.0.0.0"],
            "flips.test" if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => {
                &[FRIEND]
            }
            _ => &["127.0.0.1"],
        }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let address = |ip: &&str| SocketAddr::new(ip.parse().unwrap(), 0);
        let addresses: Vec<_> = self.of(name.as_str()).iter().map(address).collect();
        Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
    }
}

/// Listens on an address and answers everyone the same, closing after it.
async fn server(address: SocketAddr, answer: String) -> (u16, Arc<AtomicUsize>) {
    serve(TcpListener::bind(address).await.unwrap(), answer)
}

fn serve(listener: TcpListener, answer: String) -> (u16, Arc<AtomicUsize>) {
    let (port, reached) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&reached);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (port, reached)
}

/// The canary on every local address of this machine, and a client that may call a friend only,
/// who has the same port.
async fn canary() -> (u16, Vec<Arc<AtomicUsize>>, Outbound) {
    let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned();
    let [first, sixth, friend_too] = same_port().await;
    let (port, reached) = serve(first.unwrap(), answer.clone());
    let mut reached = vec![reached];
    reached.extend(sixth.map(|listener| serve(listener, answer.clone()).1));
    serve(friend_too.unwrap(), answer);
    (port, reached, client(Rules { allow: vec![friend()], http: true, ports: Vec::new() }))
}

/// One port on 127.0.0.1, on ::1 where there is such an address, and at the friend. A port that is
/// free on one of them may be somebody's on another; then it is another port's turn.
async fn same_port() -> [Option<TcpListener>; 3] {
    let bind = async |ip: &str, port| TcpListener::bind((ip, port)).await;
    let has_sixth = bind("::1", 0).await.is_ok();
    for _ in 0..100 {
        let first = bind("127.0.0.1", 0).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let sixth = if has_sixth { bind("::1", port).await.ok() } else { None };
        let friend = bind(FRIEND, port).await.ok();
        if friend.is_some() && sixth.is_some() == has_sixth {
            return [Some(first), sixth, friend];
        }
    }
    panic!("no port is free on all addresses");
}

fn friend() -> ipnet::IpNet {
    format!("{FRIEND}/32").parse().unwrap()
}

fn client(rules: Rules) -> Outbound {
    Outbound::resolving_by(rules, Arc::new(Names::default())).unwrap()
}

async fn status(client: &Outbound, url: &str) -> Result<StatusCode, Refused> {
    let Ok(url) = Url::parse(url) else { return Err(Refused::Host) };
    match client.send(Method::POST, &url, HeaderMap::new(), Bytes::from_static(b"{}")).await {
        Ok(answer) => Ok(answer.status),
        Err(SendError::Refused(refused)) => Err(refused),
        Err(SendError::Http(error)) => panic!("{url} was dialled: {error:?}"),
    }
}

fn count(reached: &[Arc<AtomicUsize>]) -> usize {
    reached.iter().map(|one| one.load(Ordering::SeqCst)).sum()
}

#[tokio::test]
async fn no_vector_reaches_a_private_listener() {
    let (port, reached, guarded) = canary().await;
    let vectors: Vec<_> = VECTORS.lines().map(|v| v.replace("PORT", &port.to_string())).collect();
    assert!(vectors.len() >= 60, "{}", vectors.len());
    for vector in &vectors {
        assert!(status(&guarded, vector).await.is_err(), "{vector} was called");
    }
    assert_eq!(count(&reached), 0);

    // The canary is where the vectors lead, and the guard is what keeps them from it.
    let trusting = client(Rules::trusting());
    for at in ["127.1", "0x7f.1", "①②⑦.⓪.⓪.①", "[::ffff:7f00:1]", "private.test"] {
        let there = status(&trusting, &format!("http://{at}:{port}/")).await;
        assert_eq!(there, Ok(StatusCode::NO_CONTENT), "{at}");
    }
    assert_eq!(count(&reached), 5);
    let allowed = status(&guarded, &format!("http://friend.test:{port}/")).await;
    assert_eq!(allowed, Ok(StatusCode::NO_CONTENT));
}

#[tokio::test]
async fn a_name_that_flips_a_thousand_times_never_reaches_it() {
    let (port, reached, guarded) = canary().await;
    let url = format!("http://flips.test:{port}/");
    let mut called = 0;
    for _ in 0..1_000 {
        called += usize::from(status(&guarded, &url).await.is_ok());
    }
    assert_eq!(called, 500);
    assert_eq!(count(&reached), 0);
}

#[tokio::test]
async fn redirects_are_answers() {
    let (port, reached, guarded) = canary().await;
    for code in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {code} Elsewhere\r\nlocation: http://127.0.0.1:{port}/\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        let (other, _) = server(SocketAddr::new(FRIEND.parse().unwrap(), 0), answer).await;
        let said = status(&guarded, &format!("http://friend.test:{other}/")).await;
        assert_eq!(said, Ok(StatusCode::from_u16(code).unwrap()));
    }
    assert_eq!(count(&reached), 0);
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_bound() {
    let body = "x".repeat(10 * ANSWER_BYTES_MAX);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n{body}");
    let (port, _) = server(SocketAddr::new(FRIEND.parse().unwrap(), 0), answer).await;
    let url: Url = format!("http://friend.test:{port}/").parse().unwrap();
    let guarded = client(Rules { allow: vec![friend()], http: true, ports: vec![port] });
    let answer = guarded.send(Method::POST, &url, HeaderMap::new(), Bytes::new()).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, ANSWER_BYTES_MAX));
}

/// With `outbound.guard_configured` the addresses of the configuration file are judged, too.
#[tokio::test]
async fn a_guarded_site_and_a_guarded_service_are_not_called_at_a_private_address() {
    let (port, reached, _) = canary().await;
    let rules = Rules { http: true, ports: Vec::new(), ..Rules::default() };
    let site = |host: &str| {
        let url = format!("http://{host}:{port}").parse().unwrap();
        let id = "news".parse().unwrap();
        let site = Site::new(id, url, "desk".to_owned(), "pw".to_owned().into());
        SiteClient::new(Site { rules: rules.clone(), ..site })
    };
    assert!(matches!(site("127.0.0.1"), Err(SiteError::Refused(Refused::NotPublic))));
    // A name is judged when it is dialled.
    let failure = site("localhost").unwrap().list_posts("posts", "", 1).await.unwrap_err();
    assert!(failure.cause.contains("public addresses"), "{failure}");
    let base_url = format!("http://127.0.0.1:{port}/v1").parse().unwrap();
    let service = Network::new(NetworkSettings {
        kind: Kind::OpenAi,
        base_url,
        api_key: None,
        api_key_setting: String::new(),
        model: "m".to_owned(),
        connect_timeout: NetworkSettings::CONNECT_TIMEOUT,
        timeout: NetworkSettings::TIMEOUT,
        proxy: None,
        rules,
        prices: Prices::default(),
    });
    assert!(matches!(service, Err(SetupError::Refused(Refused::NotPublic))));
    assert_eq!(count(&reached), 0);
}

#[test]
fn this_machine_knows_its_addresses() {
    let own = |ip: &str| is_own(ip.parse::<IpAddr>().unwrap());
    assert!(own("127.0.0.1"));
    assert!(!own("192.0.2.1") && !own("2001:db8::1"));
    // The one that others see, where there is a network.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.1:9").is_ok() {
        assert!(is_own(socket.local_addr().unwrap().ip()));
    }
}
