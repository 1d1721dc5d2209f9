//! `GET /v2/bookings`: filters, order, pages.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, Reply, body, config, envelope, reply};

/// The starts of a page's bookings, as `day hour`.
fn starts(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let data = reply.data().as_array().unwrap();
    data.iter().map(|booking| booking["start"].as_str().unwrap()[8..13].replace('T', " ")).collect()
}

/// Five bookings, each made an hour after the one before; the second is cancelled on the 2nd, the last is pending.
async fn five() -> Client {
    let client = Client::start(config()).await;
    let mut uids = Vec::new();
    for (n, (event_type_id, start, email)) in [
        (101, "2050-09-05T09:00:00Z", "max@example.com"),
        (102, "2050-09-05T10:00:00Z", "eva+x@example.com"),
        (201, "2050-09-05T08:00:00Z", "max@example.com"),
        (101, "2050-09-06T09:00:00Z", "max@example.com"),
        (301, "2050-09-07T09:00:00Z", "max@example.com"),
    ]
    .into_iter()
    .enumerate()
    {
        client.set_now(&format!("2050-09-01T1{n}:00:00Z"));
        let mut body = body(event_type_id, start);
        body["attendee"]["email"] = json!(email);
        uids.push(client.post("/bookings", &body).await.uid().to_owned());
    }
    client.set_now("2050-09-02T10:00:00Z");
    assert_eq!(client.cancel(&uids[1]).await.status, 200);
    client
}

#[tokio::test]
async fn filters() {
    let client = five().await;
    for (query, expected) in [
        ("", "05 08,05 09,05 10,06 09,07 09"),
        ("?eventTypeId=101", "05 09,06 09"),
        ("?eventTypeIds=101,201", "05 08,05 09,06 09"),
        ("?attendeeEmail=eva%2Bx@example.com", "05 10"),
        ("?attendeeEmail=eva+x@example.com", "05 10"),
        ("?attendeeName=Nobody", ""),
        ("?afterStart=2050-09-05T09:00:00Z&beforeEnd=2050-09-05T09:30:00Z", "05 09"),
        ("?afterStart=2050-09-05T09:00:00.001Z&beforeEnd=2050-09-06T09:29:59Z", "05 10"),
        ("?afterStart=2050-09-06T00:00:00Z", "06 09,07 09"),
        ("?beforeEnd=2050-09-05T08:30:00Z", "05 08"),
        ("?afterStart=2050-09-06T00:00:00Z&beforeEnd=2050-09-05T00:00:00Z", ""),
        ("?afterCreatedAt=2050-09-01T13:00:00Z", "06 09,07 09"),
        ("?beforeCreatedAt=2050-09-01T10:00:00Z", "05 09"),
        ("?afterUpdatedAt=2050-09-02T10:00:00Z", "05 10"),
        ("?afterUpdatedAt=2050-09-01T14:00:00Z&sortUpdatedAt=desc", "05 10,07 09"),
        ("?beforeUpdatedAt=2050-09-01T12:00:00Z", "05 08,05 09"),
        ("?status=cancelled", "05 10"),
        ("?status=upcoming", "05 08,05 09,06 09,07 09"),
        ("?status=past", ""),
        ("?status=recurring", ""),
        ("?status=unconfirmed,cancelled", "05 10,07 09"),
        ("?status=unconfirmed&status=cancelled", "05 10,07 09"),
        ("?teamId=1", ""),
        ("?somethingElse=1&bookingUid=nobody", ""),
        ("?sortStart=desc", "07 09,06 09,05 10,05 09,05 08"),
        ("?sortCreated=asc", "05 09,05 10,05 08,06 09,07 09"),
        ("?sortEnd=desc&take=2", "07 09,06 09"),
    ] {
        let found = client.get(&format!("/bookings{query}")).await;
        assert_eq!(starts(&found).join(","), expected, "{query}");
    }
    client.set_now("2050-09-05T09:15:00Z");
    assert_eq!(starts(&client.get("/bookings?status=past").await), ["05 08"]);
    assert_eq!(starts(&client.get("/bookings?status=upcoming").await), ["05 09", "06 09", "07 09"]);
    let uid = client.sandbox.bookings()[3].uid.clone();
    assert_eq!(starts(&client.get(&format!("/bookings?bookingUid={uid}")).await), ["06 09"]);
}

#[tokio::test]
async fn a_page_shows_whole_bookings_with_metadata() {
    let client = five().await;
    let page = client.get("/bookings?eventTypeId=201").await;
    let uid = page.data()[0]["uid"].as_str().unwrap();
    assert_eq!(&page.data()[0], client.get(&format!("/bookings/{uid}")).await.data());
    assert_eq!(page.data()[0]["metadata"]["gateway_key"], "0b9f0a6e-0000-4000-8000-000000000001");
    assert_eq!(page.body["status"], "success");
}

#[tokio::test]
async fn pages() {
    let client = five().await;
    let pagination = |total: usize, remaining: usize, returned: usize, per: usize, page: usize, pages: usize| {
        json!({
            "totalItems": total, "remainingItems": remaining, "returnedItems": returned, "itemsPerPage": per,
            "currentPage": page, "totalPages": pages, "hasNextPage": remaining > 0, "hasPreviousPage": page > 1,
        })
    };
    for (query, starts_expected, expected) in [
        ("?take=2", "05 08,05 09", pagination(5, 3, 2, 2, 1, 3)),
        ("?take=2&skip=2", "05 10,06 09", pagination(5, 1, 2, 2, 2, 3)),
        ("?take=2&skip=4", "07 09", pagination(5, 0, 1, 2, 3, 3)),
        ("?take=2&skip=6", "", pagination(5, 0, 0, 2, 4, 3)),
        ("?take=250", "05 08,05 09,05 10,06 09,07 09", pagination(5, 0, 5, 250, 1, 1)),
        ("", "05 08,05 09,05 10,06 09,07 09", pagination(5, 0, 5, 100, 1, 1)),
        ("?eventTypeId=7", "", pagination(0, 0, 0, 100, 1, 0)),
    ] {
        let page = client.get(&format!("/bookings{query}")).await;
        assert_eq!(starts(&page).join(","), starts_expected, "{query}");
        assert_eq!(page.body["pagination"], expected, "{query}");
    }
}

#[tokio::test]
async fn queries_that_cal_com_refuses() {
    let client = Client::start(config()).await;
    for (query, property, message) in [
        ("take=251", "take", "take must not be greater than 250"),
        ("take=0", "take", "take must not be less than 1"),
        ("skip=-1", "skip", "skip must not be less than 0"),
        ("afterStart=soon", "afterStart", "afterStart must be a valid ISO 8601 date string"),
        ("status=lost", "status", "Invalid status. Allowed are upcoming, recurring, past, cancelled, unconfirmed"),
        ("sortStart=up", "sortStart", "SortStart must be either \"asc\" or \"desc\"."),
        ("eventTypeId=x", "eventTypeId", "eventTypeId must be a number"),
    ] {
        let refused = client.get(&format!("/bookings?{query}")).await;
        assert_eq!((refused.status, refused.message()), (400, "Bad Request Exception"), "{query}");
        assert_eq!(refused.body["path"], format!("/v2/bookings?{query}"));
        let error = &refused.body["error"]["details"]["errors"][0];
        assert_eq!(error["property"], property);
        let constraints: Vec<&Value> = error["constraints"].as_object().unwrap().values().collect();
        assert_eq!(constraints, [message]);
    }
}

#[tokio::test]
async fn listing_needs_a_key() {
    let client = Client::start(config()).await;
    let refused = reply(client.bare(Method::GET, "/bookings").header("cal-api-version", "2024-08-13")).await;
    let message = "PermissionsGuard - no authentication provided. Provide either authorization bearer token containing \
                   managed user access token or oAuth client id in 'x-cal-client-id' header.";
    assert_eq!(
        refused,
        Reply { status: 401, body: envelope("/v2/bookings", 401, "UnauthorizedException", "Unauthorized", message) },
    );
}

#[tokio::test]
async fn every_change_moves_the_time_of_the_last_update() {
    let client = Client::start(config()).await;
    let create = |id: i64, hour: u32| {
        let client = &client;
        async move { client.create(id, &format!("2050-09-05T{hour:02}:00:00Z")).await.uid().to_owned() }
    };
    let [cancelled, moved, handed] = [create(101, 8).await, create(101, 9).await, create(101, 10).await];
    let [confirmed, declined] = [create(301, 12).await, create(301, 13).await];
    let [theirs, untouched] = [create(201, 14).await, create(201, 15).await];
    client.set_now("2050-09-02T08:00:00.123456Z");
    client.cancel(&cancelled).await;
    let new = client.reschedule(&moved, "2050-09-05T11:00:00Z").await.uid().to_owned();
    client.sandbox.reassign_by_others(&handed, 2).await.unwrap();
    client.post(&format!("/bookings/{confirmed}/confirm"), &json!({})).await;
    client.post(&format!("/bookings/{declined}/decline"), &json!({})).await;
    client.sandbox.cancel_by_others(&theirs).await.unwrap();
    let page = client.get("/bookings?afterUpdatedAt=2050-09-02T08:00:00.123Z").await;
    let data = page.data().as_array().unwrap();
    let changed: Vec<_> = data.iter().map(|booking| booking["uid"].as_str().unwrap()).collect();
    assert_eq!(changed, [&*cancelled, &moved, &handed, &new, &confirmed, &declined, &theirs]);
    assert!(data.iter().all(|booking| booking["updatedAt"] == "2050-09-02T08:00:00.123Z"));
    let rest = client.get("/bookings?beforeUpdatedAt=2050-09-02T08:00:00.122Z").await;
    assert_eq!(rest.data().as_array().unwrap().len(), 1);
    assert_eq!(rest.data()[0]["uid"], untouched);
    let all = client.get("/bookings?beforeUpdatedAt=2050-09-02T08:00:00.123Z").await;
    assert_eq!(all.data().as_array().unwrap().len(), 8, "what is shown in milliseconds is kept in milliseconds");
}

#[tokio::test]
async fn a_name_a_number_and_further_orders() {
    let client = five().await;
    for (query, expected) in [
        ("?attendeeName=Max%20M%C3%BCller&eventTypeId=102", "05 10"),
        ("?sortStart=asc&skip=1&take=2", "05 09,05 10"),
        ("?sortEnd=asc", "05 08,05 09,05 10,06 09,07 09"),
        ("?sortCreated=desc", "07 09,06 09,05 08,05 10,05 09"),
        ("?sortUpdatedAt=asc", "05 09,05 08,06 09,07 09,05 10"),
        ("?afterCreatedAt=2050-09-01T11:00:00Z&beforeCreatedAt=2050-09-01T12:00:00Z", "05 08,05 10"),
        ("?afterUpdatedAt=2050-09-01T12:00:00Z&beforeUpdatedAt=2050-09-01T13:00:00Z", "05 08,06 09"),
    ] {
        assert_eq!(starts(&client.get(&format!("/bookings{query}")).await).join(","), expected, "{query}");
    }
}
