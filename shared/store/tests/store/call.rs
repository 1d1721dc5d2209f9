//! Call events and their job: once each, in any order, and of a call there is nothing or all of it.

use crate::world::{World, call, key, phone};
use domain::call::{CallEvent, CallFacts};
use domain::job::State;
use domain::phone::{Identity, Phone};
use store::{BookingCommand, CallNotice, Claim, Heard, JobRef, OngoingCall, Replay};

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
const FORGOTTEN: &str = "UPDATE call_event SET received_at = received_at - interval '3 hours'";

/// What Retell tells of the n-th caller's call; `None` = his number is withheld.
fn told(world: &World, call_id: &str, event: CallEvent, caller: Option<u32>) -> CallNotice {
    let phone = caller.map(phone);
    let from_number = phone.as_ref().map_or("anonymous", Phone::as_e164).to_owned();
    let analyzed = event == CallEvent::Analyzed;
    let facts = CallFacts {
        from_number: Some(from_number),
        started_at: Some(world.at(0)),
        ended_at: (event != CallEvent::Started).then(|| world.at(3)),
        summary: analyzed.then(|| "Will Montag".to_owned()),
        ..CallFacts::default()
    };
    CallNotice { company_id: world.company.company_id, call_id: call_id.to_owned(), event, phone, facts }
}

async fn tell(world: &World, notice: &CallNotice) -> Option<JobRef> {
    match world.store.take_call_event(notice).await.unwrap() {
        Heard::New { job, ring } => {
            assert_eq!(ring, Some(job), "due at once");
            Some(job)
        }
        Heard::Known => None,
    }
}

async fn made(world: &World, job: JobRef) {
    match world.store.claim(job, "w").await.unwrap() {
        Claim::Ended { state: State::Completed, .. } => {}
        other => panic!("not made: {other:?}"),
    }
}

type Row = (String, Option<String>, Option<i64>, Option<String>);

/// Status, who, how long in seconds, summary.
async fn row(world: &World, call_id: &str) -> Row {
    let sql = "SELECT status, COALESCE(u.phone, u.anonymous_call_id),
                      EXTRACT(EPOCH FROM c.ended_at - c.started_at)::bigint, c.summary
               FROM call c JOIN customer u USING (company_id, customer_id) WHERE c.call_id = $1";
    sqlx::query_as(sql).bind(call_id).fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn no_order_and_no_repetition_of_events_matters() {
    let world = World::new().await;
    let number = phone(1).as_e164().to_owned();
    for (n, order) in ORDERS.into_iter().enumerate() {
        let call_id = format!("call_{n}");
        for event in order.map(|n| CallEvent::ALL[n]) {
            let notice = told(&world, &call_id, event, Some(1));
            let job = tell(&world, &notice).await.expect("new");
            assert_eq!(tell(&world, &notice).await, None, "told twice is told once");
            let other = CallNotice { facts: CallFacts::default(), ..notice.clone() };
            assert_eq!(tell(&world, &other).await, None, "whatever the second says");
            // Now and then two events are one job's.
            if n % 2 == 0 {
                made(&world, job).await;
            }
        }
        let last = told(&world, &call_id, CallEvent::ALL[order[2]], Some(1));
        assert_eq!(tell(&world, &last).await, None);
        let waiting: Option<uuid::Uuid> = sqlx::query_scalar("SELECT job_id FROM job WHERE state = 'available'")
            .fetch_optional(&world.pool)
            .await
            .unwrap();
        assert_eq!(waiting.is_some(), n % 2 == 1, "one job for all three");
        if let Some(id) = waiting {
            made(&world, JobRef { company_id: world.company.company_id, job_id: domain::id::JobId(id) }).await;
        }
        let wanted = ("ended".to_owned(), Some(number.clone()), Some(180), Some("Will Montag".to_owned()));
        assert_eq!(row(&world, &call_id).await, wanted, "{order:?}");
    }
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 1, "one number, one customer");
    assert_eq!(world.count("SELECT count(*) FROM call").await, 6);
    world.gone().await;
}

#[tokio::test]
async fn a_withheld_number_is_a_customer_of_its_call_and_a_booking_is_of_the_same() {
    let world = World::new().await;
    for (n, call_id) in ["call_a", "call_b"].into_iter().enumerate() {
        let wish = BookingCommand {
            who: Identity::Anonymous(call_id.to_owned()),
            call: call(call_id),
            key: key(call_id, 1, Replay::WhileItStands),
            ..world.wish(1, 60 * i64::try_from(n).unwrap())
        };
        if n == 0 {
            world.store.accept_booking(&wish).await.unwrap();
        }
        let job = tell(&world, &told(&world, call_id, CallEvent::Started, None)).await.unwrap();
        made(&world, job).await;
        assert_eq!(row(&world, call_id).await.1.as_deref(), Some(call_id));
        if n == 1 {
            world.store.accept_booking(&wish).await.unwrap();
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE phone IS NULL").await, 2);
    let linked = "SELECT count(*) FROM call c JOIN appointment a USING (company_id, appointment_id)
                  WHERE a.customer_id = c.customer_id AND a.call_id = c.call_id AND c.status = 'ongoing'
                    AND c.last_request_key = c.call_id";
    assert_eq!(world.count(linked).await, 2, "whichever came first, the links of the other stand");
    world.gone().await;
}

/// An event is merged into the job while the job is about to end: it must not be read past.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_meets_its_job_is_seen_by_it() {
    let world = World::new().await;
    let job = tell(&world, &told(&world, "call_a", CallEvent::Started, Some(1))).await.unwrap();
    let mut telling = world.pool.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO call_event (company_id, call_id, event) SELECT company_id, call_id, 'call_ended' FROM call_event",
    )
    .execute(&mut *telling)
    .await
    .unwrap();
    let merged = sqlx::query("UPDATE job SET run_at = run_at").execute(&mut *telling).await.unwrap();
    assert_eq!(merged.rows_affected(), 1);
    let (store, claiming) = (world.store.clone(), job);
    let claim = tokio::spawn(async move { store.claim(claiming, "w").await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while world.count(waits).await == 0 {
        assert!(!claim.is_finished(), "it was to wait for the event");
        tokio::task::yield_now().await;
    }
    telling.commit().await.unwrap();
    assert!(matches!(claim.await.unwrap().unwrap(), Claim::Ended { state: State::Completed, .. }));
    assert_eq!(row(&world, "call_a").await.0, "ended");
    world.gone().await;
}

#[tokio::test]
async fn a_call_is_ongoing_from_its_first_word_to_its_end_and_in_its_company() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let ongoing = async |call_id| world.store.ongoing_call(company_id, call_id).await.unwrap();
    assert_eq!(ongoing("call_a").await, None);
    tell(&world, &told(&world, "call_a", CallEvent::Started, Some(1))).await.unwrap();
    let of_one = OngoingCall { from_number: Some(phone(1).as_e164().to_owned()), to_number: None };
    assert_eq!(ongoing("call_a").await, Some(of_one), "the job has not run");
    assert_eq!(world.store.ongoing_call(company_id + 1, "call_a").await.unwrap(), None);
    tell(&world, &told(&world, "call_a", CallEvent::Ended, Some(1))).await.unwrap();
    assert_eq!(ongoing("call_a").await, None, "over");

    world.store.accept_booking(&BookingCommand { call: call("call_b"), ..world.wish(2, 0) }).await.unwrap();
    assert!(ongoing("call_b").await.is_some(), "known by what was done in it");
    tell(&world, &told(&world, "call_c", CallEvent::Started, Some(1))).await.unwrap();
    assert!(ongoing("call_c").await.is_some());
    world.sql(FORGOTTEN).await;
    assert_eq!(ongoing("call_c").await, None, "no call lasts three hours; its end was never told");
    world.gone().await;
}

#[tokio::test]
async fn what_was_said_is_kept_for_its_call_and_function_and_forgotten() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let (store, said) = (&world.store, "{\"datum\":\"Freitag\"}");
    let last = async |company_id, call_id, function| store.last_said(company_id, call_id, function).await.unwrap();
    store.remember_said(company_id, "call_a", "book_appointment", "{}").await.unwrap();
    store.remember_said(company_id, "call_a", "book_appointment", said).await.unwrap();
    assert_eq!(last(company_id, "call_a", "book_appointment").await.as_deref(), Some(said), "the last");
    for (company_id, call_id, function) in [
        (company_id + 1, "call_a", "book_appointment"),
        (company_id, "call_b", "book_appointment"),
        (company_id, "call_a", "cancel_appointment"),
    ] {
        assert_eq!(last(company_id, call_id, function).await, None);
    }
    store.remember_said(company_id, "call_a", "book_appointment", &"x".repeat(9_000)).await.unwrap();
    assert_eq!(last(company_id, "call_a", "book_appointment").await.as_deref(), Some(said), "too long to keep");

    store.remember_said(company_id, "call_b", "book_appointment", said).await.unwrap();
    let started = tell(&world, &told(&world, "call_b", CallEvent::Started, None)).await.unwrap();
    made(&world, started).await;
    assert!(last(company_id, "call_b", "book_appointment").await.is_some(), "the call goes on");
    let ended = tell(&world, &told(&world, "call_b", CallEvent::Analyzed, None)).await.unwrap();
    made(&world, ended).await;
    assert_eq!(last(company_id, "call_b", "book_appointment").await, None, "the call is over");

    assert_eq!(store.forget_said().await.unwrap(), 0);
    world.sql("UPDATE call_said SET said_at = said_at - interval '3 hours'").await;
    assert_eq!(store.forget_said().await.unwrap(), 1);
    world.gone().await;
}
