//! The actor: keeps the books up with the log, and writes them down.

use std::sync::Arc;
use std::time::Duration;

use copydesk_eventlog::{AppendError, EventLog, NewRecord, ReadError, Record, Sequence};
use copydesk_proto::{ProviderId, SiteId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::books::{Books, CostFilter, CostRow, CostSums, Spent, day_of, subject};
use crate::World;
use crate::cluster::Partitions;
use crate::treasury::TreasuryMessage;

/// How often the books are brought up to date: what a start after a crash has to fold again.
const EVERY: Duration = Duration::from_secs(60);

/// The actor; its state is [`State`].
#[derive(Debug, Clone, Copy)]
pub struct LedgerActor;

/// What the ledger understands.
#[derive(Debug)]
pub enum LedgerMessage {
    /// Tell the rows, up to the end of the log.
    Rows(CostFilter, oneshot::Sender<Result<Vec<(CostRow, CostSums)>, ReadError>>),
    /// Take in decisions, other nodes' among them, and say so. They leave out none of the log's.
    Seen(Vec<Record>, oneshot::Sender<()>),
    /// Write the books down; sent by the actor's own timer.
    Book,
}

/// The books as a start finds them.
#[derive(Debug)]
pub struct Opened {
    books: Books,
    last: Sequence,
    /// What was spent, for the treasury.
    pub spent: Vec<(ProviderId, SiteId, Timestamp, u64)>,
}

/// Reads the books, and the decisions that came after them.
///
/// # Errors
/// [`ReadError`] when the log cannot be read.
pub async fn open(log: &dyn EventLog) -> Result<Opened, ReadError> {
    let (mut books, last) = Books::load(log).await?;
    books.catch_up(log).await?;
    let spent = books.rows(&CostFilter::default()).into_iter().filter_map(|(row, sums)| {
        let provider = row.provider.parse().ok()?;
        let at = Timestamp(i64::from(row.day) * 86_400_000);
        Some((provider, row.site.parse().ok()?, at, sums.cost_microdollars))
    });
    Ok(Opened { spent: spent.collect(), books, last })
}

/// The actor's state.
#[derive(Debug)]
pub struct State {
    log: Arc<dyn EventLog>,
    treasury: ActorRef<TreasuryMessage>,
    /// This process: what it spent is in the treasury already.
    owner: u64,
    partitions: Arc<Partitions>,
    books: Books,
    last: Sequence,
    /// The day on which all rows were last written down.
    whole_day: i32,
}

impl Actor for LedgerActor {
    type Msg = LedgerMessage;
    type State = State;
    type Arguments = (Arc<dyn EventLog>, Opened, ActorRef<TreasuryMessage>, (u64, Arc<Partitions>));

    async fn pre_start(
        &self,
        myself: ActorRef<LedgerMessage>,
        (log, opened, treasury, (owner, partitions)): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        myself.send_interval(EVERY, || LedgerMessage::Book);
        let Opened { books, last, spent: _ } = opened;
        Ok(State { log, treasury, owner, partitions, books, last, whole_day: 0 })
    }

    async fn handle(
        &self,
        _: ActorRef<LedgerMessage>,
        message: LedgerMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LedgerMessage::Rows(filter, reply) => {
                let rows = state.catch_up().await.map(|()| state.books.rows(&filter));
                // Whoever asked may be gone.
                let _ = reply.send(rows);
            }
            LedgerMessage::Seen(page, done) => {
                let spent = state.books.see_all(&page);
                state.tell(spent);
                // The reader may be gone.
                let _ = done.send(());
            }
            LedgerMessage::Book => {
                if let Err(error) = state.catch_up().await {
                    warn!(%error, "the books are not up to date; next time");
                } else if state.partitions.keeps_desk()
                    && let Err(error) = state.write_down().await
                {
                    debug!(%error, "the books were not written down; next time");
                    state.look_up_last().await;
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// Takes in what the log holds by now. What other nodes spent is told to the treasury.
    async fn catch_up(&mut self) -> Result<(), ReadError> {
        let spent = self.books.catch_up(&*self.log).await?;
        self.tell(spent);
        Ok(())
    }

    fn tell(&self, spent: Vec<Spent>) {
        for spent in spent.into_iter().filter(|spent| spent.owner != self.owner) {
            let _ = self.treasury.cast(TreasuryMessage::Book {
                provider: spent.provider,
                site: spent.site,
                at: spent.at,
                microdollars: spent.microdollars,
            });
        }
    }

    /// Another node kept the books. Every node's rows are the same fold of the same log, so the next
    /// writing-down has all of them.
    async fn look_up_last(&mut self) {
        match self.log.last(&subject()).await {
            Ok(last) => {
                self.last = last.map_or(Sequence(0), |record| record.sequence);
                self.books.mark_all();
            }
            Err(error) => warn!(%error, "the books cannot be read; next time"),
        }
    }

    /// Appends the changed rows; once a day all of them, and then what came before may go.
    async fn write_down(&mut self) -> Result<(), AppendError> {
        let now = World::now();
        let is_new_day = day_of(now) != self.whole_day;
        if self.books.changed.is_empty() {
            return Ok(());
        }
        self.books.forget_old(now);
        if is_new_day {
            self.books.mark_all();
        }
        let mut first = None;
        for booked in self.books.booked() {
            let record = NewRecord {
                subject: subject(),
                message_id: None,
                expected_last: Some(self.last),
                headers: Vec::new(),
                payload: copydesk_proto::encode(&booked),
            };
            self.last = self.log.append(record).await?.sequence();
            first.get_or_insert(self.last);
        }
        self.books.changed.clear();
        if let (true, Some(first)) = (is_new_day, first) {
            self.whole_day = day_of(now);
            if let Err(error) = self.log.trim(&subject(), first).await {
                warn!(%error, "old records of the books stay for now");
            }
        }
        Ok(())
    }
}
