use copydesk_core::access::Reach;
use copydesk_core::failure::{Failure, FailureClass};
use copydesk_core::post::{PostCommand, PostEvent};
use copydesk_eventlog::{EventLog, NewRecord, Sequence};

use super::*;
use crate::desk::journey::testing::{NOON, Newsroom, SECRET, now, run};
use crate::records::{Intake, Subjects};

fn key(text: &str) -> PostKey {
    text.parse().unwrap()
}

fn listed(room: &Newsroom, filter: &EventFilter, limit: usize) -> Vec<EventRow> {
    now(events(&room.log, filter, limit)).unwrap().rows
}

fn of_site(name: &str) -> Reach {
    Reach::Desk.narrowed(Some(name.parse().unwrap()))
}

/// Every page of a list, from the first to the last.
fn walk<Row>(limit: usize, look: impl Fn(Option<Place>) -> Page<Row>) -> Vec<Row> {
    let (mut rows, mut before) = (Vec::new(), None);
    loop {
        let page = look(before);
        assert!(page.rows.len() <= limit);
        rows.extend(page.rows);
        before = page.next;
        if before.is_none() {
            return rows;
        }
    }
}

/// Position, state and cause of each event, newest first.
fn states(room: &Newsroom) -> Vec<(u64, &'static str, String)> {
    let rows = listed(room, &EventFilter::default(), ROWS_MAX);
    rows.into_iter().map(|row| (row.position, row.state, row.cause)).collect()
}

fn give_up(position: u64) -> Vec<PostCommand> {
    vec![PostCommand::Drop { run: run(position), by: "ann".to_owned(), reason: String::new() }]
}

fn retry(position: u64) -> Vec<PostCommand> {
    vec![PostCommand::Retry {
        run: run(position),
        by: "ann".to_owned(),
        reason: String::new(),
        redo: copydesk_core::post::Redo::default(),
    }]
}

#[test]
fn an_event_is_followed_from_the_log_to_its_end() {
    let mut room = Newsroom::new();
    let none = String::new;
    let intake = room.intake(Some("a"));
    let first = room.store("news/1", &intake);
    assert_eq!(states(&room), [(first, "unconsidered", none())]);
    room.consider("news/1");
    assert_eq!(states(&room), [(first, "working", none())]);
    let second = room.webhook("news/1", "b");
    assert_eq!(states(&room), [(second, "accepted", none()), (first, "working", none())]);
    let failure = Failure::new(FailureClass::Retry, "provider_down", "it answers 500");
    room.answer_next("news/1", Some(failure));
    let [_, (_, state, cause)] = states(&room).try_into().unwrap();
    assert_eq!(state, "waiting");
    assert!(cause.starts_with("provider_down: it answers 500, again at 12:00:0"), "{cause}");
    room.settle("news/1");
    assert!(
        states(&room).iter().all(|(_, state, cause)| *state == "applied" && cause == "applied")
    );
    let row = listed(&room, &EventFilter::default(), 2).pop().unwrap();
    let expected = EventRow {
        event_id: intake.event_id,
        post: key("news/1"),
        source: "blog".to_owned(),
        event_type: "post.updated".to_owned(),
        position: first,
        received_at: Timestamp(NOON),
        external_id: String::new(),
        state: "applied",
        cause: "applied".to_owned(),
    };
    assert_eq!(row, expected);
}

#[test]
fn ends_without_a_run_have_their_cause() {
    let mut room = Newsroom::new();
    let first = room.webhook("news/1", "a");
    room.settle("news/1");
    let known = room.intake(Some("a"));
    let again = Intake { idempotency_key: "key-1".to_owned(), ..known.clone() };
    let reused = room.store("news/1", &again);
    let routeless = room.store("news/1", &Intake { route: None, ..known });
    room.consider("news/1");
    let unchanged = room.webhook("news/1", "a");
    let found = states(&room);
    assert_eq!(
        found[0],
        (unchanged, "unchanged", "unchanged: this text was worked on before".to_owned())
    );
    assert_eq!(found[1], (routeless, "filtered", "filtered: no route wants it".to_owned()));
    let cause = "filtered: its idempotency key came before with another body".to_owned();
    assert_eq!(found[2], (reused, "filtered", cause));
    assert_eq!(found[3].0, first);
}

#[test]
fn dead_letters_are_seen_retried_and_dropped() {
    let mut room = Newsroom::new();
    let first = room.dead_letter("news/1", "a");
    room.wait(1_000);
    let second = room.dead_letter("news/1", "b");
    room.webhook("news/2", "c");
    room.settle("news/2");
    let cause = "provider_key_refused: the key is refused; renew it";
    assert_eq!(states(&room)[1], (second, "dead", cause.to_owned()));

    let all = || now(dead_letters(&room.log, &PostFilter::default(), 10)).unwrap().rows;
    let row = |run, ms| DeadLetterRow {
        post: key("news/1"),
        run,
        step: "summary".to_owned(),
        code: "provider_key_refused".to_owned(),
        cause: "the key is refused; renew it".to_owned(),
        at: Timestamp(NOON + ms),
        // The other enrichment was answered; its answer is not asked for again.
        paid: 1,
        unpaid: vec!["summary".to_owned()],
        source: "blog".to_owned(),
        route: "every".to_owned(),
    };
    assert_eq!(all(), [row(second, 1_000), row(first, 0)]);
    let of = |filter: PostFilter, limit| {
        walk(limit, |before| {
            let filter = PostFilter { before, ..filter.clone() };
            now(dead_letters(&room.log, &filter, limit)).unwrap()
        })
    };
    let none = PostFilter::default;
    assert_eq!(of(none(), 1), [row(second, 1_000), row(first, 0)]);
    assert_eq!(of(PostFilter { reach: of_site("other"), ..none() }, 9), []);
    assert_eq!(of(PostFilter { post: Some(key("news/2")), ..none() }, 9), []);
    assert_eq!(of(PostFilter { post: Some(key("news/1")), ..none() }, 9).len(), 2);
    assert_eq!(of(PostFilter { code: Some("wp_gone".to_owned()), ..none() }, 9), []);

    room.turn("news/1", give_up(second)).unwrap();
    assert_eq!(states(&room)[1], (second, "dropped", "dropped by ann".to_owned()));
    room.turn("news/1", retry(first)).unwrap();
    assert_eq!(states(&room)[2].1, "working");
    room.settle("news/1");
    assert_eq!(states(&room)[2].1, "applied");
    assert_eq!(now(dead_letters(&room.log, &PostFilter::default(), 10)).unwrap().rows, []);
}

#[test]
fn dead_letters_of_one_cause_are_one_group() {
    let mut room = Newsroom::new();
    room.dead_letter("news/1", "a");
    room.dead_letter("news/1", "b");
    room.wait(1_000);
    room.dead_letter("news/2", "a");
    room.dead_letter("other/1", "a");
    let groups = |filter: PostFilter| now(dead_letter_groups(&room.log, &filter)).unwrap();
    let [news, other] = groups(PostFilter::default()).try_into().unwrap();
    assert_eq!((news.site.as_str(), news.posts, news.letters), ("news", 2, 3));
    assert_eq!(
        (news.code.as_str(), news.cause.as_str()),
        ("provider_key_refused", "the key is refused; renew it")
    );
    assert_eq!((news.first_at, news.last_at), (Timestamp(NOON), Timestamp(NOON + 1_000)));
    assert_eq!((other.posts, other.example), (1, key("other/1")));
    let one = groups(PostFilter { reach: of_site("other"), ..PostFilter::default() });
    assert_eq!(one.len(), 1);
    let none = groups(PostFilter { code: Some("wp_gone".to_owned()), ..PostFilter::default() });
    assert_eq!(none, []);
}

#[test]
fn causes_that_differ_in_numbers_are_one() {
    assert_eq!(groups::without_numbers("3 of 17, 5"), "0 of 0, 0");
    assert_eq!(groups::without_numbers("none"), "none");
}

#[test]
fn a_retry_that_has_to_wait_says_who_wants_it() {
    let mut room = Newsroom::new();
    let dead = room.dead_letter("news/1", "a");
    room.webhook("news/1", "b");
    room.turn("news/1", retry(dead)).unwrap();
    assert_eq!(states(&room)[1], (dead, "waiting", "to be tried again, says ann".to_owned()));
}

#[test]
fn lists_go_on_where_they_ended() {
    let mut room = Newsroom::new();
    let mut expected: Vec<u64> = (0..500)
        .map(|n| {
            let key = format!("{}/{}", if n % 5 == 0 { "other" } else { "news" }, 1 + n % 7);
            let position = room.webhook(&key, &format!("text {n}"));
            room.settle(&key);
            position
        })
        .collect();
    expected.reverse();
    let walk = |filter: EventFilter, limit: usize| -> Vec<u64> {
        let rows = walk(limit, |before| {
            now(events(&room.log, &EventFilter { before, ..filter.clone() }, limit)).unwrap()
        });
        rows.into_iter().map(|row| row.position).collect()
    };
    for limit in [1, 7, 499, 5_000] {
        assert_eq!(walk(EventFilter::default(), limit), expected, "by {limit}");
    }
    let other: Vec<u64> = expected.iter().rev().copied().step_by(5).collect();
    let other: Vec<u64> = other.into_iter().rev().collect();
    let reach = || of_site("other");
    assert_eq!(walk(EventFilter { reach: reach(), ..EventFilter::default() }, 9), other);
    let applied = Some("applied".to_owned());
    let filter = EventFilter { reach: reach(), state: applied, ..EventFilter::default() };
    assert_eq!(walk(filter, 9), other);
    let dead = Some("dead".to_owned());
    assert!(walk(EventFilter { state: dead, ..EventFilter::default() }, 9).is_empty());
    let post = Some(key("other/1"));
    let one: Vec<u64> = other.iter().rev().copied().step_by(7).collect();
    let one: Vec<u64> = one.into_iter().rev().collect();
    assert_eq!(walk(EventFilter { post, ..EventFilter::default() }, 4), one);
}

#[test]
fn an_event_is_found_by_its_id() {
    let mut room = Newsroom::new();
    let mut ids = Vec::new();
    for n in 0..300 {
        room.wait(900);
        let intake = room.intake(Some(&format!("text {n}")));
        // Appended up to a second after the id was made.
        room.wait(n % 10 * 100);
        let post = format!("news/{}", 1 + n % 3);
        let position = room.store(&post, &intake);
        room.consider(&post);
        room.settle(&post);
        ids.push((intake.event_id, position));
    }
    for (id, position) in &ids {
        let found = now(event(&room.log, id)).unwrap().unwrap();
        assert_eq!((&found.event_id, found.position, found.state), (id, *position, "applied"));
    }
    let upper = ids[7].0.to_uppercase();
    assert_eq!(now(event(&room.log, &upper)).unwrap().unwrap().position, ids[7].1);
    let unknown = ids[7].0.replace("-8000-", "-8001-");
    assert_ne!(unknown, ids[7].0);
    for id in [unknown.as_str(), "", "7", "a3bb189e-8bf9-4888-9912-ace4e6543002"] {
        assert_eq!(now(event(&room.log, id)).unwrap(), None, "{id}");
    }
    let empty = Newsroom::new();
    assert_eq!(now(event(&empty.log, &ids[0].0)).unwrap(), None);
}

#[test]
fn an_id_is_found_among_trimmed_and_under_a_clock_that_differs() {
    let mut room = Newsroom::new();
    for n in 0..50 {
        room.webhook("news/1", &format!("text {n}"));
        room.settle("news/1");
    }
    let subject = Subjects::of(&key("news/1")).intake;
    now(room.log.trim(&subject, Sequence(u64::MAX))).unwrap();
    // The receiver's clock is four seconds ahead of the log's, or behind it.
    for skew in [4_000, -4_000] {
        room.wait(60_000 + skew);
        let intake = room.intake(None);
        room.wait(-skew);
        let position = room.store("news/2", &intake);
        let found = now(event(&room.log, &intake.event_id)).unwrap().unwrap();
        assert_eq!(found.position, position);
        room.wait(60_000);
    }
}

#[test]
fn what_was_trimmed_has_ended() {
    let mut room = Newsroom::new();
    let ended = room.webhook("news/1", "a");
    room.settle("news/1");
    let dead = room.dead_letter("news/1", "b");
    room.turn("news/1", vec![PostCommand::Checkpoint]).unwrap();
    let checkpoint = room.post("news/1").last;
    now(room.log.trim(&Subjects::of(&key("news/1")).decisions, checkpoint)).unwrap();
    let found = states(&room);
    assert_eq!((found[0].0, found[0].1), (dead, "dead"));
    let cause = "the decisions about it are no longer kept".to_owned();
    assert_eq!(found[1], (ended, "ended", cause));
}

#[test]
fn posts_are_listed_by_what_happened_last() {
    let mut room = Newsroom::new();
    for (n, post) in ["news/1", "news/2", "other/3"].into_iter().enumerate() {
        room.wait(1_000);
        room.webhook(post, "a");
        if n != 1 {
            room.settle(post);
        }
    }
    room.wait(1_000);
    room.dead_letter("news/1", "b");
    let list = |filter: PostFilter, limit| -> Vec<String> {
        let rows = now(posts(&room.log, &filter, limit)).unwrap().rows;
        rows.iter().map(|row| format!("{} {}", row.key, row.state)).collect()
    };
    let none = PostFilter::default;
    assert_eq!(list(none(), 9), ["news/1 dead", "other/3 idle", "news/2 enriching"]);
    assert_eq!(list(none(), 2), ["news/1 dead", "other/3 idle"]);
    let reach = of_site("news");
    assert_eq!(list(PostFilter { reach, ..none() }, 9), ["news/1 dead", "news/2 enriching"]);
    let state = Some("idle".to_owned());
    assert_eq!(list(PostFilter { state, ..none() }, 9), ["other/3 idle"]);
    let all = walk(1, |before| now(posts(&room.log, &PostFilter { before, ..none() }, 1)).unwrap());
    assert_eq!(all.len(), 3);
    assert_eq!(all[2].key, key("news/2"));
    let rows = now(posts(&room.log, &none(), 1)).unwrap().rows;
    let PostRow { waiting, dead, events, last_at, wake_at, considered, .. } = &rows[0];
    let latest = room.log.last_sequence();
    assert!(*considered > 0 && now(latest).unwrap().0 > *considered);
    assert_eq!((*waiting, *dead, *last_at, *wake_at), (0, 1, Timestamp(NOON + 4_000), None));
    assert_eq!(*events, now(post(&room.log, &key("news/1"))).unwrap().unwrap().row.events);
}

#[test]
fn a_posts_detail_shows_its_work() {
    let mut room = Newsroom::new();
    assert_eq!(now(post(&room.log, &key("news/1"))).unwrap(), None);
    let dead = room.dead_letter("news/1", "a");
    let running = room.webhook("news/1", "b");
    let queued = room.webhook("news/1", "c");
    let failure = Failure::new(FailureClass::Unavailable, "provider_down", "it is down");
    room.answer_next("news/1", Some(failure));
    let detail = now(post(&room.log, &key("news/1"))).unwrap().unwrap();
    assert_eq!(detail.row.waiting, 2);
    assert_eq!((detail.queued, detail.resumed, detail.writes), (vec![queued], vec![], 0));
    assert_eq!(detail.dead.iter().map(|dead| dead.run).collect::<Vec<_>>(), [dead]);
    let work = detail.run.unwrap();
    assert_eq!(work.run, running);
    let steps: Vec<_> = work.steps.iter().map(|s| (s.name.as_str(), s.phase, s.attempts)).collect();
    assert_eq!(
        steps,
        [
            ("read", "done", 0),
            ("summary", "waiting", 1),
            ("keywords", "asked", 1),
            ("write", "idle", 0)
        ]
    );
    assert_eq!(detail.row.wake_at, work.steps[1].until);
    assert!(work.steps[1].until > Some(Timestamp(NOON)));
    room.turn("news/1", retry(dead)).unwrap();
    let detail = now(post(&room.log, &key("news/1"))).unwrap().unwrap();
    assert_eq!(detail.resumed, [dead]);
}

#[test]
fn a_post_of_a_later_release_hides_no_other() {
    let mut room = Newsroom::new();
    room.dead_letter("news/1", "a");
    let event = PostEvent::RunResumed { run: run(9) };
    let decision = room.decision("news/2", vec![event]);
    let record = decision.record(&Subjects::of(&key("news/2")).decisions, Sequence(0));
    room.append(NewRecord { payload: b"\xff".as_slice().into(), ..record });
    let intake = room.intake(None);
    let record = intake.record(&key("news/2"));
    room.append(NewRecord { payload: b"\xff".as_slice().into(), ..record });

    let rows = now(posts(&room.log, &PostFilter::default(), 9)).unwrap().rows;
    let states: Vec<_> = rows.iter().map(|row| (row.key.to_string(), row.state.as_str())).collect();
    assert_eq!(states, [("news/2".to_owned(), "unreadable"), ("news/1".to_owned(), "dead")]);
    assert_eq!(now(dead_letters(&room.log, &PostFilter::default(), 9)).unwrap().rows.len(), 1);
    let rows = listed(&room, &EventFilter::default(), 9);
    assert_eq!((rows[0].state, &rows[0].event_id), ("unreadable", &intake.event_id));
    assert_eq!(rows[1].state, "dead");
    assert!(now(post(&room.log, &key("news/2"))).is_err());
}

#[test]
fn nothing_shows_what_a_post_says() {
    let mut room = Newsroom::new();
    room.webhook("news/1", SECRET);
    room.settle("news/1");
    room.dead_letter("news/1", "b");
    let shown = format!(
        "{:?} {:?} {:?}",
        listed(&room, &EventFilter::default(), 9),
        now(post(&room.log, &key("news/1"))).unwrap(),
        now(dead_letters(&room.log, &PostFilter::default(), 9)).unwrap(),
    );
    assert!(shown.contains("applied") && !shown.contains(SECRET), "{shown}");
}
