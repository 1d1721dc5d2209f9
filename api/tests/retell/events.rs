//! Call events over HTTP: what Retell hears, and what is kept.

use crate::{BRANCH, LENA, World, call};
use serde_json::{Value, json};

fn analyzed(call_id: &str, from: &str) -> Value {
    json!({"call_id": call_id, "from_number": from, "to_number": BRANCH, "direction": "inbound",
           "start_timestamp": 1_760_700_000_000_i64, "end_timestamp": 1_760_700_060_000_i64,
           "disconnection_reason": "user_hangup", "transcript": "Agent: Guten Tag, hier ist die Anlage 4711.",
           "call_analysis": {"call_summary": "Möchte\u{0} Montag", "user_sentiment": "Positive", "call_successful": true,
                             "custom_analysis_data": {}}})
}

#[tokio::test]
async fn what_retell_hears_and_what_is_kept() {
    let world = World::new().await;
    let started = world.tell("call_started", call("call_a", LENA)).await;
    assert_eq!(started, json!({"call_id": "call_a", "status": "ongoing", "custom_data": {}}));
    assert_eq!(world.tell("call_started", call("call_a", LENA)).await, started, "told twice, it hears the same");
    for event in ["call_analyzed", "call_ended", "call_analyzed"] {
        let said = world.tell(event, analyzed("call_a", LENA)).await;
        assert_eq!((&said["success"], &said["event"]), (&json!(true), &json!(event)));
        assert!(said["message"].is_string());
    }
    for other in ["transcript_updated", "transfer_started", "chat_inbound"] {
        assert_eq!(world.tell(other, call("call_a", LENA)).await["event"], other);
    }
    assert_eq!(world.count("SELECT count(*) FROM call_event").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM job WHERE kind = 'call' AND subject = 'call_a'").await, 1);
    world.make_calls().await;
    let whole = "SELECT count(*) FROM call c JOIN customer u USING (company_id, customer_id)
                 WHERE c.status = 'ended' AND u.phone = '+4915112345678' AND c.successful AND c.summary = 'Möchte  Montag'
                   AND c.ended_at - c.started_at = interval '1 minute' AND c.end_reason = 'user_hangup'";
    assert_eq!(world.count(whole).await, 1);
    let transcripts = "SELECT count(*) FROM call_event e, call c WHERE e::text LIKE '%4711%' OR c::text LIKE '%4711%'";
    assert_eq!(world.count(transcripts).await, 0, "what was said is not kept");
    world.gone().await;
}

#[tokio::test]
async fn withheld_callers_are_never_one_customer() {
    let world = World::new().await;
    let nobody = ["anonymous", "unknown", "blocked", "private", "withheld", "restricted", "unavailable"];
    let invented = ["0151123456", "+491234567890", "anonymous_1731"];
    for (n, from) in nobody.into_iter().chain(invented).enumerate() {
        world.tell("call_ended", analyzed(&format!("call_no_{n}"), from)).await;
    }
    world.make_calls().await;
    let customers = "SELECT count(*) FROM customer WHERE phone IS NULL AND anonymous_call_id LIKE 'call_%'";
    assert_eq!(world.count(customers).await, 10);
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 10);
    assert_eq!(world.count("SELECT count(DISTINCT customer_id) FROM call WHERE status = 'ended'").await, 10);
    world.gone().await;
}

#[tokio::test]
async fn what_is_no_event_of_a_call_is_refused_and_not_kept() {
    let world = World::new().await;
    for body in [
        json!([]),
        json!({}),
        json!({"event": 7, "call": call("call_a", LENA)}),
        json!({"event": "call_started"}),
        json!({"event": "call_started", "call": "call_a"}),
        json!({"event": "call_started", "call": {"call_id": "{{call_id}}"}}),
        json!({"event": "call_ended", "call": {"call_id": "c".repeat(200)}}),
        json!({"event": "call_inbound"}),
    ] {
        let (status, said) = world.signed("/retell/salon/webhook", &body).await;
        assert_eq!((status, &said["type"]), (400, &json!("https://askpro.dev/problems/invalid_json")), "{body}");
    }
    assert_eq!(world.count("SELECT count(*) FROM call_event").await, 0);
    let (status, _) = world.signed("/retell/nobody/webhook", &json!({"event": "call_started"})).await;
    assert_eq!(status, 401);
    world.gone().await;
}
