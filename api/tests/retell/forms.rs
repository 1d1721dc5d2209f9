//! Every form in which agents call a function, and whose call it is.

use crate::{BRANCH, LENA, World, call};
use serde_json::{Value, json};

const BY_BODY: &str = "/retell/salon/functions";
const QUERY: &str = "/retell/salon/functions/query_appointment";
const BOOK: &str = "/retell/salon/functions/book_appointment";
const CANCEL: &str = "/retell/salon/functions/cancel_appointment";

fn wish(datetime: &str) -> Value {
    json!({"customer_name": "Lena Vogt", "datetime": datetime, "execution_message": "Einen Moment"})
}

impl World {
    /// Books in a call; the id of the appointment.
    async fn books(&self, call_id: &str, from: &str, datetime: &str) -> Value {
        let body = json!({"name": "book_appointment", "call": call(call_id, from), "args": wish(datetime)});
        let reply = self.reply(BOOK, &body).await;
        assert_eq!(reply["success"], true, "{reply}");
        reply["appointment_id"].clone()
    }

    async fn appointments(&self) -> i64 {
        self.count("SELECT count(*) FROM appointment").await
    }
}

#[tokio::test]
async fn a_function_is_named_and_told_in_every_form() {
    let world = World::new().await;
    let id = world.books("call_a", LENA, "2036-11-25 10:00").await;
    let asks = |name: &str, args: &str, said: Value| {
        let mut body = json!({"call": call("call_b", LENA)});
        body[name] = json!("query_appointment_v12");
        if args.is_empty() {
            body.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        } else {
            body[args] = said;
        }
        body
    };
    let (this, other) = (json!({"datum": "25.11.2036"}), json!({"datum": "26.11.2036"}));
    for name in ["name", "function_name"] {
        for args in ["args", "arguments", "parameters", ""] {
            let found = world.reply(BY_BODY, &asks(name, args, this.clone())).await;
            assert_eq!(found["appointment"]["id"], id, "{name} {args}: {found}");
            let none = world.reply(BY_BODY, &asks(name, args, other.clone())).await;
            assert_eq!(none["status"], "no_appointments", "{name} {args}: the arguments are read");
        }
        let text = asks(name, "arguments", json!(other.to_string()));
        assert_eq!(world.reply(BY_BODY, &text).await["status"], "no_appointments", "arguments as a text");
    }
    world.gone().await;
}

#[tokio::test]
async fn without_a_call_only_a_call_that_goes_on_is_read_for() {
    let world = World::new().await;
    let id = world.books("call_before", LENA, "2036-11-25 10:00").await;
    let status = async |path: &str, body: Value| world.reply(path, &body).await["status"].clone();
    let named = json!({"args": {"call_id": "call_now"}});
    assert_eq!(status(QUERY, named.clone()).await, "no_appointments", "nobody knows this call");

    world.tell("call_started", call("call_now", LENA)).await;
    for body in [named.clone(), json!({"call_id": "call_now"}), json!({"call": null, "args": {"call_id": "call_now"}})]
    {
        let found = world.reply(QUERY, &body).await;
        assert_eq!((&found["next_appointment"]["id"], &found["remaining_count"]), (&id, &json!(0)), "{body}: {found}");
    }
    // Only what is signed says whose call it is, and `call` has the last word.
    let (_, headed) = world.with(QUERY, ("x-retell-call-id", "call_now"), &json!({"args": {}})).await;
    assert_eq!(headed["status"], "no_appointments", "a header is nobody's word");
    for unusable in [json!({"call_id": "call_001"}), json!({"call_id": ""}), json!({}), json!("call_now")] {
        let body = json!({"call": unusable, "args": {"call_id": "call_now"}});
        assert_eq!(status(QUERY, body).await, "no_appointments", "{unusable}");
    }
    let anonymous = json!({"call": call("call_now", "anonymous"), "args": {}});
    assert_eq!(status(QUERY, anonymous).await, "no_appointments");

    for (path, args) in [(BOOK, wish("2036-11-26 10:00")), (CANCEL, json!({"appointment_id": id}))] {
        let mut args = args;
        args["call_id"] = json!("call_now");
        assert_eq!(status(path, json!({"args": args})).await, "missing_call", "{path} changes something");
    }
    world.tell("call_ended", call("call_now", LENA)).await;
    assert_eq!(status(QUERY, named).await, "no_appointments", "it is over");
    assert_eq!(world.appointments().await, 1);
    world.gone().await;
}

#[tokio::test]
async fn another_companys_call_is_no_call() {
    let world = World::new().await;
    let foreign = "INSERT INTO call_event (company_id, call_id, event, from_number)
                   SELECT company_id, 'call_theirs', 'call_started', '+4915112345678' FROM company WHERE slug = 'praxis'";
    sqlx::query(foreign).execute(&world.pool).await.unwrap();
    world.books("call_before", LENA, "2036-11-25 10:00").await;
    let theirs = world.reply(QUERY, &json!({"args": {"call_id": "call_theirs"}})).await;
    assert_eq!(theirs["status"], "no_appointments");
    world.gone().await;
}

#[tokio::test]
async fn a_retry_that_has_lost_its_arguments_means_what_was_said_last() {
    let world = World::new().await;
    let says = async |path: &str, call_id: &str, args: Value| {
        world.reply(path, &json!({"call": call(call_id, LENA), "args": args})).await
    };
    let lost = json!({"call_id": "call_001", "execution_message": "Moment"});
    assert_eq!(says(BOOK, "call_a", lost.clone()).await["status"], "missing_customer_name", "nothing was said");
    let mut whole = wish("2036-11-25 10:00");
    whole["call_id"] = json!("call_001");
    let booked = says(BOOK, "call_a", whole).await;
    assert_eq!(booked["success"], true, "{booked}");
    for _ in 0..2 {
        assert_eq!(says(BOOK, "call_a", lost.clone()).await, booked);
    }
    assert_eq!(says(BOOK, "call_b", lost.clone()).await["status"], "missing_customer_name", "another call");
    assert_eq!(says(QUERY, "call_a", lost.clone()).await["status"], "found", "nothing was said to this function");

    world.books("call_a", LENA, "2036-11-26 10:00").await;
    let cancelled = says(CANCEL, "call_a", json!({"datum": "25.11.2036"})).await;
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    assert_eq!(says(CANCEL, "call_a", lost.clone()).await, cancelled, "and not the one that is left");
    assert_eq!(says(CANCEL, "call_a", json!({"call_id": "call_a"})).await, cancelled);
    assert_eq!(world.count("SELECT count(*) FROM appointment WHERE status = 'cancelled'").await, 1);

    let none = says(QUERY, "call_a", json!({"datum": "01.12.2036", "call_id": "call_001"})).await;
    assert_eq!(none["status"], "no_appointments");
    assert_eq!(says(QUERY, "call_a", lost.clone()).await, none);
    assert_eq!(says(QUERY, "call_a", json!({})).await["status"], "found", "a question without arguments is one");
    assert_eq!(says(QUERY, "call_a", json!({"call_id": "call_a"})).await["status"], "found");

    assert_ne!(world.count("SELECT count(*) FROM call_said").await, 0);
    let over = json!({"call_id": "call_a", "from_number": LENA, "to_number": BRANCH});
    world.tell("call_ended", over).await;
    world.make_calls().await;
    assert_eq!(world.count("SELECT count(*) FROM call_said WHERE call_id = 'call_a'").await, 0, "the call is over");
    world.gone().await;
}
