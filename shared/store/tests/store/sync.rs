//! Another try: due at once whatever its floor, one job however often it is asked for, and nothing given back too early.

use crate::world::{World, applied, granted, key, settle};
use domain::appointment::{Status, Sync};
use domain::effect::EffectKind;
use domain::id::AppointmentId;
use domain::job::{Kind, State};
use domain::outcome::Outcome;
use domain::refusal::Refusal;
use std::sync::Arc;
use store::{AcceptError, Claim, How, JobFilter, JobRef, Mode, Replay, SyncCommand};
use tokio::sync::Barrier;
use uuid::Uuid;

fn wish(world: &World, appointment_id: AppointmentId) -> SyncCommand {
    SyncCommand { company_id: world.company.company_id, appointment_id, key: None }
}

async fn book(world: &World) -> (AppointmentId, JobRef) {
    let accepted = world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    (accepted.appointment_id, accepted.job.unwrap().job)
}

async fn sync_of(world: &World, id: AppointmentId) -> Sync {
    world.store.appointment(world.company.company_id, id).await.unwrap().unwrap().sync
}

const OCCUPIED: &str = "SELECT count(*) FROM slot WHERE state = 'booked'";

#[tokio::test]
async fn what_waits_for_its_next_look_is_looked_for_now() {
    let world = World::new().await;
    let (id, booking) = book(&world).await;
    let create = granted(&world, booking).await;
    settle(&world, &create, &Outcome::Unknown { answered: None }).await;
    assert!(matches!(world.store.claim(booking, "w").await.unwrap(), Claim::Gone), "its look is not due");
    let accepted = world.store.accept_sync(&wish(&world, id)).await.unwrap();
    let job = accepted.job.unwrap();
    assert_eq!((accepted.how, accepted.version, job.kind, job.coalesced), (How::New, 1, Kind::Sync, false));
    assert!(accepted.ring.contains(&booking) && accepted.ring.contains(&job.job), "{:?}", accepted.ring);
    let again = world.store.accept_sync(&wish(&world, id)).await.unwrap().job.unwrap();
    assert_eq!((again.job, again.coalesced), (job.job, true));
    let look = granted(&world, booking).await;
    assert_eq!((look.mode, look.op_id), (Mode::Resolve, create.op_id));
    assert!(matches!(world.store.claim(job.job, "w").await.unwrap(), Claim::Busy { .. }), "one at a time");
    assert_eq!(world.count(OCCUPIED).await, 1);
    assert_eq!(settle(&world, &look, &applied(&create, "u1")).await, State::Completed);
    let rest = world.store.claim(job.job, "w").await.unwrap();
    assert!(matches!(rest, Claim::Gone | Claim::Ended { .. }), "{rest:?}");
    assert_eq!(sync_of(&world, id).await, Sync::Synced);
    world.gone().await;
}

#[tokio::test]
async fn a_request_in_flight_stays_in_the_hands_of_its_worker() {
    let world = World::new().await;
    let (id, booking) = book(&world).await;
    let create = granted(&world, booking).await;
    let job = world.store.accept_sync(&wish(&world, id)).await.unwrap().job.unwrap().job;
    assert_eq!(world.count("SELECT count(*) FROM calcom_op WHERE next_look_at IS NOT NULL").await, 0);
    assert!(matches!(world.store.claim(job, "other").await.unwrap(), Claim::Busy { .. }));
    assert_eq!(settle(&world, &create, &applied(&create, "u1")).await, State::Completed);
    world.gone().await;
}

#[tokio::test]
async fn an_op_that_has_lost_its_worker_is_due_though_it_is_not_known_to_be_unclear() {
    let world = World::new().await;
    let (id, booking) = book(&world).await;
    granted(&world, booking).await;
    world.sql("UPDATE job SET lease_until = now() - interval '1 s' WHERE state = 'running'").await;
    world.store.rescue(10).await.unwrap();
    world.sql("UPDATE calcom_op SET next_look_at = now() + interval '1 h'").await;
    world.store.accept_sync(&wish(&world, id)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM calcom_op WHERE state = 'sent' AND next_look_at <= now()").await, 1);
    assert_eq!(granted(&world, booking).await.mode, Mode::Resolve);
    world.gone().await;
}

#[tokio::test]
async fn what_needed_a_person_is_tried_again_and_counts_as_parked_no_longer() {
    let world = World::new().await;
    let (id, booking) = book(&world).await;
    let create = granted(&world, booking).await;
    assert_eq!(settle(&world, &create, &Outcome::Review { why: "event_type_unknown" }).await, State::Parked);
    assert_eq!(sync_of(&world, id).await, Sync::NeedsReview);
    let job = world.store.accept_sync(&wish(&world, id)).await.unwrap().job.unwrap().job;
    let parked = world.store.job(world.company.company_id, booking.job_id).await.unwrap().unwrap();
    assert_eq!((parked.state, parked.superseded_by), (State::Superseded, Some(job.job_id)));
    assert_eq!(parked.outcome.as_deref(), Some("event_type_unknown"), "its reason is still told");
    assert_eq!(sync_of(&world, id).await, Sync::NeedsReview, "only agreement lifts it");
    let second = granted(&world, job).await;
    assert_eq!((second.mode, second.effect.kind), (Mode::Act, EffectKind::Create));
    assert_eq!(settle(&world, &second, &applied(&second, "u1")).await, State::Completed);
    assert_eq!(sync_of(&world, id).await, Sync::Synced);
    world.gone().await;
}

#[tokio::test]
async fn a_back_off_is_cut_short() {
    let world = World::new().await;
    let (id, booking) = book(&world).await;
    let create = granted(&world, booking).await;
    let pause = Some(std::time::Duration::from_secs(600));
    assert_eq!(settle(&world, &create, &Outcome::Snoozed { wait: pause }).await, State::Retryable);
    assert!(matches!(world.store.claim(booking, "w").await.unwrap(), Claim::Gone));
    world.store.accept_sync(&wish(&world, id)).await.unwrap();
    assert_eq!(granted(&world, booking).await.mode, Mode::Act);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_at_once_one_job_waits() {
    let world = World::new().await;
    let (id, booking) = book(&world).await;
    let create = granted(&world, booking).await;
    settle(&world, &create, &applied(&create, "u1")).await;
    let barrier = Arc::new(Barrier::new(16));
    let rivals = [(); 16].map(|()| {
        let (store, barrier, command) = (world.store.clone(), Arc::clone(&barrier), wish(&world, id));
        tokio::spawn(async move {
            barrier.wait().await;
            store.accept_sync(&command).await
        })
    });
    let (mut jobs, mut new) = (Vec::new(), 0);
    for rival in rivals {
        let job = rival.await.unwrap().unwrap().job.unwrap();
        new += u32::from(!job.coalesced);
        jobs.push(job.job);
    }
    jobs.dedup();
    assert_eq!((jobs.len(), new), (1, 1));
    let ended = world.store.claim(jobs[0], "w").await.unwrap();
    assert!(matches!(ended, Claim::Ended { state: State::Completed, .. }), "nothing was left to do: {ended:?}");
    world.gone().await;
}

#[tokio::test]
async fn a_key_repeats_its_job_and_what_is_over_is_refused() {
    let world = World::new().await;
    let (id, booking) = book(&world).await;
    let keyed = SyncCommand { key: key("k", 1, Replay::Always), ..wish(&world, id) };
    let first = world.store.accept_sync(&keyed).await.unwrap();
    granted(&world, booking).await;
    let again = world.store.accept_sync(&keyed).await.unwrap();
    assert_eq!((again.how, again.job.unwrap().job), (How::Replayed, first.job.unwrap().job));
    assert!(again.ring.is_empty());
    let other = SyncCommand { key: key("k", 2, Replay::Always), ..wish(&world, id) };
    assert!(matches!(world.store.accept_sync(&other).await, Err(AcceptError::KeyReused)));

    let nobody = wish(&world, AppointmentId(Uuid::from_u128(1)));
    assert!(matches!(world.store.accept_sync(&nobody).await, Err(AcceptError::NotFound)));
    let foreign = SyncCommand { company_id: 99, ..wish(&world, id) };
    assert!(matches!(world.store.accept_sync(&foreign).await, Err(AcceptError::NotFound)));
    for status in [Status::Cancelled, Status::Rejected] {
        world.sql(&format!("UPDATE appointment SET status = '{}'", status.as_str())).await;
        world.store.accept_sync(&wish(&world, id)).await.unwrap();
    }
    let jobs = JobFilter { kind: None, state: None, appointment_id: Some(id), limit: 50, before: None };
    let before = world.store.jobs(world.company.company_id, &jobs).await.unwrap();
    for status in [Status::Completed, Status::NoShow] {
        world.sql(&format!("UPDATE appointment SET status = '{}'", status.as_str())).await;
        let answer = world.store.accept_sync(&wish(&world, id)).await;
        assert!(matches!(&answer, Err(AcceptError::Refused(no)) if *no == Refusal::Final { status }), "{answer:?}");
    }
    assert_eq!(world.store.jobs(world.company.company_id, &jobs).await.unwrap(), before, "nothing was written");
    world.gone().await;
}
