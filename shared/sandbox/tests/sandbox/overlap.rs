//! The check of availability and the unique key, switched while the sandbox runs; and the window between check and
//! insert.

use std::time::Duration;

use reqwest::Method;
use sandbox::{Checks, Config, Overlap, Status};
use serde_json::json;

use crate::client::{Client, at, body, config, reply};

const NINE: &str = "2050-09-05T09:00:00Z";
const QUARTER_PAST: &str = "2050-09-05T09:15:00Z";
const WINDOW: Overlap = Overlap::Toctou(Duration::from_millis(300));

fn accepted(client: &Client) -> usize {
    client.sandbox.bookings().iter().filter(|booking| booking.status == Status::Accepted).count()
}

#[tokio::test]
async fn the_checks_are_switched_over_http() {
    let client = Client::start(config()).await;
    let put = |checks| reply(client.control(Method::PUT, "/checks").json(&checks));
    let strict = json!({ "natural_key": "exact_slot", "overlap_check": "strict" });
    assert_eq!(reply(client.control(Method::GET, "/checks")).await.body, strict);
    assert_eq!(client.create(101, NINE).await.status, 201);
    assert_eq!(client.create(101, QUARTER_PAST).await.status, 400);
    assert_eq!(client.create(101, NINE).await.status, 409);
    let open = json!({ "natural_key": "exact_slot", "overlap_check": "off" });
    assert_eq!(put(json!({ "overlap_check": "off" })).await.body, open);
    assert_eq!(client.create(101, QUARTER_PAST).await.status, 201);
    assert_eq!(client.create(101, NINE).await.status, 409);
    put(json!({ "natural_key": "off" })).await;
    assert_eq!(client.create(101, NINE).await.status, 201);
    assert_eq!(put(strict.clone()).await.body, strict);
    assert_eq!(client.create(101, NINE).await.status, 409, "as at first");
    let window = json!({ "natural_key": "exact_slot", "overlap_check": "toctou(40)" });
    assert_eq!(put(json!({ "overlap_check": "toctou(40)" })).await.body, window);
    for wrong in ["toctou", "toctou()", "toctou(-1)", "toctou(600001)", "lax"] {
        let refused = client.control(Method::PUT, "/checks").json(&json!({ "overlap_check": wrong })).send().await;
        assert_eq!(refused.unwrap().status(), 422, "{wrong}");
    }
}

#[tokio::test]
async fn within_the_window_overlapping_bookings_both_succeed_and_identical_ones_do_not() {
    let client = Client::start(Config { overlap: WINDOW, ..config() }).await;
    let (first, second) = futures::future::join(client.create(101, NINE), client.create(101, QUARTER_PAST)).await;
    assert_eq!((first.status, second.status), (201, 201), "the double booking of the real server");
    let ten = "2050-09-05T10:00:00Z";
    let (first, second) = futures::future::join(client.create(101, ten), client.create(101, ten)).await;
    let mut both = [first.status, second.status];
    both.sort_unstable();
    assert_eq!(both, [201, 409]);
    assert_eq!(client.create(101, ten).await.status, 400, "who comes later than the window is seen by the check");
    assert_eq!(client.create(102, "2050-09-05T08:45:00Z").await.status, 400);
}

#[tokio::test]
async fn without_the_key_the_window_lets_identical_ones_in() {
    let client = Client::start(Config { overlap: WINDOW, natural_key: false, ..config() }).await;
    let (first, second) = futures::future::join(client.create(101, NINE), client.create(101, NINE)).await;
    assert_eq!((first.status, second.status), (201, 201));
}

#[tokio::test]
async fn a_move_has_the_same_window_and_its_own_booking_is_not_in_its_way() {
    let client = Client::start(config()).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    client.sandbox.set_checks(Checks { natural_key: true, overlap: WINDOW });
    let (moved, made) =
        futures::future::join(client.reschedule(&uid, QUARTER_PAST), client.create(101, "2050-09-05T09:30:00Z")).await;
    assert_eq!((moved.status, made.status), (201, 201));
    assert_eq!(accepted(&client), 2);
    assert_eq!(client.reschedule(moved.uid(), "2050-09-05T09:20:00Z").await.status, 400);
}

#[tokio::test]
async fn what_others_book_in_the_window_is_not_seen() {
    let client = Client::start(Config { overlap: Overlap::Toctou(Duration::from_millis(500)), ..config() }).await;
    let theirs = async {
        client.ledger_when(|ledger| ledger.len() == 1).await;
        client.sandbox.create_by_others(&body(102, QUARTER_PAST)).await.unwrap()
    };
    let (ours, theirs) = futures::future::join(client.create(101, NINE), theirs).await;
    assert_eq!((ours.status, theirs.start), (201, at(QUARTER_PAST)));
    assert_eq!(accepted(&client), 2);
}
