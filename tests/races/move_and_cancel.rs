//! RC3: moves and a cancel of one appointment at once. Of those who name one version exactly one succeeds, the others
//! hear the version that stands; without a version the last word counts, and a cancel is never lost. At rest Cal.com has
//! what was promised last, and nothing else.

use crate::{at_once, cancel};
use chrono::{DateTime, Utc};
use domain::appointment::Status;
use domain::id::AppointmentId;
use domain::refusal::Refusal;
use harness::{WISHES_A_DAY, World};
use std::time::Duration;
use store::{AcceptError, Accepted, CancelCommand, How, RescheduleCommand, Store, StoreError, Who};

const ROUNDS: u32 = 8;
const RIVALS: u32 = 16;

/// The n-th time of the day of a round.
async fn time(world: &World, round: u32, nth: u32) -> DateTime<Utc> {
    world.wish(round * WISHES_A_DAY + nth).await.starts_at
}

pub(crate) fn to(
    world: &World,
    id: AppointmentId,
    starts_at: DateTime<Utc>,
    if_match: Option<i32>,
) -> RescheduleCommand {
    let company_id = world.company.company_id;
    RescheduleCommand {
        company_id,
        appointment_id: id,
        starts_at,
        if_match,
        who: Who::Customer,
        why: None,
        call: None,
        key: None,
    }
}

pub(crate) enum Wish {
    Move(RescheduleCommand),
    Cancel(CancelCommand),
}

/// Asks until it is decided: a lock that was not to be had in time is no decision.
pub(crate) async fn decided(store: Store, wish: Wish) -> Result<Accepted, AcceptError> {
    loop {
        let answer = match &wish {
            Wish::Move(command) => store.accept_reschedule(command).await,
            Wish::Cancel(command) => store.accept_cancel(command).await,
        };
        match answer {
            Err(AcceptError::Busy { .. } | AcceptError::Store(StoreError::Away(_))) => tokio::task::yield_now().await,
            decided => return decided,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_who_name_one_version_one_succeeds() {
    let world = World::new().await;
    let workers = [world.worker(None), world.worker(None)];
    let mut ids = vec![];
    for round in 0..ROUNDS {
        ids.push(world.book(round * WISHES_A_DAY).await);
    }
    world.rests().await;
    let (mut moved, mut stale) = (0, 0);
    for (round, id) in (0..).zip(ids) {
        let mut rivals = vec![];
        for n in 1..RIVALS {
            let command = to(&world, id, time(&world, round, n).await, Some(2));
            rivals.push(decided(world.store.clone(), Wish::Move(command)));
        }
        let command = CancelCommand { if_match: Some(2), ..cancel(&world, id) };
        rivals.push(decided(world.store.clone(), Wish::Cancel(command)));
        let mut won = vec![];
        for answer in at_once(rivals).await {
            match answer {
                Ok(accepted) => won.push(accepted),
                Err(AcceptError::StaleVersion { current: 3, .. }) => stale += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!((won[0].how, won[0].version), (How::New, 3));
        moved += u32::from(won[0].status == Status::Scheduled);
    }
    world.rests().await;
    assert_eq!(stale, ROUNDS * (RIVALS - 1), "every loser heard which version stands");
    let cancelled = world.count("SELECT count(*) FROM appointment WHERE status = 'cancelled'").await;
    assert_eq!(i64::from(ROUNDS), i64::from(moved) + cancelled);
    promised_is_booked(&world).await;
    drop(workers);
    world.at_rest().await;
}

/// Everybody moves and one cancels, while earlier moves are on their way to Cal.com.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_among_moves_is_never_lost() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_millis(5), Duration::from_millis(5));
    let workers = [world.worker(None), world.worker(None)];
    let mut too_late = 0;
    for round in 0..ROUNDS {
        let id = world.book(round * WISHES_A_DAY).await;
        let mut rivals = vec![];
        for n in 1..RIVALS {
            let command = to(&world, id, time(&world, round, n).await, None);
            rivals.push(decided(world.store.clone(), Wish::Move(command)));
        }
        rivals.insert(rivals.len() / 2, decided(world.store.clone(), Wish::Cancel(cancel(&world, id))));
        for answer in at_once(rivals).await {
            match answer {
                Ok(accepted) => assert!(matches!(accepted.how, How::New | How::Unchanged), "{accepted:?}"),
                Err(AcceptError::Refused(Refusal::Final { status: Status::Cancelled })) => too_late += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(world.status(id).await, "cancelled", "at once");
    }
    world.rests().await;
    assert_eq!(world.live().len(), 0, "and at Cal.com");
    eprintln!("{ROUNDS} rounds of {RIVALS}: {too_late} moves came after the cancel");
    drop(workers);
    world.at_rest().await;
}

/// Only moves: at rest Cal.com has the time that was promised last.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_move_counts() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_millis(5), Duration::from_millis(5));
    let workers = [world.worker(None), world.worker(None)];
    for round in 0..ROUNDS {
        let id = world.book(round * WISHES_A_DAY).await;
        let mut rivals = vec![];
        for n in 0..RIVALS {
            let command = to(&world, id, time(&world, round, n).await, None);
            rivals.push(decided(world.store.clone(), Wish::Move(command)));
        }
        for answer in at_once(rivals).await {
            assert!(matches!(answer.unwrap().how, How::New | How::Unchanged));
        }
    }
    world.rests().await;
    assert_eq!(world.live().len(), ROUNDS as usize);
    promised_is_booked(&world).await;
    drop(workers);
    world.at_rest().await;
}

/// Each scheduled appointment has a live booking at its very time.
pub(crate) async fn promised_is_booked(world: &World) {
    let promised: Vec<DateTime<Utc>> =
        sqlx::query_scalar("SELECT starts_at FROM appointment WHERE status = 'scheduled' ORDER BY starts_at")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let mut booked: Vec<_> = world.live().into_iter().map(|booking| booking.start).collect();
    booked.sort();
    assert_eq!(promised, booked);
}
