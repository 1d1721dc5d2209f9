//! What anybody may look at.

use crate::world::{World, call};
use domain::id::AppointmentId;
use domain::job::{Kind, State};
use store::{BookingCommand, CancelCommand, JobFilter, Who};
use uuid::Uuid;

#[tokio::test]
async fn the_story_of_an_appointment_reads_from_top_to_bottom() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let wish = BookingCommand { call: call("c1"), ..world.wish(1, 0) };
    let accepted = world.store.accept_booking(&wish).await.unwrap();
    let (id, job) = (accepted.appointment_id, accepted.job.unwrap().job.job_id);
    for sql in [
        format!(
            "INSERT INTO calcom_op (company_id, appointment_id, op_id, segment_no, kind, appointment_version, job_id,
               fence, event_type_id, starts_at, ends_at, deadline_at, state, resolved_at, looks, uid)
             VALUES ({company_id}, '{id}', gen_random_uuid(), 1, 'create', 1, '{job}', 1, 101, now(), now(), now(),
                     'applied', clock_timestamp() + interval '1 s', 2, 'a-secret-uid')"
        ),
        format!(
            "INSERT INTO job_attempt (company_id, job_id, fence, started_at, ended_at, seen_version, worker, outcome)
             VALUES ({company_id}, '{job}', 1, clock_timestamp(), clock_timestamp() + interval '2 s', 1, 'w1', 'applied')"
        ),
        format!("UPDATE job SET state = 'completed', finished_at = clock_timestamp() + interval '3 s',
                   found_version = 1, found_status = 'scheduled' WHERE job_id = '{job}'"),
        format!("INSERT INTO callback_request (company_id, callback_id, appointment_id, reason, created_at)
                 VALUES ({company_id}, gen_random_uuid(), '{id}', 'rejected_later', clock_timestamp() + interval '4 s')"),
    ] {
        world.sql(&sql).await;
    }
    let story = world.store.timeline(company_id, id).await.unwrap().unwrap();
    let words: Vec<&str> = story.iter().map(|t| t.what.as_str()).collect();
    assert_eq!(
        words,
        ["accepted", "enqueued", "enqueued", "sent", "claimed", "looked", "settled", "completed", "callback"]
    );
    assert!(story.iter().all(|t| t.detail.ends_with('.') && !t.detail.contains("secret") && !t.who.is_empty()));
    assert!(story.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!(world.store.timeline(company_id, AppointmentId(Uuid::from_u128(1))).await.unwrap(), None);
    assert_eq!(world.store.callbacks(company_id, true).await.unwrap().len(), 1);
    world.sql("UPDATE callback_request SET done_at = now()").await;
    assert!(world.store.callbacks(company_id, true).await.unwrap().is_empty());
    assert_eq!(world.store.callbacks(company_id, false).await.unwrap()[0].appointment_id, Some(id));
    world.gone().await;
}

#[tokio::test]
async fn jobs_come_in_pages_and_queues_in_numbers() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(world.store.accept_booking(&world.wish(n, i64::from(n) * 30)).await.unwrap().appointment_id);
    }
    let cancel = CancelCommand {
        company_id,
        appointment_id: ids[0],
        if_match: None,
        who: Who::Operator,
        why: None,
        call: None,
        key: None,
    };
    world.store.accept_cancel(&cancel).await.unwrap();
    let all = JobFilter { kind: None, state: None, appointment_id: None, limit: 4, before: None };
    let (mut seen, mut filter) = (Vec::new(), all);
    loop {
        let page = world.store.jobs(company_id, &filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.job.job_id);
        seen.extend(page.into_iter().map(|j| j.job.job_id));
    }
    assert_eq!(seen.len(), 11);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
    let of_one = JobFilter { appointment_id: Some(ids[0]), state: Some(State::Available), ..all };
    assert_eq!(world.store.jobs(company_id, &of_one).await.unwrap().len(), 3);
    assert!(world.store.jobs(99, &all).await.unwrap().is_empty());

    world.sql("UPDATE job SET state = 'parked', finished_at = now() WHERE kind = 'sync'").await;
    for scope in [Some(company_id), None] {
        let queues = world.store.queues(scope).await.unwrap();
        let numbers: Vec<_> = queues.iter().map(|q| (q.kind, q.available, q.running, q.parked)).collect();
        let wanted = [(Kind::Booking, 5, 0, 0), (Kind::Sync, 0, 0, 1), (Kind::Customer, 5, 0, 0)];
        assert_eq!(numbers[..3], wanted);
        assert_eq!(numbers[3..], [(Kind::CalcomEvent, 0, 0, 0), (Kind::Call, 0, 0, 0)]);
        assert!(queues[0].oldest_due_seconds.unwrap() >= 0.0 && queues[1].oldest_due_seconds.is_none());
    }
    world.sql("UPDATE job SET state = 'completed', finished_at = now() WHERE kind = 'booking'").await;
    let asked = [(company_id, ids[0]), (company_id, ids[1]), (99, ids[2])];
    let standing = world.store.standing(&asked).await.unwrap();
    assert_eq!(standing.len(), 2);
    assert!(standing.iter().all(|s| !s.open), "a customer job does not change a promise");
    world.gone().await;
}
