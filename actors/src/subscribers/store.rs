//! A sink that is an object store: files of JSON lines, several notices a file.
//!
//! An object cannot be added to, and each costs a request. So notices that come within a second of
//! each other become one object, and each of them waits for its end.

use std::time::Duration;

use copydesk_core::failure::{Failure, FailureClass};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::notice::Parcel;
use crate::World;
use crate::bucket::Bucket;

/// How long the first line of a file waits for others: 86,400 files a day at most, for which S3 asks
/// half a dollar.
const GATHER: Duration = Duration::from_secs(1);

/// `<subscriber>/2026/11/28/<uuid>.jsonl`; the names sort by the time of writing. A name is never
/// used twice, so a notice that is sent again takes no other's line away.
#[derive(Debug)]
pub struct Store {
    orders: mpsc::Sender<Order>,
    target: String,
}

#[derive(Debug)]
struct Order {
    line: Vec<u8>,
    stored: oneshot::Sender<Result<(), Failure>>,
}

impl Store {
    /// `places`: lines that may be under way at once; more would never come.
    pub(super) fn open(bucket: Bucket, target: String, places: usize) -> Self {
        let (orders, waiting) = mpsc::channel(places.max(1));
        tokio::spawn(store_for_ever(bucket, waiting, places));
        Self { orders, target }
    }

    pub(super) fn target(&self) -> String {
        self.target.clone()
    }

    pub(super) async fn write(&self, parcel: &Parcel) -> Result<(), Failure> {
        let (stored, answer) = oneshot::channel();
        let order = Order { line: parcel.line(), stored };
        let broken = || failed("the write was broken off");
        self.orders.send(order).await.map_err(|_| broken())?;
        answer.await.unwrap_or_else(|_| Err(broken()))
    }
}

/// Stores one file after the other, until nobody can order more.
async fn store_for_ever(bucket: Bucket, mut orders: mpsc::Receiver<Order>, places: usize) {
    while let Some(first) = orders.recv().await {
        let mut waiting = vec![first];
        let deadline = tokio::time::sleep(GATHER);
        tokio::pin!(deadline);
        while waiting.len() < places {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => waiting.push(order),
                    None => break,
                },
                () = &mut deadline => break,
            }
        }
        let lines: Vec<u8> = waiting.iter().flat_map(|order| order.line.iter().copied()).collect();
        let name = format!("{}.jsonl", Uuid::now_v7());
        let put = bucket.put(World::now(), &name, lines).await;
        let stored = put.map_err(|error| refused(&error));
        for order in waiting {
            // Whoever no longer waits sends it again.
            let _gone = order.stored.send(stored.clone());
        }
    }
}

/// What a store answers may be a page of XML; what it says most often has words of our own.
fn refused(error: &object_store::Error) -> Failure {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    if matches!(error, NotFound { .. }) {
        failed("there is no such bucket")
    } else if matches!(error, PermissionDenied { .. } | Unauthenticated { .. }) {
        failed("it refuses the key")
    } else {
        failed(&error.to_string())
    }
}

fn failed(error: &str) -> Failure {
    let cause = format!("the store did not take it: {error}");
    Failure::new(FailureClass::Retry, "sink_unwritable", cause)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

    use std::sync::Arc;

    use bytes::Bytes;
    use futures::TryStreamExt;
    use futures::future::join_all;
    use object_store::local::LocalFileSystem;
    use object_store::{ObjectStore, ObjectStoreExt};
    use serde_json::Value;

    use super::*;

    fn parcel(number: usize) -> Parcel {
        let body = format!("{{\"type\":\"post.applied\",\"data\":{{\"sequence\":{number}}}}}");
        let kind = "post.applied".to_owned();
        Parcel { id: format!("n{number}"), kind, body: Bytes::from(body), trace: None }
    }

    /// The files by name, each with the ids of its lines.
    async fn files(store: &dyn ObjectStore) -> Vec<(String, Vec<String>)> {
        let mut found: Vec<_> = store.list(None).try_collect().await.unwrap();
        found.sort_by_key(|file| file.location.clone());
        let mut files = Vec::new();
        for file in found {
            let bytes = store.get(&file.location).await.unwrap().bytes().await.unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            assert!(text.ends_with('\n'));
            let id = |line: &str| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["id"].as_str().unwrap().to_owned()
            };
            files.push((file.location.to_string(), text.lines().map(id).collect()));
        }
        files
    }

    #[tokio::test]
    async fn notices_that_come_together_are_one_file_and_a_repeat_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let bucket = Bucket::new(local.clone(), "desk".into()).below("lake");
        let store = Store::open(bucket, String::new(), 8);
        let parcels: Vec<Parcel> = (0..8).map(parcel).collect();
        for done in join_all(parcels.iter().map(|parcel| store.write(parcel))).await {
            done.unwrap();
        }
        // Alone it waits a second for others, then goes; under a name of its own.
        store.write(&parcels[0]).await.unwrap();
        let files = files(&*local).await;
        let lines: Vec<usize> = files.iter().map(|(_, lines)| lines.len()).collect();
        assert_eq!(lines, [8, 1]);
        let (name, ids) = &files[0];
        assert_eq!(ids, &(0..8).map(|n| format!("n{n}")).collect::<Vec<_>>());
        assert!(name.starts_with("desk/lake/20") && name.ends_with(".jsonl"), "{name}");
        assert_eq!(name.split('/').count(), 6, "{name}: year, month and day");
    }

    #[tokio::test]
    async fn a_store_that_fails_is_told_to_all_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        // A file where a folder must be.
        let in_the_way = folder.path().join("lake");
        std::fs::write(&in_the_way, "").unwrap();
        let bucket = Bucket::new(local.clone(), "lake".into());
        let store = Store::open(bucket, String::new(), 2);
        let parcels = [parcel(0), parcel(1)];
        for done in join_all(parcels.iter().map(|parcel| store.write(parcel))).await {
            let failure = done.unwrap_err();
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (FailureClass::Retry, "sink_unwritable")
            );
        }
        std::fs::remove_file(in_the_way).unwrap();
        for done in join_all(parcels.iter().map(|parcel| store.write(parcel))).await {
            done.unwrap();
        }
        assert_eq!(files(&*local).await.len(), 1);
    }
}
