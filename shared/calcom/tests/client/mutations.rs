//! Create, cancel and reschedule: the exact request, and what every known answer becomes.

use std::time::Duration;

use calcom::{Attendee, Create};
use domain::answer::{Ambiguity, Answer, Booking, BookingStatus, BookingUid, Refused};
use serde_json::json;

use crate::peer::{Peer, Reply, reply};
use crate::{COMPANY, LINEAGE, NEW_UID, UID, ask, at, booking, booking_with, client, key, markers, soon, success, uid};

async fn create(answer: Reply) -> Answer {
    let peer = Peer::answering([answer]).await;
    let answer = client(peer.url.clone()).create(&key(), &ask(), &markers(), soon()).await;
    peer.asked_once();
    answer
}

async fn cancel(answer: Reply) -> Answer {
    let peer = Peer::answering([answer]).await;
    let answer = client(peer.url.clone()).cancel(&key(), &uid(), "Wunsch", &markers(), COMPANY, soon()).await;
    peer.asked_once();
    answer
}

async fn reschedule(answer: Reply) -> Answer {
    let peer = Peer::answering([answer]).await;
    let start = at("2050-09-06T13:00:00Z");
    let answer =
        client(peer.url.clone()).reschedule(&key(), &uid(), start, "Wunsch", &markers(), COMPANY, soon()).await;
    peer.asked_once();
    answer
}

/// Cal.com's own envelope.
fn own(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"status": "error", "timestamp": "2050-09-01T08:00:00.000Z", "path": "/v2/bookings",
        "error": {"code": code, "message": message,
            "details": {"message": message, "error": "Bad Request", "statusCode": status}}});
    reply(status, body.to_string())
}

/// Nest's default.
fn flat(status: u16, message: &str) -> Reply {
    reply(status, json!({"statusCode": status, "message": message}).to_string())
}

fn html(status: u16) -> Reply {
    Reply {
        status,
        headers: vec![("content-type", "text/html; charset=UTF-8".to_owned())],
        body: b"<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title></html>".to_vec(),
    }
}

fn expected() -> Booking {
    Booking {
        uid: uid(),
        status: BookingStatus::Accepted,
        start: at("2050-09-05T09:00:00Z"),
        end: at("2050-09-05T09:30:00Z"),
        event_type_id: 123,
        host_id: Some(42),
        created_at: at("2050-09-01T08:15:30.123Z"),
        updated_at: None,
        marker: Some(LINEAGE),
        rescheduled_to: None,
        rescheduled_from: None,
    }
}

#[tokio::test]
async fn the_requests_are_exactly_these() {
    let peer = Peer::answering([reply(201, success(booking()))]).await;
    let client = client(peer.url.clone());
    let anonymous = Create {
        start: at("2050-09-05T09:00:00.750Z"),
        attendee: Attendee { name: "\"A\"\n", email: None, ..ask().attendee },
        ..ask()
    };
    client.create(&key(), &ask(), &markers(), soon()).await;
    client.create(&key(), &anonymous, &markers(), soon()).await;
    client.cancel(&key(), &uid(), "Kundin sagt ab", &markers(), COMPANY, soon()).await;
    client.reschedule(&key(), &uid(), at("2050-09-06T13:00:00Z"), "später", &markers(), COMPANY, soon()).await;

    let mac = markers().sign(COMPANY, LINEAGE).mac;
    let metadata =
        format!(r#""metadata":{{"gateway_key":"0190f5a2-7c3e-7b11-8a4d-5e6f708192a3","gateway_mac":"{mac}"}}"#);
    let bodies = [
        (
            "/v2/bookings",
            format!(
                r#"{{"eventTypeId":123,"start":"2050-09-05T09:00:00Z","attendee":{{"name":"Jürgen Müßiggang","email":"juergen@example.com","timeZone":"Europe/Berlin","phoneNumber":"+4915112345678","language":"de"}},{metadata}}}"#
            ),
        ),
        (
            "/v2/bookings",
            format!(
                r#"{{"eventTypeId":123,"start":"2050-09-05T09:00:00Z","attendee":{{"name":"\"A\"\n","timeZone":"Europe/Berlin","phoneNumber":"+4915112345678","language":"de"}},{metadata}}}"#
            ),
        ),
        ("/v2/bookings/bfkkD7vGq3a9X2cWmRtYzP/cancel", r#"{"cancellationReason":"Kundin sagt ab"}"#.to_owned()),
        (
            "/v2/bookings/bfkkD7vGq3a9X2cWmRtYzP/reschedule",
            r#"{"start":"2050-09-06T13:00:00Z","reschedulingReason":"später"}"#.to_owned(),
        ),
    ];
    let asked = peer.asked();
    assert_eq!(asked.len(), bodies.len());
    for (asked, (path, body)) in asked.iter().zip(bodies) {
        assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.query.as_deref()), ("POST", path, None));
        assert_eq!(asked.body, body);
        let mut names: Vec<&str> = asked.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["accept", "authorization", "cal-api-version", "content-length", "content-type", "host", "user-agent"]
        );
        assert_eq!(asked.headers["authorization"], "Bearer cal_test_0123456789secret");
        assert_eq!(asked.headers["cal-api-version"], "2024-08-13");
        assert_eq!(asked.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_booking_that_was_made() {
    assert_eq!(create(reply(201, success(booking()))).await, Answer::Applied(expected()));
    assert_eq!(create(reply(200, success(booking()))).await, Answer::Applied(expected()));
    for (word, status) in [
        ("accepted", BookingStatus::Accepted),
        ("pending", BookingStatus::Pending),
        ("cancelled", BookingStatus::Cancelled),
        ("rejected", BookingStatus::Rejected),
        ("awaiting_host", BookingStatus::Unknown),
        ("ACCEPTED", BookingStatus::Unknown),
        ("", BookingStatus::Unknown),
    ] {
        let answer = create(reply(201, success(booking_with(json!({"status": word}))))).await;
        assert_eq!(answer, Answer::Applied(Booking { status, ..expected() }), "{word:?}");
    }
    for hosts in [
        json!([]),
        json!(null),
        json!("unknown"),
        json!(["unknown"]),
        json!([{"id": "unknown", "name": "unknown"}]),
        json!([{}]),
    ] {
        let answer = create(reply(201, success(booking_with(json!({"hosts": hosts}))))).await;
        assert_eq!(answer, Answer::Applied(Booking { host_id: None, ..expected() }), "{hosts}");
    }
}

#[tokio::test]
async fn a_marker_counts_only_with_a_valid_mac() {
    let genuine = markers().sign(COMPANY, LINEAGE);
    let another_company = markers().sign(COMPANY + 1, LINEAGE);
    let digest = genuine.mac.strip_prefix("k1:").unwrap();
    for forged in [
        json!(null),
        json!({}),
        json!({"gateway_key": genuine.key}),
        json!({"gateway_mac": genuine.mac}),
        json!({"gateway_key": genuine.key, "gateway_mac": ""}),
        json!({"gateway_key": genuine.key, "gateway_mac": format!("k1:{}", "0".repeat(64))}),
        json!({"gateway_key": genuine.key, "gateway_mac": format!("k9:{digest}")}),
        json!({"gateway_key": genuine.key, "gateway_mac": another_company.mac}),
        json!({"gateway_key": genuine.key, "gateway_mac": true}),
        json!({"gateway_key": 7, "gateway_mac": genuine.mac}),
        json!({"gateway_key": "0190f5a2-7c3e-7b11-8a4d-5e6f708192a4", "gateway_mac": genuine.mac}),
    ] {
        let answer = create(reply(201, success(booking_with(json!({"metadata": forged}))))).await;
        assert_eq!(answer, Answer::Applied(Booking { marker: None, ..expected() }), "{forged}");
    }
}

#[tokio::test]
async fn what_is_no_booking_leaves_it_unknown() {
    let array = json!([booking()]);
    let mut bodies: Vec<Vec<u8>> = [
        String::new(),
        "{}".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "<html>ok</html>".to_owned(),
        success(json!(null)),
        success(array),
        json!({"status": "error", "data": booking()}).to_string(),
        success(booking())[..200].to_owned(),
        success(booking_with(json!({"uid": ""}))),
        success(booking_with(json!({"uid": "../me"}))),
        success(booking_with(json!({"uid": "x".repeat(65)}))),
        success(booking_with(json!({"uid": 7}))),
        success(booking_with(json!({"start": "2050-09-05T09:00:00"}))),
        success(booking_with(json!({"end": "2050-09-05T09:00:00Z"}))),
        success(booking_with(json!({"eventTypeId": "123"}))),
        success(booking_with(json!({"rescheduledToUid": "a/b"}))),
        success(booking_with(json!({"createdAt": null}))),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    bodies.push(b"\xff\xfe".to_vec());
    bodies.push(vec![b'['; 100_000]);
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = create(reply(201, body)).await;
        assert_eq!(answer, Answer::Unknown { why: Ambiguity::BadBody }, "{shown}");
    }
    let mut long = booking();
    long["description"] = json!("x".repeat(2 << 20));
    for status in [201, 400] {
        let answer = create(reply(status, success(long.clone()))).await;
        assert_eq!(answer, Answer::Unknown { why: Ambiguity::BadBody }, "2 MiB with {status}");
    }
}

#[tokio::test]
async fn every_refusal_of_a_create() {
    let taken = "User either already has booking at this time or is not available";
    let team_taken = "One of the hosts either already has booking at this time or is not available";
    let bounds = "The event type can't be booked at the \"start\" time provided. This could be because it's too soon \
                  (violating the minimum booking notice) or too far in the future.";
    let limit = "Attendee with this email can't book because the maximum number of active bookings has been reached.";
    let refused = |status, reason| Answer::Refused { status, reason };
    let misconfigured = |status| Answer::Misconfigured { status };
    let bad = "BadRequestException";
    let table = [
        (own(400, bad, taken), Answer::Taken { status: 400 }),
        (flat(400, taken), Answer::Taken { status: 400 }),
        (own(400, bad, team_taken), Answer::Taken { status: 400 }),
        (own(400, bad, bounds), refused(400, Refused::OutOfBounds)),
        (own(400, bad, "Attempting to book a meeting in the past."), refused(400, Refused::InThePast)),
        (own(400, bad, limit), refused(400, Refused::LimitReached)),
        (
            own(
                400,
                bad,
                &format!("{limit} You can reschedule your existing booking (abc) to a new timeslot instead."),
            ),
            refused(400, Refused::LimitReached),
        ),
        (own(400, bad, "Bad Request Exception"), misconfigured(400)),
        (
            own(400, bad, "reservationUid property is wrong,property reservationUid should not exist "),
            misconfigured(400),
        ),
        (own(400, bad, "Invalid phone number format. Please use international format."), misconfigured(400)),
        (own(400, bad, &format!("{taken}?")), misconfigured(400)),
        (own(404, "NotFoundException", "Event type with id 123 not found."), misconfigured(404)),
        (own(404, "NotFoundException", &format!("Booking with uid={UID} not found")), misconfigured(404)),
        (flat(404, "Cannot POST /v2/bookings"), misconfigured(404)),
        (flat(409, "booking_conflict_error"), Answer::Taken { status: 409 }),
        (own(409, "ConflictException", "No more seats left at this seated booking."), Answer::Taken { status: 409 }),
        (
            own(409, "CONFLICT", "Invalid Input: Trying to create a record that already exists."),
            Answer::Taken { status: 409 },
        ),
        (own(422, "UnprocessableEntityException", "Can't book: team has no hosts"), misconfigured(422)),
        (
            own(401, "UnauthorizedException", "ApiAuthStrategy - api key - Your api key is not valid"),
            misconfigured(401),
        ),
        (flat(403, "Forbidden"), misconfigured(403)),
        (flat(400, "no_available_users_found_error"), Answer::Taken { status: 400 }),
        (flat(409, "booking_seats_full_error"), Answer::Taken { status: 409 }),
        (flat(400, "booking_time_out_of_bounds_error"), refused(400, Refused::OutOfBounds)),
        (flat(403, "booker_limit_exceeded_error"), refused(403, Refused::LimitReached)),
        (flat(400, "email_verification_required"), misconfigured(400)),
        (html(400), misconfigured(400)),
        (html(403), misconfigured(403)),
        (reply(400, ""), misconfigured(400)),
        (html(408), Answer::Unknown { why: Ambiguity::Timeout }),
        (flat(500, "Internal server error"), Answer::Unknown { why: Ambiguity::ServerError(500) }),
        (own(500, "INTERNAL_SERVER_ERROR", taken), Answer::Unknown { why: Ambiguity::ServerError(500) }),
        (html(502), Answer::Unknown { why: Ambiguity::ServerError(502) }),
        (html(503), Answer::Unknown { why: Ambiguity::ServerError(503) }),
        (html(524), Answer::Unknown { why: Ambiguity::ServerError(524) }),
    ];
    for (reply, expected) in table {
        let shown = format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
        assert_eq!(create(reply).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn every_answer_to_a_cancel() {
    let cancelled = booking_with(json!({"status": "cancelled", "cancellationReason": "Wunsch"}));
    let applied = Booking { status: BookingStatus::Cancelled, ..expected() };
    let again = format!(
        "Can't cancel booking with uid={UID} because it has been cancelled already. \
         Please provide uid of a booking that is not cancelled."
    );
    let refused = |status, reason| Answer::Refused { status, reason };
    let gone = |uid| format!("Booking with uid={uid} not found");
    let table = [
        (reply(200, success(cancelled)), Answer::Applied(applied)),
        (own(400, "BadRequestException", &again), Answer::AlreadyCancelled),
        (own(400, "BadRequestException", &again.replace(UID, NEW_UID)), Answer::Misconfigured { status: 400 }),
        (flat(400, "Cannot cancel a booking that has already ended"), refused(400, Refused::InThePast)),
        (flat(400, "This event type does not allow cancellations"), refused(400, Refused::NotAllowed)),
        (flat(400, "Cancellation reason is required"), Answer::Misconfigured { status: 400 }),
        (own(404, "NotFoundException", &gone(UID)), Answer::NotFound),
        (flat(404, &gone(UID)), Answer::NotFound),
        (own(404, "NotFoundException", &gone(NEW_UID)), Answer::Misconfigured { status: 404 }),
        (flat(404, "Cannot POST /v2/bookings/x/cancel"), Answer::Misconfigured { status: 404 }),
        (html(404), Answer::Misconfigured { status: 404 }),
        (flat(500, "Internal server error"), Answer::Unknown { why: Ambiguity::ServerError(500) }),
    ];
    for (reply, expected) in table {
        let shown = format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
        assert_eq!(cancel(reply).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn every_answer_to_a_reschedule() {
    let moved = booking_with(json!({"uid": NEW_UID, "rescheduledFromUid": UID, "rescheduledToUid": "",
        "start": "2050-09-06T13:00:00.000Z", "end": "2050-09-06T13:30:00.000Z"}));
    let applied = Booking {
        uid: BookingUid::from(NEW_UID.to_owned()),
        start: at("2050-09-06T13:00:00Z"),
        end: at("2050-09-06T13:30:00Z"),
        rescheduled_from: Some(uid()),
        ..expected()
    };
    let again = format!(
        "Can't reschedule booking with uid={UID} because it has been cancelled and rescheduled already to booking with \
         uid={NEW_UID}. You probably want to reschedule {NEW_UID} instead by passing it within the request URL."
    );
    let cancelled = format!(
        "Can't reschedule booking with uid={UID} because it has been cancelled. \
         Please provide uid of a booking that is not cancelled."
    );
    let notice = "Rescheduling is not allowed within the minimum notice period before the event";
    let taken = "User either already has booking at this time or is not available";
    let table = [
        (reply(201, success(moved)), Answer::Applied(applied)),
        (own(400, "BadRequestException", &again), Answer::Taken { status: 400 }),
        (own(400, "BadRequestException", &cancelled), Answer::Taken { status: 400 }),
        (flat(403, notice), Answer::Refused { status: 403, reason: Refused::NotAllowed }),
        (own(400, "BadRequestException", taken), Answer::Taken { status: 400 }),
        (flat(409, "booking_conflict_error"), Answer::Taken { status: 409 }),
        (
            flat(400, "booker_limit_exceeded_error_reschedule"),
            Answer::Refused { status: 400, reason: Refused::LimitReached },
        ),
        (
            own(404, "NotFoundException", &format!("Booking with uid={UID} was not found in the database")),
            Answer::NotFound,
        ),
        (
            own(404, "NotFoundException", "Attendee with e-mail juergen@example.com not found"),
            Answer::Misconfigured { status: 404 },
        ),
        (flat(500, "Internal server error"), Answer::Unknown { why: Ambiguity::ServerError(500) }),
    ];
    for (reply, expected) in table {
        let shown = format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
        assert_eq!(reschedule(reply).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn a_throttled_key_rests_as_long_as_the_header_says() {
    let throttled = |headers: &[(&'static str, &str)]| {
        let mut reply =
            own(429, "ThrottlerException", "CustomThrottlerGuard - Too many requests. Please try again later.");
        reply.headers.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        reply
    };
    for (headers, seconds) in [
        (&[][..], 60),
        (&[("x-ratelimit-reset-default", "37"), ("x-ratelimit-limit-default", "120")][..], 37),
        (&[("x-ratelimit-reset-default", "1760700000")][..], 60),
    ] {
        let expected = Answer::Throttled { wait: Duration::from_secs(seconds) };
        assert_eq!(create(throttled(headers)).await, expected);
        assert_eq!(cancel(throttled(headers)).await, expected);
        assert_eq!(reschedule(throttled(headers)).await, expected);
    }
}

#[tokio::test]
async fn a_uid_that_would_change_the_path_is_not_sent() {
    let peer = Peer::answering([reply(200, success(booking()))]).await;
    let client = client(peer.url.clone());
    for evil in ["", ".", "..", "../me", "a/b", "a%2Fb", "a?b", "a#b", "ä", "a b", &"x".repeat(65)] {
        let uid = BookingUid::from(evil.to_owned());
        let start = at("2050-09-06T13:00:00Z");
        assert_eq!(client.cancel(&key(), &uid, "", &markers(), COMPANY, soon()).await, Answer::NotFound);
        assert_eq!(client.reschedule(&key(), &uid, start, "", &markers(), COMPANY, soon()).await, Answer::NotFound);
        assert_eq!(client.get(&key(), &uid, &markers(), COMPANY).await, Ok(None));
    }
    assert!(peer.asked().is_empty());
}
