use copydesk_eventlog::MemoryLog;

use super::*;

fn token(name: &str, reach: Reach) -> Token {
    let signed = Signed::new("ann", "dashboard", Timestamp(1));
    let end = Some(Timestamp(1_000));
    Token::new(&format!("cd_{name}"), name, (Role::Operator, reach), end, signed)
}

fn sites(names: &[&str]) -> Reach {
    Reach::Sites(names.iter().map(|name| name.parse().unwrap()).collect())
}

#[tokio::test]
async fn tokens_outlive_the_process_as_they_were() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
    let book = TokenBook::open(Arc::clone(&log)).await.unwrap();
    let (all, some) = (token("a", Reach::Desk), token("b", sites(&["blog", "news"])));
    // A reach of no site must not come back as the whole desk.
    let none = token("c", sites(&[]));
    for token in [&all, &some, &none] {
        book.add(token).await.unwrap();
    }
    let why = Signed::new("bob", "left", Timestamp(5));
    assert!(book.revoke(&all.id, &why).await.unwrap());
    assert!(!book.revoke(&all.id, &why).await.unwrap(), "it is revoked already");
    assert!(!book.revoke("0123456789ab", &why).await.unwrap());
    let refused = book.add(&token("b", Reach::Desk)).await.unwrap_err();
    assert!(matches!(refused, TokenError::Refused(TokenRefused::Taken)), "{refused}");

    let again = TokenBook::open(log).await.unwrap();
    let same = |id: &str| again.look(|tokens| tokens.get(id).cloned()).unwrap();
    assert_eq!(same(&all.id), Token { revoked: Some(why), ..all });
    assert_eq!((same(&some.id), same(&none.id)), (some, none));
}

#[tokio::test]
async fn a_revocation_reaches_every_node_that_follows() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
    let here = TokenBook::open(Arc::clone(&log)).await.unwrap();
    let there = TokenBook::open(log).await.unwrap();
    let following = tokio::spawn(Arc::clone(&there).follow());
    let mut changes = there.changes();
    let token = token("a", Reach::Desk);
    here.add(&token).await.unwrap();
    let live =
        || there.look(|tokens| tokens.get(&token.id).is_some_and(|t| t.is_live(Timestamp(2))));
    while !live() {
        changes.changed().await.unwrap();
    }
    assert!(here.revoke(&token.id, &Signed::new("ann", "", Timestamp(2))).await.unwrap());
    while live() {
        changes.changed().await.unwrap();
    }
    following.abort_handle().abort();
}

#[tokio::test]
async fn a_use_is_known_at_once_and_noted_once_a_day() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
    let book = TokenBook::open(Arc::clone(&log)).await.unwrap();
    let token = token("a", Reach::Desk);
    book.add(&token).await.unwrap();
    let mut changes = book.changes();
    for at in [10, 20, 30] {
        book.note_use(&token.id, Timestamp(at));
    }
    assert_eq!(book.look(|tokens| tokens.get(&token.id).unwrap().used_at), Some(Timestamp(30)));
    changes.changed().await.unwrap();
    let day = i64::try_from(USE_STEP_MS).unwrap();
    book.note_use(&token.id, Timestamp(30 + day));
    changes.changed().await.unwrap();
    assert_eq!(log.last_sequence().await.unwrap(), Sequence(3), "one gift and two uses");
}

#[tokio::test]
async fn what_this_release_does_not_know_lets_nobody_in() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
    let record = NewRecord {
        subject: subject(),
        message_id: None,
        expected_last: None,
        headers: Vec::new(),
        payload: copydesk_proto::encode(&v1::AccessDecision {
            schema_version: SCHEMA_VERSION + 1,
            event: None,
        }),
    };
    log.append(record).await.unwrap();
    assert!(matches!(TokenBook::open(log).await, Err(TokenError::Unreadable)));
}
