//! RC5: one person calls many times at once and books as many times. `one_customer_per_phone` and the upsert of accept
//! make it one customer, whose name comes later by the `customer` jobs. Lost in `tests/naive/two_customers.rs`.

use crate::book_at_once;
use domain::phone::{Identity, Phone};
use harness::{Setup, World};
use phonenumber::country::Id::DE;
use std::collections::HashSet;
use store::{BookingCommand, How};

const ROUNDS: u32 = 10;
const CALLERS: u32 = 16;
const STAFF: u32 = 4;

/// One number in the ways people and telephones write it.
fn notations(number: u32) -> [String; 5] {
    [
        format!("+4915113{number:06}"),
        format!("+49 151 13 {number:06}"),
        format!("0151 13{number:06}"),
        format!("(0151) 13-{number:06}"),
        format!("004915113{number:06}"),
    ]
}

/// Wishes of one round by one number: each of a time of its own, and staff in turn, so that no two wait for one lock of
/// staff and all of them meet at the customer.
async fn wishes_of(world: &World, round: u32) -> Vec<BookingCommand> {
    let notations = notations(round);
    let mut wishes = Vec::new();
    for (n, written) in (0..CALLERS).zip(notations.iter().cycle()) {
        let phone = Phone::parse(written, DE).unwrap();
        let nth = round * CALLERS + n;
        let mut wish = world.wish(nth * STAFF + nth % STAFF).await;
        wish.who = Identity::Phone(phone.clone());
        wish.facts.phone = Some(phone);
        wishes.push(wish);
    }
    wishes
}

async fn all_are_booked(world: &World, wishes: Vec<BookingCommand>) {
    let answers = book_at_once(world, wishes).await;
    assert!(answers.iter().all(|a| a.as_ref().is_ok_and(|a| a.how == How::New)), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_one_customer_however_it_is_written() {
    let world = World::of(Setup { staff: 4, ..Setup::default() }).await;
    for round in 0..ROUNDS {
        all_are_booked(&world, wishes_of(&world, round).await).await;
    }
    let (customers, appointments) = (i64::from(ROUNDS), i64::from(ROUNDS * CALLERS));
    let fewest = "SELECT min(n) FROM (
                    SELECT count(appointment_id) AS n FROM customer c LEFT JOIN appointment USING (customer_id)
                    WHERE c.name IS NULL GROUP BY c.customer_id) per_customer";
    assert_eq!(world.count(fewest).await, i64::from(CALLERS), "each has all the appointments of his number");
    assert_eq!(world.count("SELECT count(*) FROM customer").await, customers);

    let _workers = [world.worker(None), world.worker(None)];
    world.rests().await;
    let done = "SELECT count(*) FROM job WHERE kind = 'customer' AND state = 'completed'";
    assert_eq!(world.count(done).await, appointments, "every appointment has told what it knew");
    let newest = "SELECT count(*) FROM customer c WHERE name = (
                    SELECT given_name FROM appointment a WHERE a.customer_id = c.customer_id
                    ORDER BY created_at DESC LIMIT 1)";
    assert_eq!(world.count(newest).await, customers, "the newest name stands, in whatever order the jobs ran");
    assert_eq!(world.count("SELECT count(*) FROM customer").await, customers);
    world.at_rest().await;
}

/// A withheld number is nobody's: each call is a customer of its own, whatever number he leaves for a call back.
#[tokio::test(flavor = "multi_thread")]
async fn withheld_numbers_never_merge_but_a_call_is_one_customer() {
    let world = World::of(Setup { staff: 4, ..Setup::default() }).await;
    for round in 0..ROUNDS {
        let mut wishes = wishes_of(&world, round).await;
        for (n, wish) in wishes.iter_mut().enumerate() {
            wish.who = Identity::Anonymous(format!("call-{round}-{}", n / 2));
        }
        all_are_booked(&world, wishes).await;
    }
    let _workers = [world.worker(None), world.worker(None)];
    world.rests().await;
    let calls = i64::from(ROUNDS * CALLERS / 2);
    let pairs = "SELECT count(*) FROM customer c WHERE phone IS NULL AND name IS NOT NULL AND 2 = (
                   SELECT count(*) FROM appointment a WHERE a.customer_id = c.customer_id)";
    assert_eq!(world.count(pairs).await, calls, "two appointments of one call are one customer's");
    assert_eq!(world.count("SELECT count(*) FROM customer").await, calls);
    world.at_rest().await;
}

/// Deleted softly and calling again, many times at once: the same row, alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_customer_comes_back_once() {
    let world = World::of(Setup { staff: 4, ..Setup::default() }).await;
    let mut wishes = wishes_of(&world, 0).await;
    let first = world.store.accept_booking(&wishes.remove(0)).await.unwrap();
    let deleted = sqlx::query("UPDATE customer SET deleted_at = now()").execute(&world.pool).await.unwrap();
    assert_eq!(deleted.rows_affected(), 1);
    all_are_booked(&world, wishes).await;
    let owners: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT customer_id FROM appointment").fetch_all(&world.pool).await.unwrap();
    assert_eq!((owners.len(), owners.iter().collect::<HashSet<_>>().len()), (CALLERS as usize, 1));
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE deleted_at IS NULL").await, 1);
    let _worker = world.worker(None);
    world.rests().await;
    assert_eq!(world.status(first.appointment_id).await, "scheduled");
    world.at_rest().await;
}
