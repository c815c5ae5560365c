//! What the desk stores: operators' acts, tokens, the books, the archive's mark, jobs.

use copydesk_proto::{SCHEMA_VERSION, v1};

use super::{AT, Stored};

pub(super) fn examples() -> impl Iterator<Item = (String, Stored)> {
    let access = access().map(|(name, event)| (name, Stored::Access(event)));
    let archived = v1::PayloadsArchived { schema_version: SCHEMA_VERSION, through: 41 };
    let subscribers = subscribers().map(|(name, event)| (name, Stored::Subscriber(event)));
    let others = [
        ("desk", Stored::Desk(desk(""))),
        ("desk_with_reason", Stored::Desk(desk("paid"))),
        ("desk_caps", Stored::Desk(caps())),
        ("costs_booked", Stored::Costs(costs())),
        ("payloads_archived", Stored::Archived(archived)),
        ("job", Stored::Job(Box::new(job()))),
    ];
    access
        .into_iter()
        .chain(subscribers)
        .chain(others)
        .map(|(name, stored)| (name.to_owned(), stored))
}

fn caps() -> v1::DeskDecision {
    use v1::desk_event::Kind;
    let set = v1::CapsSet {
        budget: "provider:main".to_owned(),
        day_microdollars: Some(5_000_000),
        month_microdollars: None,
        by: "ann".to_owned(),
        reason: "election day".to_owned(),
        at_ms: AT.0,
        configured: false,
    };
    let events = vec![v1::DeskEvent { kind: Some(Kind::CapsSet(set)) }];
    v1::DeskDecision { schema_version: SCHEMA_VERSION, events }
}

fn costs() -> v1::CostsBooked {
    let row = v1::CostRow {
        day: 20_417,
        site: "news".to_owned(),
        provider: "main".to_owned(),
        enrichment: "summary".to_owned(),
        field: "excerpt".to_owned(),
        model: "gpt-4o-mini".to_owned(),
        calls: 3,
        failed: 1,
        input_tokens: 812,
        output_tokens: 64,
        cost_microdollars: 160,
    };
    v1::CostsBooked { schema_version: SCHEMA_VERSION, through: 41, rows: vec![row], more: true }
}

fn job() -> v1::JobRecord {
    let filter = v1::JobFilter {
        site: "news".to_owned(),
        post: "news/42".to_owned(),
        source: "news".to_owned(),
        route: "summaries".to_owned(),
        code: "wp_gone".to_owned(),
        author: "17".to_owned(),
        since_ms: Some(AT.0),
        until_ms: Some(AT.0 + 1_000),
    };
    let job = v1::Job {
        id: "019ab0c47f0070008000000000000001".to_owned(),
        verb: "retry".to_owned(),
        filter: Some(filter),
        by: "ann".to_owned(),
        reason: "mended".to_owned(),
        created_at_ms: AT.0,
        state: "running".to_owned(),
        targets: 412,
        done: 17,
        skipped: 1,
        failed: 2,
        cursor: "news/42".to_owned(),
        at_ms: AT.0 + 500,
        horizon: 900,
        runner: 0x0123_4567_89ab_cdef,
    };
    let result = v1::JobResult {
        post: "news/42".to_owned(),
        run: 7,
        outcome: "failed".to_owned(),
        detail: "the post refuses".to_owned(),
    };
    v1::JobRecord {
        schema_version: SCHEMA_VERSION,
        job: Some(job),
        results: vec![result],
        turned_by: "ann".to_owned(),
        turned_because: "too many at once".to_owned(),
    }
}

fn access() -> [(&'static str, v1::AccessDecision); 3] {
    use v1::access_event::Kind;
    let (id, by, reason) = ("4b0a".to_owned(), "ann".to_owned(), "a new desk".to_owned());
    let added = v1::TokenAdded {
        id: id.clone(),
        name: "night shift".to_owned(),
        role: "operator".to_owned(),
        whole_desk: false,
        sites: vec!["news".to_owned()],
        hash: vec![0xb0; 32],
        hint: "x9Qz".to_owned(),
        expires_at_ms: Some(AT.0 + 1_000),
        by: by.clone(),
        reason: reason.clone(),
        at_ms: AT.0,
    };
    let revoked = v1::TokenRevoked { id: id.clone(), by, reason, at_ms: AT.0 };
    let used = v1::TokenUsed { id, at_ms: AT.0 };
    [
        ("token_added", Kind::Added(added)),
        ("token_revoked", Kind::Revoked(revoked)),
        ("token_used", Kind::Used(used)),
    ]
    .map(|(name, kind)| {
        let event = Some(v1::AccessEvent { kind: Some(kind) });
        (name, v1::AccessDecision { schema_version: SCHEMA_VERSION, event })
    })
}

fn subscribers() -> [(&'static str, v1::SubscriberDecision); 6] {
    use v1::subscriber_event::Kind;
    let (id, key_id) = ("crm".to_owned(), "4b0a".to_owned());
    let (by, reason, at_ms) = ("ann".to_owned(), "a new CRM".to_owned(), AT.0);
    let added = v1::SubscriberAdded {
        id: id.clone(),
        url: "https://crm.example.org/hook".to_owned(),
        events: vec!["post.*".to_owned()],
        sites: vec!["news".to_owned()],
        matches: vec![v1::SubscriberMatch {
            field: "/event/section".to_owned(),
            test: "is".to_owned(),
            text: "sport".to_owned(),
        }],
        fields: vec!["/post".to_owned()],
        key_id: key_id.clone(),
        by: by.clone(),
        reason: reason.clone(),
        at_ms,
    };
    let removed =
        v1::SubscriberRemoved { id: id.clone(), by: by.clone(), reason: reason.clone(), at_ms };
    let switched = v1::SubscriberSwitched {
        id: id.clone(),
        enabled: false,
        by: by.clone(),
        reason: reason.clone(),
        at_ms,
    };
    let others_until_ms = AT.0 + 1_000;
    let rotated =
        v1::SubscriberRotated { id: id.clone(), key_id, others_until_ms, by, reason, at_ms };
    let failing = v1::SubscriberFailing { id: id.clone(), since_ms: Some(AT.0), at_ms };
    let well = v1::SubscriberFailing { id, since_ms: None, at_ms };
    [
        ("subscriber_added", Kind::Added(added)),
        ("subscriber_removed", Kind::Removed(removed)),
        ("subscriber_switched", Kind::Switched(switched)),
        ("subscriber_rotated", Kind::Rotated(rotated)),
        ("subscriber_failing", Kind::Failing(failing)),
        ("subscriber_well", Kind::Failing(well)),
    ]
    .map(|(name, kind)| {
        let event = Some(v1::SubscriberEvent { kind: Some(kind) });
        (name, v1::SubscriberDecision { schema_version: SCHEMA_VERSION, event })
    })
}

fn desk(why_released: &str) -> v1::DeskDecision {
    use v1::desk_event::Kind;
    let (scope, by) = ("provider:main".to_owned(), "ann".to_owned());
    let held =
        v1::Held { scope: scope.clone(), by: by.clone(), reason: "bill".to_owned(), at_ms: AT.0 };
    let reason = why_released.to_owned();
    let released = v1::Released { scope, by, at_ms: AT.0 + 1, reason };
    let kinds = [Kind::Held(held), Kind::Released(released)];
    let events = kinds.map(|kind| v1::DeskEvent { kind: Some(kind) });
    v1::DeskDecision { schema_version: SCHEMA_VERSION, events: events.into() }
}
