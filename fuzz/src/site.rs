//! A site that answers with any bytes.

use std::sync::LazyLock;
use std::sync::Mutex;
use std::time::Duration;

use copydesk_actors::delivery::{DeliveryKind, Read, Site, SiteClient, Write, WriteOutcome};
use copydesk_core::content::{Field, FieldValue, FieldWrite, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

/// One at a time: the answer is the process's.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static ADDRESS: LazyLock<String> = LazyLock::new(|| {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    RUNTIME.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that hangs up early is no error of the site.
            tokio::spawn(async move { answer(stream).await.unwrap_or_default() });
        }
    });
    format!("http://{address}")
});

/// Made once: reading a machine's root certificates takes longer than a hundred answers.
static CLIENTS: LazyLock<[SiteClient; 3]> = LazyLock::new(|| {
    [DeliveryKind::Core, DeliveryKind::Ingest, DeliveryKind::Plugin].map(|kind| {
        let site = Site::new(
            "news".parse().expect("a name"),
            ADDRESS.parse().expect("an address"),
            "desk".to_owned(),
            "secret".to_owned().into(),
        );
        SiteClient::new(Site { kind, timeout: Duration::from_millis(500), ..site })
            .expect("a client")
    })
});

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|four| four == b"\r\n\r\n") && stream.read_buf(&mut seen).await? > 0
    {
    }
    let answer = ANSWER.lock().expect("nobody panics with it").clone();
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // What it still sends is read, so that it is not reset before it has our answer.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ())
}

/// A site's answer, header and body: a write is applied only if it says success and JSON.
pub fn wp_response(data: &[u8]) {
    *ANSWER.lock().expect("nobody panics with it") = data.to_vec();
    for client in &*CLIENTS {
        RUNTIME.block_on(async {
            let key = write().key;
            let _judged = client.read(&Read { key, with_terms: true, trace: None }).await;
            let Ok(WriteOutcome::Applied { already, .. }) = client.write(&write()).await else {
                return;
            };
            let said = String::from_utf8_lossy(data).to_lowercase();
            let is_success = said.contains("http/1.1 2") || said.contains("http/1.0 2");
            assert!(is_success && said.contains("application/json"), "{already} {said}");
        });
    }
}

fn write() -> Write {
    Write {
        key: "news/42".parse().expect("a post"),
        write_number: 3,
        delivery_id: "17-news-42-3".to_owned(),
        log: 17,
        source: "relay".parse().expect("a name"),
        input_hash: None,
        sequence: Some(12),
        external_id: None,
        event_status: None,
        fields: vec![FieldWrite {
            field: Field::Excerpt,
            value: FieldValue::Text("A harbour opens.".to_owned()),
            mode: Mode::Apply,
            base: None,
        }],
        made: Vec::new(),
        metadata: serde_json::Map::new(),
        trace: None,
    }
}
