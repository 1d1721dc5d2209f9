//! Get and list: what is there, what is not, and what nobody knows.

use std::time::Duration;

use calcom::ListQuery;
use domain::answer::{Booking, BookingStatus, BookingUid, LookFailure};
use serde_json::{Value, json};

use crate::peer::{Peer, Reply, reply};
use crate::{COMPANY, LINEAGE, NEW_UID, UID, at, booking, booking_with, client, key, markers, success, uid};

const QUERY: fn() -> ListQuery =
    || ListQuery::Window { event_type_id: 123, from: at("2050-09-05T08:59:00Z"), to: at("2050-09-05T09:31:00Z") };

async fn get(answer: Reply) -> Result<Option<Booking>, LookFailure> {
    let peer = Peer::answering([answer]).await;
    let found = client(peer.url.clone()).get(&key(), &uid(), &markers(), COMPANY).await;
    peer.asked_once();
    found
}

async fn list(pages: Vec<Reply>) -> (Result<Vec<Booking>, LookFailure>, usize) {
    let peer = Peer::answering(pages).await;
    let found = client(peer.url.clone()).list(&key(), &QUERY(), &markers(), COMPANY).await;
    (found, peer.asked().len())
}

fn page(bookings: Vec<Value>, more: bool) -> Reply {
    let pagination = json!({"totalItems": 3, "remainingItems": 0, "returnedItems": bookings.len(), "itemsPerPage": 250,
        "currentPage": 1, "totalPages": 2, "hasNextPage": more, "hasPreviousPage": false});
    reply(200, json!({"status": "success", "data": bookings, "pagination": pagination}).to_string())
}

fn throttled() -> Reply {
    let mut reply = reply(429, "{}");
    reply.headers.push(("x-ratelimit-reset-default", "12".to_owned()));
    reply
}

#[tokio::test]
async fn get_asks_for_exactly_this_booking_and_reads_where_it_went() {
    let moved = booking_with(json!({"status": "cancelled", "rescheduledToUid": NEW_UID}));
    let peer = Peer::answering([reply(200, success(moved))]).await;
    let found = client(peer.url.clone()).get(&key(), &uid(), &markers(), COMPANY).await.unwrap().unwrap();
    assert_eq!(found.status, BookingStatus::Cancelled);
    assert_eq!(found.rescheduled_to, Some(BookingUid::from(NEW_UID.to_owned())));
    assert_eq!(found.marker, Some(LINEAGE));
    let asked = peer.asked_once();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/v2/bookings/bfkkD7vGq3a9X2cWmRtYzP"));
    assert_eq!((asked.query, asked.body.as_str()), (None, ""));
    assert_eq!(asked.headers["cal-api-version"], "2024-08-13");
    assert_eq!(asked.headers["authorization"], "Bearer cal_test_0123456789secret");
}

#[tokio::test]
async fn only_cal_coms_own_word_makes_a_booking_absent() {
    let own = |message: String| {
        let body = json!({"status": "error", "error": {"code": "NotFoundException", "message": message}});
        reply(404, body.to_string())
    };
    assert_eq!(get(own(format!("Booking with uid={UID} was not found in the database"))).await, Ok(None));
    assert_eq!(get(own(format!("Booking with uid={UID} not found"))).await, Ok(None));
    assert_eq!(get(own("Not Found".to_owned())).await, Err(LookFailure::Other));
    assert_eq!(get(own(format!("Booking with uid={NEW_UID} not found"))).await, Err(LookFailure::Other));
    assert_eq!(
        get(reply(404, r#"{"statusCode":404,"message":"Cannot GET /v2/bookings/x"}"#)).await,
        Err(LookFailure::Other)
    );
    assert_eq!(get(reply(404, "<html>404</html>")).await, Err(LookFailure::Other));
    assert_eq!(get(reply(404, "")).await, Err(LookFailure::Other));
}

#[tokio::test]
async fn a_look_that_failed_says_so() {
    let unauthorized = json!({"status": "error", "error": {"code": "UnauthorizedException",
        "message": "ApiAuthStrategy - api key - Your api key is not valid"}})
    .to_string();
    let redirect = Reply { status: 302, headers: vec![("location", "/v2/me".to_owned())], body: Vec::new() };
    for (answer, failure) in [
        (reply(401, unauthorized), LookFailure::Unauthorized),
        (reply(403, "<html>403</html>"), LookFailure::Unauthorized),
        (throttled(), LookFailure::Throttled { wait: Duration::from_secs(12) }),
        (reply(400, "{}"), LookFailure::Other),
        (reply(500, "{}"), LookFailure::NoAnswer { wait: None }),
        (reply(502, "<html>502</html>"), LookFailure::NoAnswer { wait: None }),
        (redirect, LookFailure::NoAnswer { wait: None }),
        (reply(200, "<html>ok</html>"), LookFailure::Other),
        (reply(200, success(json!([booking()]))), LookFailure::Other),
        (reply(200, vec![b' '; 2 << 20]), LookFailure::NoAnswer { wait: None }),
    ] {
        assert_eq!(get(answer.clone()).await, Err(failure.clone()));
        assert_eq!(list(vec![answer]).await, (Err(failure), 1));
    }
    assert_eq!(list(vec![reply(404, "{}")]).await, (Err(LookFailure::Other), 1));
}

#[tokio::test]
async fn list_reads_all_pages_in_order() {
    let of = |uid: &str, status: &str| booking_with(json!({"uid": uid, "status": status}));
    let peer = Peer::answering([
        page(vec![of("one", "accepted"), of("two", "cancelled")], true),
        page(vec![of("three", "pending")], true),
        page(vec![of("four", "accepted")], false),
    ])
    .await;
    let found = client(peer.url.clone()).list(&key(), &QUERY(), &markers(), COMPANY).await.unwrap();
    let uids: Vec<&str> = found.iter().map(|booking| booking.uid.expose()).collect();
    assert_eq!(uids, ["one", "two", "three", "four"]);
    assert!(found.iter().all(|booking| booking.marker == Some(LINEAGE)));
    let asked = peer.asked();
    assert_eq!(asked.len(), 3);
    for (asked, skip) in asked.iter().zip([0, 2, 3]) {
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/v2/bookings"));
        assert_eq!(
            asked.query.clone().unwrap(),
            format!(
                "status=upcoming&status=past&status=cancelled&status=unconfirmed\
                 &eventTypeId=123&afterStart=2050-09-05T08%3A59%3A00Z&beforeEnd=2050-09-05T09%3A31%3A00Z\
                 &sortCreated=asc&take=250&skip={skip}"
            )
        );
        assert_eq!(asked.headers["cal-api-version"], "2024-08-13");
    }
}

#[tokio::test]
async fn an_incomplete_list_is_never_a_list() {
    assert_eq!(list(vec![page(vec![], false)]).await, (Ok(vec![]), 1));
    assert_eq!(
        list(vec![page(vec![booking()], true), throttled()]).await.0,
        Err(LookFailure::Throttled { wait: Duration::from_secs(12) })
    );
    assert_eq!(
        list(vec![page(vec![booking()], true), reply(500, "{}")]).await,
        (Err(LookFailure::NoAnswer { wait: None }), 2)
    );
    assert_eq!(list(vec![page(vec![], true)]).await, (Err(LookFailure::Other), 1), "says more, gives nothing");
    assert_eq!(list(vec![page(vec![booking()], true)]).await, (Err(LookFailure::Other), 40), "never ends");
    assert_eq!(
        list(vec![reply(200, success(json!([booking()])))]).await,
        (Err(LookFailure::Other), 1),
        "no pagination"
    );
}

#[tokio::test]
async fn an_unreadable_booking_of_ours_fails_the_look_and_one_of_others_does_not() {
    let marker = markers().sign(COMPANY, LINEAGE);
    let others = [
        json!({"nothing": 1}),
        json!(null),
        booking_with(json!({"start": null, "metadata": {}})),
        booking_with(json!({"start": null, "metadata": {"gateway_key": marker.key, "gateway_mac": "k1:00"}})),
        booking_with(json!({"metadata": "text"})),
    ];
    let entries: Vec<Value> = others.into_iter().chain([booking()]).collect();
    let (found, _) = list(vec![page(entries, false)]).await;
    assert_eq!(found.unwrap().len(), 1);
    let ours = booking_with(json!({"start": null}));
    assert_eq!(list(vec![page(vec![booking(), ours], false)]).await, (Err(LookFailure::Other), 1));
}
