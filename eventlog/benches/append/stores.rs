//! The stores that the embedded log might stand on, bare: one thread, group commit, synced
//! before the answer, indexes by sequence, subject and message id. They do nothing else of what
//! a log must do, so they show what the store itself costs.

use std::path::Path;
use std::sync::Arc;

use copydesk_eventlog::{MessageId, NewRecord};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use redb::TableDefinition;
use tokio::sync::{mpsc, oneshot};

use super::Append;

type Waiting = (NewRecord, oneshot::Sender<()>);
type Commit = Box<dyn FnMut(&[Waiting], u64) + Send>;

/// Records in one group commit.
const BATCH_MAX: usize = 1024;

pub(super) fn open(name: &str, folder: &Path) -> Append {
    let mut commit: Commit = match name {
        "fjall" => fjall(folder),
        "redb" => redb(folder),
        other => panic!("no bench is called {other}"),
    };
    let (queue, mut waiting) = mpsc::channel(4096);
    std::thread::spawn(move || {
        let (mut batch, mut last) = (Vec::new(), 0);
        while waiting.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            commit(&batch, last + 1);
            for (_, answer) in batch.drain(..) {
                last += 1;
                answer.send(()).unwrap();
            }
        }
    });
    Arc::new(move |record| {
        let queue = queue.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            queue.send((record, answer)).await.unwrap();
            answered.await.unwrap();
        })
    })
}

fn keys(record: &NewRecord, sequence: u64) -> ([u8; 8], Vec<u8>, [u8; 16]) {
    let place = sequence.to_be_bytes();
    let subject = [record.subject.as_str().as_bytes(), &[0], &place].concat();
    let MessageId(id) = record.message_id.unwrap();
    (place, subject, id)
}

fn fjall(folder: &Path) -> Commit {
    let db = Database::builder(folder).manual_journal_persist(true).open().unwrap();
    let [records, subjects, ids] = ["records", "subjects", "ids"]
        .map(|name| db.keyspace(name, KeyspaceCreateOptions::default).unwrap());
    Box::new(move |batch, first| {
        let mut write = db.batch().durability(Some(PersistMode::SyncData));
        for ((record, _), sequence) in batch.iter().zip(first..) {
            let (place, subject, id) = keys(record, sequence);
            write.insert(&records, place, record.payload.as_ref());
            write.insert(&subjects, subject, b"".as_slice());
            write.insert(&ids, id, place);
        }
        write.commit().unwrap();
    })
}

fn redb(folder: &Path) -> Commit {
    const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
    const SUBJECTS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("subjects");
    const IDS: TableDefinition<'_, [u8; 16], u64> = TableDefinition::new("ids");
    let db = redb::Database::create(folder.join("redb")).unwrap();
    Box::new(move |batch, first| {
        let write = db.begin_write().unwrap();
        {
            let mut records = write.open_table(RECORDS).unwrap();
            let mut subjects = write.open_table(SUBJECTS).unwrap();
            let mut ids = write.open_table(IDS).unwrap();
            for ((record, _), sequence) in batch.iter().zip(first..) {
                let (_, subject, id) = keys(record, sequence);
                records.insert(sequence, record.payload.as_ref()).unwrap();
                subjects.insert(subject.as_slice(), ()).unwrap();
                ids.insert(id, sequence).unwrap();
            }
        }
        write.commit().unwrap();
    })
}
