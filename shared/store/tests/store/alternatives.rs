//! What is free instead and next, as the record's snapshot has it; the strategies are tried in `domain`.

use crate::world::{World, phone};
use chrono::TimeDelta;
use domain::alternatives::Strategy;
use domain::phone::Identity;
use domain::refusal::Refusal;
use store::{BookingCommand, CancelCommand, HoldCommand, Holder, Sake, Sought, Who};

fn sought(world: &World, n: u32) -> Sought {
    Sought {
        company_id: world.company.company_id,
        branch_id: 1,
        service_id: 1,
        staff_id: Some(1),
        whose: Some(Sake::Caller(Identity::Phone(phone(n)))),
    }
}

#[tokio::test]
async fn bookings_holds_and_other_peoples_time_are_not_offered_nor_is_the_customers_own() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    let holder = Holder::ApiKey("0a0a0a0a".to_owned());
    let (branch_id, service_id, staff_id) = (1, 1, Some(1));
    let starts_at = world.at(30);
    world
        .store
        .hold(&HoldCommand { company_id, branch_id, service_id, staff_id, starts_at, holder, call: None })
        .await
        .unwrap();
    let busy = format!(
        "INSERT INTO external_busy (company_id, calcom_uid, staff_id, during) VALUES ({company_id}, 'x', 1, tstzrange('{}', '{}'))",
        world.at(-60).to_rfc3339(),
        world.at(0).to_rfc3339()
    );
    world.sql(&busy).await;
    // He is with another member of staff from 60 to 90.
    world.store.accept_booking(&BookingCommand { staff_id: Some(2), ..world.wish(2, 60) }).await.unwrap();

    let found = world.store.alternatives(&sought(&world, 2), world.at(0), 3).await.unwrap().unwrap();
    assert_eq!(found.wished.unwrap_err().code(), "taken");
    assert!(!found.already_theirs);
    let starts: Vec<_> = found.alternatives.iter().map(|a| (a.offer.staff_id, a.offer.during.start())).collect();
    assert_eq!(starts, [(1, world.at(90)), (1, world.at(-90)), (1, world.at(24 * 60))]);
    let strategies: Vec<_> = found.alternatives.iter().map(|a| a.strategy).collect();
    assert_eq!(strategies, [Strategy::SameDay, Strategy::SameDay, Strategy::NextWorkday]);

    let stranger = world.store.alternatives(&sought(&world, 3), world.at(0), 3).await.unwrap().unwrap();
    assert_eq!(stranger.alternatives[0].offer.during.start(), world.at(60), "it is in nobody else's way");
    let theirs = world.store.alternatives(&sought(&world, 1), world.at(0), 3).await.unwrap().unwrap();
    assert!(theirs.already_theirs);
    let refused = world.store.accept_booking(&world.wish(2, 0)).await.unwrap_err();
    let store::AcceptError::Refused(refusal) = refused else { panic!("not refused") };
    assert_eq!(refusal.alternatives()[0].during.start(), world.at(90), "a refusal knows the customer, too");

    world.sql("UPDATE slot SET expires_at = clock_timestamp() WHERE state = 'held'").await;
    let found = world.store.alternatives(&sought(&world, 2), world.at(0), 3).await.unwrap().unwrap();
    assert_eq!(found.alternatives[0].offer.during.start(), world.at(30), "a hold that has run out is in nobody's way");
    let free = world.store.alternatives(&sought(&world, 3), world.at(30), 1).await.unwrap().unwrap();
    assert_eq!(free.wished.unwrap().staff_id, 1);
    assert_ne!(free.alternatives[0].offer.during.start(), world.at(30), "the wish itself is no alternative");
    world.gone().await;
}

#[tokio::test]
async fn a_time_that_is_being_released_says_in_how_many_seconds() {
    let world = World::new().await;
    let booked = world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    world.store.claim(booked.job.unwrap().job, "w").await.unwrap();
    let (company_id, appointment_id) = (world.company.company_id, booked.appointment_id);
    let cancel = CancelCommand {
        company_id,
        appointment_id,
        if_match: None,
        who: Who::Customer,
        why: None,
        call: None,
        key: None,
    };
    world.store.accept_cancel(&cancel).await.unwrap();
    let found = world.store.alternatives(&sought(&world, 2), world.at(0), 3).await.unwrap().unwrap();
    assert!(matches!(found.wished, Err(Refusal::BeingReleased { seconds: 1.., .. })), "{:?}", found.wished);
    assert!(found.alternatives.iter().all(|a| a.offer.staff_id != 1 || a.offer.during.start() != world.at(0)));
    world.gone().await;
}

#[tokio::test]
async fn what_is_next_is_looked_for_as_many_days_as_asked() {
    let world = World::new().await;
    let all_day = format!(
        "INSERT INTO external_busy (company_id, calcom_uid, staff_id, during)
         SELECT {}, 'x' || n, n, tstzrange('{}', '{}') FROM generate_series(1, 3) n",
        world.company.company_id,
        world.at(-600).to_rfc3339(),
        world.at(60 + 24 * 60).to_rfc3339()
    );
    world.sql(&all_day).await;
    let next = async |days| {
        let found = world.store.next_available(&sought(&world, 1), Some(world.at(0)), days, 3).await.unwrap().unwrap();
        found.iter().map(|offer| offer.during.start() - world.at(0)).collect::<Vec<_>>()
    };
    assert_eq!(next(1).await, [], "the rest of that day");
    let tomorrow = [0, 15, 30].map(|minutes| TimeDelta::minutes(25 * 60 + minutes));
    assert_eq!(next(2).await, tomorrow);
    assert_eq!(next(60).await, tomorrow, "never more than fourteen");
    let now = world.store.next_available(&sought(&world, 1), None, 14, 1).await.unwrap().unwrap();
    assert!(now[0].during.start() < world.at(0), "from now on");
    let unknown = Sought { service_id: 9, ..sought(&world, 1) };
    assert_eq!(world.store.next_available(&unknown, None, 14, 1).await.unwrap(), Err(Refusal::UnknownService));
    world.gone().await;
}
