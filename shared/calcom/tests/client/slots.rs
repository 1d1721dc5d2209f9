//! Slots: what is asked, in which version, and what each answer becomes.

use domain::answer::LookFailure;
use serde_json::json;

use crate::peer::{Peer, Reply, reply};
use crate::{at, client, key, success};

async fn slots(answer: Reply) -> Result<Vec<String>, LookFailure> {
    let peer = Peer::answering([answer]).await;
    let (from, to) = (at("2050-09-05T00:00:00Z"), at("2050-09-06T00:00:00Z"));
    let found = client(peer.url.clone()).slots(&key(), 123, from, to).await;
    let asked = peer.asked_once();
    assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.body.as_str()), ("GET", "/v2/slots", ""));
    let query = "eventTypeId=123&start=2050-09-05T00%3A00%3A00Z&end=2050-09-06T00%3A00%3A00Z&timeZone=UTC&format=time";
    assert_eq!(asked.query.as_deref(), Some(query));
    let versions: Vec<_> = asked.headers.get_all("cal-api-version").iter().collect();
    assert_eq!(versions, ["2024-09-04"], "one version, and not that of the bookings");
    found.map(|starts| starts.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn starts_are_read_in_order_whatever_their_zone_and_only_those_asked_for() {
    let days = json!({
        "2050-09-06": [{"start": "2050-09-06T00:00:00.000Z"}],
        "2050-09-05": [{"start": "2050-09-05T11:00:00.000+02:00", "seatsTotal": 3}, {"start": "2050-09-05T08:30:00.000Z"},
                       {"start": "2050-09-05T09:00:00.000Z"}],
        "2050-09-04": [{"start": "2050-09-04T23:59:00.000Z"}],
    });
    let read = slots(reply(200, success(days))).await.unwrap();
    assert_eq!(read, ["2050-09-05 08:30:00 UTC", "2050-09-05 09:00:00 UTC"]);
    assert_eq!(slots(reply(200, success(json!({})))).await, Ok(vec![]), "nothing free is an answer");
}

#[tokio::test]
async fn a_question_that_failed_says_so() {
    let not_found =
        json!({"status": "error", "error": {"code": "NotFoundException", "message": "Not found"}}).to_string();
    for (answer, failure) in [
        (reply(404, not_found), LookFailure::Other),
        (reply(401, "{}"), LookFailure::Unauthorized),
        (reply(400, "{}"), LookFailure::Other),
        (reply(500, "{}"), LookFailure::NoAnswer { wait: None }),
        (reply(200, "{}"), LookFailure::Other),
        (reply(200, r#"{"status":"success","data":{"2050-09-05":[{"start":"nine"}]}}"#), LookFailure::Other),
        (reply(200, r#"{"status":"error","data":{}}"#), LookFailure::Other),
    ] {
        assert_eq!(slots(answer).await, Err(failure));
    }
}
