//! `POST /v2/bookings` and `GET /v2/bookings/{uid}`.

use reqwest::Method;
use sandbox::{Config, Overlap};
use serde_json::{Value, json};

use crate::client::{Client, KEY, Reply, bad_request, body, config, envelope, not_found, reply};

const NINE: &str = "2050-09-05T09:00:00Z";
const TAKEN: &str = "User either already has booking at this time or is not available";

fn conflict() -> Reply {
    Reply { status: 409, body: json!({ "statusCode": 409, "message": "booking_conflict_error" }) }
}

#[tokio::test]
async fn created_and_read_with_the_exact_body() {
    let client = Client::start(config()).await;
    let mut wanted = body(101, NINE);
    wanted["location"] = json!({ "type": "attendeePhone", "phone": "+4915112345678" });
    wanted["bookingFieldsResponses"] = json!({ "title": "Haarschnitt" });
    wanted["guests"] = json!(["g@example.com"]);
    let created = client.post("/bookings", &wanted).await;
    let uid = created.uid().to_owned();
    assert_eq!(uid.len(), 22);
    assert!(uid.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let expected = json!({
        "status": "success",
        "data": {
            "id": 1,
            "uid": uid,
            "title": "event-101 between Anna Berg and Max Müller",
            "description": "",
            "hosts": [{
                "id": 1, "name": "Anna Berg", "email": "anna@salon.test", "displayEmail": "anna@salon.test",
                "username": "anna1", "timeZone": "Europe/Berlin",
            }],
            "status": "accepted",
            "cancellationReason": "",
            "cancelledByEmail": "",
            "start": "2050-09-05T09:00:00.000Z",
            "end": "2050-09-05T09:30:00.000Z",
            "duration": 30,
            "eventTypeId": 101,
            "eventType": { "id": 101, "slug": "event-101" },
            "location": "+4915112345678",
            "meetingUrl": "+4915112345678",
            "absentHost": false,
            "createdAt": "2050-09-01T08:00:00.000Z",
            "updatedAt": "2050-09-01T08:00:00.000Z",
            "metadata": { "gateway_key": "0b9f0a6e-0000-4000-8000-000000000001" },
            "icsUid": format!("{uid}@Cal.com"),
            "attendees": [{
                "name": "Max Müller", "email": "max@example.com", "displayEmail": "max@example.com",
                "timeZone": "Europe/Berlin", "language": "de", "absent": false, "phoneNumber": "+4915112345678",
            }],
            "guests": ["g@example.com"],
            "bookingFieldsResponses": {
                "title": "Haarschnitt", "name": "Max Müller", "email": "max@example.com",
                "displayEmail": "max@example.com", "attendeePhoneNumber": "+4915112345678",
                "guests": ["g@example.com"], "displayGuests": ["g@example.com"],
            },
        },
    });
    assert_eq!(created, Reply { status: 201, body: expected.clone() });
    assert_eq!(client.get(&format!("/bookings/{uid}")).await, Reply { status: 200, body: expected });
}

#[tokio::test]
async fn an_unknown_uid_is_not_found() {
    let client = Client::start(config()).await;
    assert_eq!(
        client.get("/bookings/nobody").await,
        not_found("/v2/bookings/nobody", "Booking with uid=nobody was not found in the database"),
    );
}

#[tokio::test]
async fn starts_are_utc_unless_they_say_otherwise() {
    let client = Client::start(config()).await;
    for (start, shown) in [
        ("2050-09-05T09:00:00", "2050-09-05T09:00:00.000Z"),
        ("2050-09-06T11:00:00+02:00", "2050-09-06T09:00:00.000Z"),
        ("2050-09-07T09:00", "2050-09-07T09:00:00.000Z"),
        ("2050-09-08T09:00:00.1239Z", "2050-09-08T09:00:00.123Z"),
        ("2050-09-09T09:00Z", "2050-09-09T09:00:00.000Z"),
        ("2350-09-09T09:00:00Z", "2350-09-09T09:00:00.000Z"),
    ] {
        let created = client.create(101, start).await;
        assert_eq!((created.status, &created.data()["start"]), (201, &json!(shown)), "{start}");
    }
}

#[tokio::test]
async fn bodies_that_cal_com_refuses() {
    let client = Client::start(config()).await;
    let changed = |pointer: &str, value: Value| {
        let mut body = body(101, NINE);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(key)
        } else {
            parent.insert(key.to_owned(), value)
        };
        body
    };
    let no_contact = {
        let mut body = changed("/attendee/email", Value::Null);
        body["attendee"].as_object_mut().unwrap().remove("phoneNumber");
        body
    };
    let limits = "metadata property is wrong,Metadata must have at most 50 keys, each key up to 40 characters, and \
                  string values up to 500 characters. ";
    let start = "start property is wrong,start must be a valid ISO 8601 date string ";
    let phone = "attendee property is wrong, phoneNumber property is wrong,Invalid phone number format. Please use \
                 international format. ";
    let many: Value = (0..51).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let cases = [
        (
            changed("/reservationUid", json!("x")),
            "reservationUid property is wrong,property reservationUid should not exist ",
        ),
        (changed("/end", json!("x")), "end property is wrong,property end should not exist "),
        (changed("/instant", json!(false)), "instant property is wrong,property instant should not exist "),
        (changed("/start", Value::Null), start),
        (changed("/start", json!("tomorrow")), start),
        (changed("/start", json!("2050-13-05T09:00:00Z")), start),
        (changed("/start", json!("2050-09-05 09:00:00Z")), start),
        (changed("/start", json!(2_545_981_200_000_i64)), start),
        (changed("/eventTypeId", json!("101")), "eventTypeId property is wrong,eventTypeId must be an integer number "),
        (
            changed("/eventTypeId", Value::Null),
            "Either eventTypeId or eventTypeSlug + username or eventTypeSlug + teamSlug must be provided",
        ),
        (changed("/attendee", Value::Null), "attendee property is wrong,attendee should not be null or undefined "),
        (
            no_contact,
            "attendee property is wrong, attendee email or phone property is wrong,Attendee must have at least one \
             contact method (email or phone number) ",
        ),
        (
            changed("/attendee/nick", json!("m")),
            "attendee property is wrong, nick property is wrong,property nick should not exist ",
        ),
        (
            changed("/attendee/timeZone", json!("Berlin")),
            "attendee property is wrong, timeZone property is wrong,timeZone must be a valid IANA time-zone ",
        ),
        (changed("/attendee/phoneNumber", json!("015112345678")), phone),
        (changed("/attendee/phoneNumber", json!("+1234567")), phone),
        (changed("/attendee/phoneNumber", json!("+1234567890123456")), phone),
        (changed("/attendee/phoneNumber", json!("+49 151 12345678")), phone),
        (
            changed("/lengthInMinutes", json!(30)),
            "Can't specify 'lengthInMinutes' because event type does not have multiple possible lengths. Please, remove \
             the 'lengthInMinutes' field from the request.",
        ),
        (changed("/metadata", many), limits),
        (changed("/metadata", json!({ "k".repeat(41): "v" })), limits),
        (changed("/metadata", json!({ "k": "v".repeat(501) })), limits),
        (changed("/metadata", json!({ "k": null })), limits),
        (changed("/metadata", json!({ "k": {} })), limits),
        (changed("/start", json!("2050-09-01T07:59:59Z")), "Attempting to book a meeting in the past."),
    ];
    for (body, message) in cases {
        assert_eq!(client.post("/bookings", &body).await, bad_request("/v2/bookings", message), "{body}");
    }
    let boolean = client.post("/bookings", &changed("/metadata/flag", json!(true))).await;
    assert_eq!((boolean.status, boolean.message()), (400, "Expected string, received boolean"));
    let ordered = client.post("/bookings", &json!({ "zzz": 1, "attendee": { "name": 1 } })).await;
    assert_eq!(
        ordered.message(),
        format!(
            "zzz property is wrong,property zzz should not exist , {start}, attendee property is wrong, attendee email \
             or phone property is wrong,Attendee must have at least one contact method (email or phone number) , name \
             property is wrong,name must be a string , timeZone property is wrong,timeZone must be a valid IANA \
             time-zone "
        )
    );
    assert!(client.sandbox.bookings().is_empty());
}

#[tokio::test]
async fn limits_are_inclusive() {
    let client = Client::start(config()).await;
    let mut wanted = body(101, NINE);
    let mut metadata: serde_json::Map<String, Value> = (0..49).map(|n| (format!("k{n}"), json!("v"))).collect();
    metadata.insert("k".repeat(40), json!("ü".repeat(500)));
    wanted["metadata"] = metadata.into();
    wanted["attendee"]["phoneNumber"] = json!("+12345678");
    wanted["attendee"].as_object_mut().unwrap().remove("email");
    let created = client.post("/bookings", &wanted).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.data()["attendees"][0]["email"], "12345678@sms.cal.com");
    let now = client.create(201, "2050-09-01T08:00:00Z").await;
    assert_eq!(now.status, 201, "a start at this very moment is not past");
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_long() {
    let client = Client::start(config()).await;
    let post = || client.bare(Method::POST, "/bookings").header("cal-api-version", "2024-08-13");
    let broken = reply(post().header("content-type", "application/json").body("{\"start\":")).await;
    assert_eq!((broken.status, &broken.body["error"]["code"]), (400, &json!("BadRequestException")));
    let array = reply(post().json(&json!([]))).await;
    assert_eq!(array, bad_request("/v2/bookings", "Body should be an object"));
    let long = reply(post().json(&json!({ "start": "x".repeat(2 * 1024 * 1024) }))).await;
    assert_eq!(long, Reply { status: 413, body: json!({ "statusCode": 413, "message": "request entity too large" }) });
    let text = reply(post().body(body(101, NINE).to_string())).await;
    assert_eq!(text.status, 400, "a body that is not declared as JSON is no body");
}

#[tokio::test]
async fn event_types_by_id_and_by_slug() {
    let client = Client::start(config()).await;
    assert_eq!(client.create(999, NINE).await, not_found("/v2/bookings", "Event type with id 999 not found."),);
    let mut by_slug = body(101, NINE);
    by_slug.as_object_mut().unwrap().remove("eventTypeId");
    by_slug["eventTypeSlug"] = json!("event-201");
    by_slug["username"] = json!("anna2");
    assert_eq!(client.post("/bookings", &by_slug).await.data()["eventTypeId"], 201);
    by_slug["username"] = json!("anna1");
    assert_eq!(client.post("/bookings", &by_slug).await.status, 404);
}

#[tokio::test]
async fn without_the_right_version_there_is_no_route() {
    let client = Client::start(config()).await;
    for version in [None, Some("2024-04-15"), Some("2024-09-04"), Some("2026-02-25")] {
        let mut request = client.bare(Method::POST, "/bookings").bearer_auth(KEY).json(&body(101, NINE));
        if let Some(version) = version {
            request = request.header("cal-api-version", version);
        }
        assert_eq!(reply(request).await, not_found("/v2/bookings", "Cannot POST /v2/bookings"), "{version:?}");
    }
    assert_eq!(client.get("/me?x=1").await, not_found("/v2/me?x=1", "Cannot GET /v2/me?x=1"),);
    assert_eq!(client.get("/bookingsX").await.status, 404);
    assert!(client.sandbox.bookings().is_empty());
}

#[tokio::test]
async fn keys() {
    let client = Client::start(Config { api_key: Some(KEY.to_owned()), ..config() }).await;
    let post = || client.bare(Method::POST, "/bookings").header("cal-api-version", "2024-08-13").json(&body(101, NINE));
    for (key, message) in [
        ("cal_live_bad", "CustomThrottlerGuard - Invalid API Key"),
        ("something", "ApiAuthStrategy - api key - Your api key is not valid"),
    ] {
        assert_eq!(
            reply(post().bearer_auth(key)).await,
            Reply {
                status: 401,
                body: envelope("/v2/bookings", 401, "UnauthorizedException", "Unauthorized", message),
            },
        );
    }
    assert!(client.sandbox.bookings().is_empty());
    assert_eq!(reply(post()).await.status, 201, "creating is open to anybody");
    assert_eq!(client.create(201, NINE).await.status, 201);
}

#[tokio::test]
async fn an_identical_booking_is_a_conflict_and_an_overlapping_one_is_refused() {
    let client = Client::start(config()).await;
    let first = client.create(101, NINE).await;
    assert_eq!(first.status, 201);
    assert_eq!(client.create(101, NINE).await, conflict());
    for (event_type_id, start) in [
        (102, NINE),
        (101, "2050-09-05T09:29:00Z"),
        (101, "2050-09-05T08:31:00Z"),
        (102, "2050-09-05T08:16:00Z"),
        (301, NINE),
    ] {
        assert_eq!(client.create(event_type_id, start).await, bad_request("/v2/bookings", TAKEN), "{start}");
    }
    for (event_type_id, start) in [(201, NINE), (101, "2050-09-05T09:30:00Z"), (102, "2050-09-05T08:15:00Z")] {
        assert_eq!(client.create(event_type_id, start).await.status, 201, "{event_type_id} {start}");
    }
    assert_eq!(client.cancel(first.uid()).await.status, 200);
    assert_eq!(client.create(101, NINE).await.status, 201, "cancelling frees the slot and the key");
}

#[tokio::test]
async fn the_checks_can_be_switched_off_one_by_one() {
    let hole = Client::start(Config { overlap: Overlap::Off, ..config() }).await;
    assert_eq!(hole.create(101, NINE).await.status, 201);
    assert_eq!(hole.create(101, "2050-09-05T09:15:00Z").await.status, 201);
    assert_eq!(hole.create(101, NINE).await, conflict());

    let keyless = Client::start(Config { natural_key: false, ..config() }).await;
    assert_eq!(keyless.create(101, NINE).await.status, 201);
    assert_eq!(keyless.create(101, NINE).await, bad_request("/v2/bookings", TAKEN));

    let neither = Client::start(Config { natural_key: false, overlap: Overlap::Off, ..config() }).await;
    assert_eq!(neither.create(101, NINE).await.status, 201);
    assert_eq!(neither.create(101, NINE).await.status, 201);
}

#[tokio::test]
async fn where_confirmation_is_required_nothing_is_exclusive_and_a_repeat_finds_the_first() {
    let client = Client::start(config()).await;
    let first = client.create(301, NINE).await;
    assert_eq!((first.status, &first.data()["status"]), (201, &json!("pending")));
    let repeat = client.create(301, NINE).await;
    assert_eq!((repeat.status, repeat.uid()), (201, first.uid()));
    let mut other = body(301, NINE);
    other["attendee"]["email"] = json!("eva@example.com");
    other["attendee"]["phoneNumber"] = json!("+493012345678");
    let second = client.post("/bookings", &other).await;
    assert_ne!(second.uid(), first.uid());
    assert_eq!(client.create(101, NINE).await.status, 201, "pending bookings exclude nobody");
    let effects = client.sandbox.ledger().iter().filter(|entry| entry.effect.is_some()).count();
    assert_eq!(effects, 3, "the repeat changed nothing");
}

#[tokio::test]
async fn of_many_at_once_exactly_one_wins() {
    let client = Client::start(config()).await;
    let posts = (0..100).map(|n| {
        let start = if n % 2 == 0 { NINE } else { "2050-09-05T09:10:00Z" };
        client.create(101, start)
    });
    let replies = futures::future::join_all(posts).await;
    let won = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(won, 1);
    assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 400 | 409)));
    assert_eq!(client.sandbox.bookings().len(), 1);
}
