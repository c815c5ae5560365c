//! The token of the data folder.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn the_folders_token_is_private_and_kept_while_it_is_live() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a/data");
    let log: Arc<dyn copydesk_eventlog::EventLog> = Arc::new(MemoryLog::default());
    let book = TokenBook::open(Arc::clone(&log)).await.unwrap();
    let open = async |book: &TokenBook, port: u16| {
        Access::open(book, &data, ([127, 0, 0, 1], port).into()).await.unwrap()
    };
    assert!(matches!(Access::read(&data), Err(AccessError::Missing(_))));
    let first = open(&book, 1).await;
    let second = open(&book, 2).await;
    assert_eq!(first.token, second.token);
    assert!(first.token.starts_with("cd_") && first.token.len() == 67);
    assert_eq!(Access::read(&data).unwrap(), second);
    assert!(!format!("{second:?}").contains(&second.token));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join(FILE_NAME))), (0o700, 0o600));

    // It is the admin's, and known to every node on this log.
    let again = TokenBook::open(log).await.unwrap();
    let row = again.look(|tokens| tokens.iter().next().cloned()).unwrap();
    assert_eq!((row.role, &row.reach), (Role::Admin, &Reach::Desk));
    assert!(row.name.starts_with(NAME_PREFIX));
    assert_eq!(again.look(|tokens| tokens.iter().count()), 1);

    // Revoked, it is replaced at the next start; a broken file is, too.
    let signed = Signed::new("ann", "seen by others", World::now());
    assert!(again.revoke(&row.id, &signed).await.unwrap());
    let third = open(&again, 3).await;
    assert_ne!(third.token, first.token);
    std::fs::write(data.join(FILE_NAME), "{}").unwrap();
    assert!(matches!(Access::read(&data), Err(AccessError::Broken(_))));
    assert_ne!(open(&again, 4).await.token, third.token);
}
