//! scratch
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]
use domain::phone::Identity;
use secrecy::SecretString;
use std::time::Duration;
use store::*;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let d = Duration::from_secs(5);
    let s = Store::connect(StoreSettings {
        database_url: SecretString::from(std::env::args().nth(1).unwrap()),
        connections: 2,
        lock_wait: d,
        statement_timeout: d,
        lease: d,
        quarantine: d,
        patience: d,
        back_off_base: d,
        back_off_max: d,
        attempts_max: 3,
        crashes_max: 3,
        granularity_minutes: 15,
        sealing_keys: vec![],
    })
    .unwrap();
    let c = s.company_by_slug("salon").await.unwrap().unwrap();
    let starts_at: chrono::DateTime<chrono::Utc> = std::env::args().nth(2).unwrap().parse().unwrap();
    let a = s
        .accept_booking(&BookingCommand {
            company_id: c.company_id,
            branch_id: 1,
            service_id: 1,
            staff_id: None,
            starts_at,
            who: Identity::Anonymous("call_1".into()),
            facts: CustomerFacts { name: "Lena Vogt".into(), email: None, phone: None, language: "de".into() },
            notes: None,
            source: Source::Voice,
            call: Some(CallFacts { call_id: "call_1".into(), from_number: None, to_number: None }),
            key: None,
        })
        .await
        .unwrap();
    println!("{}", a.appointment_id);
}
