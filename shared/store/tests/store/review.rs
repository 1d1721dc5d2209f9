//! What needs a person is listed with what he must know, and is decided only while it still needs him.

use crate::world::{World, applied, granted, settle};
use chrono::TimeDelta;
use domain::answer::{Booking, BookingStatus, BookingUid};
use domain::appointment::{Status, Sync};
use domain::effect::EffectKind;
use domain::id::AppointmentId;
use domain::job::{Kind, State};
use domain::outcome::{Elsewhere, Outcome};
use domain::refusal::Refusal;
use store::{AcceptError, Accepted, JobRef, OpState, ResolveBy, Review, ReviewCommand, SyncCommand};
use uuid::Uuid;

async fn resolve(world: &World, appointment_id: AppointmentId, by: ResolveBy) -> Result<Option<Accepted>, AcceptError> {
    let (company_id, why) = (world.company.company_id, "key renewed".to_owned());
    world.store.resolve_review(&ReviewCommand { company_id, appointment_id, by, why }).await
}

/// Its create was answered with what only a person can mend.
async fn stuck(world: &World) -> (AppointmentId, JobRef) {
    let accepted = world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    let job = accepted.job.unwrap().job;
    let create = granted(world, job).await;
    assert_eq!(settle(world, &create, &Outcome::Review { why: "calcom_key_missing" }).await, State::Parked);
    (accepted.appointment_id, job)
}

async fn reviews(world: &World) -> Vec<Review> {
    world.store.reviews(Some(world.company.company_id)).await.unwrap()
}

async fn sync_of(world: &World, id: AppointmentId) -> Sync {
    world.store.appointment(world.company.company_id, id).await.unwrap().unwrap().sync
}

const OCCUPIED: &str = "SELECT count(*) FROM slot WHERE state = 'booked'";
const NOTED: &str = "SELECT count(*) FROM operator_action WHERE why = 'key renewed' AND what = 'review resolve --by ";

async fn noted(world: &World, by: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("{NOTED}{by}'"));
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn a_retry_is_a_job_and_only_agreement_lifts_the_review() {
    let world = World::new().await;
    let (id, parked) = stuck(&world).await;
    let listed = reviews(&world).await;
    let [review] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((review.appointment_id, review.status, review.booked_at), (id, Status::Requested, None));
    assert_eq!((review.reason.as_deref(), review.unresolved, review.job), (Some("calcom_key_missing"), None, None));
    assert!(review.since.is_some() && !review.has_begun);
    assert!(world.store.reviews(Some(99)).await.unwrap().is_empty());
    assert_eq!(world.store.reviews(None).await.unwrap(), listed);

    let accepted = resolve(&world, id, ResolveBy::Retry).await.unwrap().unwrap();
    let job = accepted.job.unwrap();
    assert_eq!((accepted.version, accepted.status, job.kind), (1, Status::Requested, Kind::Sync), "the promise stands");
    assert_eq!(noted(&world, "retry").await, 1);
    let story = world.store.timeline(world.company.company_id, id).await.unwrap().unwrap();
    let by_hand = story.iter().find(|told| told.what == "by_hand").unwrap();
    let wanted = "A person called `askpro review resolve --by retry` (key renewed).";
    assert_eq!((by_hand.who.as_str(), by_hand.detail.as_str()), ("operator", wanted));
    let trying = &reviews(&world).await[0];
    assert_eq!(trying.job, Some((job.job.job_id, Kind::Sync, State::Available)));
    assert_eq!(trying.reason.as_deref(), Some("calcom_key_missing"), "from the customer's callback now");
    let old = world.store.job(world.company.company_id, parked.job_id).await.unwrap().unwrap();
    assert_eq!((old.state, old.superseded_by), (State::Superseded, Some(job.job.job_id)));
    let create = granted(&world, job.job).await;
    assert_eq!(settle(&world, &create, &applied(&create, "u1")).await, State::Completed);
    assert!(reviews(&world).await.is_empty());

    assert_eq!(resolve(&world, id, ResolveBy::Cancel).await.unwrap(), None, "it is well by now: nobody is called off");
    let view = world.store.appointment(world.company.company_id, id).await.unwrap().unwrap();
    assert_eq!((view.status, view.sync), (Status::Scheduled, Sync::Synced));
    assert_eq!(noted(&world, "cancel").await, 0);
    world.gone().await;
}

#[tokio::test]
async fn a_cancel_frees_the_time_once_cal_com_is_known_to_have_nothing() {
    let world = World::new().await;
    let accepted = world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    let (id, job) = (accepted.appointment_id, accepted.job.unwrap().job);
    let create = granted(&world, job).await;
    settle(&world, &create, &Outcome::Unknown { answered: None }).await;
    world.sql("UPDATE calcom_op SET sent_at = now() - interval '1 h', next_look_at = now()").await;
    world.sql("UPDATE job SET not_before = '-infinity', run_at = now()").await;
    let look = granted(&world, job).await;
    assert_eq!(settle(&world, &look, &Outcome::Unknown { answered: None }).await, State::Parked);
    let listed = reviews(&world).await;
    assert_eq!(listed[0].unresolved, Some((EffectKind::Create, OpState::Unknown)));
    assert_eq!(listed[0].reason.as_deref(), Some("outcome_unknown"));

    let cancelled = resolve(&world, id, ResolveBy::Cancel).await.unwrap().unwrap();
    assert_eq!((cancelled.status, cancelled.version), (Status::Cancelled, 2));
    assert_eq!(
        (world.count(OCCUPIED).await, sync_of(&world, id).await),
        (1, Sync::NeedsReview),
        "it may still be there"
    );
    assert_eq!(noted(&world, "cancel").await, 1);
    let look = granted(&world, cancelled.job.unwrap().job).await;
    assert_eq!(settle(&world, &look, &Outcome::Never).await, State::Completed);
    assert_eq!((world.count(OCCUPIED).await, sync_of(&world, id).await), (0, Sync::Synced));
    assert!(reviews(&world).await.is_empty());
    assert_eq!(world.count("SELECT count(*) FROM job WHERE state = 'parked'").await, 0);
    world.gone().await;
}

/// Booked, and then changed by the business, which wants a person to decide.
async fn changed_by_the_business(world: &World, by: Elsewhere) -> AppointmentId {
    world.sql("UPDATE company SET external_changes = 'review'").await;
    let accepted = world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    let create = granted(world, accepted.job.unwrap().job).await;
    let overtaken = Outcome::Overtaken { made: Some(BookingUid::from("u1".to_owned())), by };
    assert_eq!(settle(world, &create, &overtaken).await, State::Parked);
    assert_eq!(sync_of(world, accepted.appointment_id).await, Sync::NeedsReview);
    accepted.appointment_id
}

fn elsewhere(world: &World, minutes: i64) -> Elsewhere {
    let start = world.at(minutes);
    Elsewhere::Moved(Booking {
        uid: BookingUid::from("u2".to_owned()),
        status: BookingStatus::Accepted,
        start,
        end: start + TimeDelta::minutes(30),
        event_type_id: 101,
        host_id: Some(1),
        created_at: start,
        updated_at: None,
        marker: None,
        rescheduled_to: None,
        rescheduled_from: None,
    })
}

#[tokio::test]
async fn what_a_person_is_to_decide_no_job_touches() {
    for moved in [false, true] {
        let world = World::new().await;
        let by = if moved { elsewhere(&world, 60) } else { Elsewhere::Cancelled };
        let id = changed_by_the_business(&world, by).await;
        let sync = SyncCommand { company_id: world.company.company_id, appointment_id: id, key: None };
        let job = world.store.accept_sync(&sync).await.unwrap().job.unwrap().job;
        let ended = world.store.claim(job, "w").await.unwrap();
        assert!(matches!(ended, store::Claim::Ended { state: State::Parked, .. }), "{ended:?}");
        assert_eq!(sync_of(&world, id).await, Sync::NeedsReview);
        world.gone().await;
    }
}

#[tokio::test]
async fn a_person_follows_the_business_or_puts_it_back() {
    let world = World::new().await;
    let id = changed_by_the_business(&world, elsewhere(&world, 60)).await;
    let followed = resolve(&world, id, ResolveBy::Follow).await.unwrap().unwrap();
    assert_eq!((followed.status, followed.version), (Status::Requested, 2));
    let ended = world.store.claim(followed.job.unwrap().job, "w").await.unwrap();
    assert!(matches!(ended, store::Claim::Ended { state: State::Completed, .. }), "{ended:?}");
    let view = world.store.appointment(world.company.company_id, id).await.unwrap().unwrap();
    assert_eq!((view.status, view.sync, view.starts_at), (Status::Scheduled, Sync::Synced, world.at(60)));
    assert_eq!((world.count(OCCUPIED).await, noted(&world, "follow").await), (1, 1));
    world.gone().await;

    let world = World::new().await;
    let id = changed_by_the_business(&world, elsewhere(&world, 60)).await;
    let back = resolve(&world, id, ResolveBy::Retry).await.unwrap().unwrap();
    let put_back = granted(&world, back.job.unwrap().job).await;
    assert_eq!((put_back.effect.kind, put_back.asked.starts_at), (EffectKind::Reschedule, Some(world.at(0))));
    world.gone().await;

    let world = World::new().await;
    let id = changed_by_the_business(&world, Elsewhere::Cancelled).await;
    let followed = resolve(&world, id, ResolveBy::Follow).await.unwrap().unwrap();
    assert_eq!((followed.status, world.count(OCCUPIED).await), (Status::Cancelled, 0));
    world.gone().await;
}

#[tokio::test]
async fn what_was_never_had_and_is_over_can_still_be_called_off() {
    let world = World::new().await;
    let (id, _) = stuck(&world).await;
    world.sql("UPDATE appointment SET starts_at = now() - interval '2 h', ends_at = now() - interval '1 h'").await;
    assert!(reviews(&world).await[0].has_begun);
    let job = resolve(&world, id, ResolveBy::Cancel).await.unwrap().unwrap().job.unwrap().job;
    assert_eq!(world.count(OCCUPIED).await, 0, "nothing was ever there");
    let ended = world.store.claim(job, "w").await.unwrap();
    assert!(matches!(ended, store::Claim::Ended { state: State::Completed, .. }), "{ended:?}");
    assert_eq!(sync_of(&world, id).await, Sync::Synced);
    world.gone().await;
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_and_not_noted() {
    let world = World::new().await;
    let (id, _) = stuck(&world).await;
    let nobody = resolve(&world, AppointmentId(Uuid::nil()), ResolveBy::Retry).await;
    assert!(matches!(nobody, Err(AcceptError::NotFound)), "{nobody:?}");
    world.sql("UPDATE appointment SET status = 'completed'").await;
    for by in [ResolveBy::Retry, ResolveBy::Cancel] {
        let refused = resolve(&world, id, by).await;
        let Err(AcceptError::Refused(Refusal::Final { status: Status::Completed })) = refused else {
            panic!("{refused:?}")
        };
    }
    world.sql("UPDATE appointment SET status = 'cancelled'").await;
    let refused = resolve(&world, id, ResolveBy::Cancel).await;
    assert!(matches!(refused, Err(AcceptError::Refused(Refusal::Final { status: Status::Cancelled }))));
    assert_eq!(world.count("SELECT count(*) FROM operator_action").await, 0);
    world.gone().await;
}
