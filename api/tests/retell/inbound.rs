//! What the agent is told before it answers.

use crate::{BRANCH, KEY, LENA, World, app, clock, flags, post, sign};
use domain::phone::Phone;
use phonenumber::country::Id::DE;
use serde_json::{Value, json};
use settings::Settings;
use store::CustomerCommand;
use tokio_util::sync::CancellationToken;

fn asked(from: &str) -> Value {
    json!({"event": "call_inbound", "event_timestamp": 1_780_012_672_105_i64,
           "call_inbound": {"agent_id": "agent_1", "agent_version": 1, "from_number": from, "to_number": BRANCH}})
}

#[tokio::test]
async fn the_clock_of_the_branch_and_who_calls() {
    let world = World::new().await;
    let lena = CustomerCommand {
        company_id: world.company_id,
        phone: Phone::parse(LENA, DE).unwrap(),
        name: Some("Lena Vogt".to_owned()),
        email: Some("lena@web.de".to_owned()),
        language: None,
    };
    world.store.put_customer(&lena).await.unwrap();
    for path in ["/retell/salon/inbound", "/retell/salon/webhook", "/api/webhooks/retell", "/api/webhook"] {
        let (status, said) = world.signed(path, &asked(LENA)).await;
        assert_eq!(status, 200, "{said}");
        let told = &said["call_inbound"]["dynamic_variables"];
        assert_eq!(*told, said["dynamic_variables"], "old agents read the root");
        assert!(told.as_object().unwrap().values().all(Value::is_string), "{told}");
        let wanted = json!({"customer_phone": LENA, "customer_known": "true", "customer_name": "Lena Vogt",
            "heute_datum": "23.11.2036", "current_date": "2036-11-23", "current_weekday": "Sonntag",
            "current_time": "23:30", "current_year": "2036", "current_month": "11", "morgen": "24.11.2036",
            "uebermorgen": "25.11.2036", "naechster_montag": "24.11.2036", "naechster_dienstag": "25.11.2036",
            "naechster_mittwoch": "26.11.2036", "naechster_donnerstag": "27.11.2036", "naechster_freitag": "28.11.2036",
            "naechster_samstag": "29.11.2036", "naechster_sonntag": "30.11.2036"});
        assert_eq!(*told, wanted, "{path}: the clock hangs in London");
    }
    for (from, phone) in [("+4915112345679", "+4915112345679"), ("anonymous", ""), ("0151123456", ""), ("", "")] {
        let (_, said) = world.signed("/retell/salon/inbound", &asked(from)).await;
        let told = &said["dynamic_variables"];
        assert_eq!((&told["customer_phone"], &told["customer_known"]), (&json!(phone), &json!("false")), "{from}");
        assert_eq!(told["customer_name"], "");
    }
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 1, "nobody is made a customer by ringing");
    world.gone().await;
}

#[tokio::test]
async fn without_the_database_there_is_no_half_answer() {
    let nowhere = flags("postgres://nobody@127.0.0.1:1/none", &[]);
    let (settings, _) = Settings::load_from(None, [], &nowhere).unwrap();
    let stop = CancellationToken::new();
    let router = app(&settings, clock, &stop);
    let body = asked(LENA).to_string();
    let signature = sign(KEY, body.as_bytes(), clock().timestamp_millis());
    let headers = [("x-retell-signature", signature.as_str())];
    let (status, said) = post(&router, "/retell/salon/inbound", &headers, body.into_bytes()).await;
    assert_eq!((status, said.get("dynamic_variables")), (503, None), "{said}");
    stop.cancel();
}
