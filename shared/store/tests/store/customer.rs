//! Upsert of a customer: one row a number, whatever is newer wins, and who was deleted comes back as himself.

use crate::world::{World, phone};
use domain::job::State;
use std::collections::HashSet;
use std::sync::Arc;
use store::{BookingCommand, Claim, CustomerCommand, CustomerFacts};
use tokio::sync::Barrier;

fn known(world: &World, n: u32) -> CustomerCommand {
    let company_id = world.company.company_id;
    CustomerCommand { company_id, phone: phone(n), name: None, email: None, language: None }
}

async fn row(world: &World) -> (Option<String>, Option<String>, String) {
    sqlx::query_as("SELECT name, email, language FROM customer").fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn what_is_left_out_stays_as_it_is() {
    let world = World::new().await;
    let made = world.store.put_customer(&known(&world, 1)).await.unwrap();
    assert!(made.is_new && made.name.is_none() && made.email.is_none());
    assert_eq!(made.language, "de", "the company's");
    let facts = "SELECT count(*) FROM customer WHERE name_learnt_at IS NULL AND email_learnt_at IS NULL";
    assert_eq!(world.count(facts).await, 1, "nothing was learnt");
    let name = CustomerCommand { name: Some("Lena".to_owned()), ..known(&world, 1) };
    let named = world.store.put_customer(&name).await.unwrap();
    assert_eq!((named.is_new, named.customer_id, named.phone), (false, made.customer_id, phone(1)));
    let email =
        CustomerCommand { email: Some("l@web.de".to_owned()), language: Some("en".to_owned()), ..known(&world, 1) };
    let all = world.store.put_customer(&email).await.unwrap();
    assert_eq!(
        (all.name.as_deref(), all.email.as_deref(), all.language.as_str()),
        (Some("Lena"), Some("l@web.de"), "en")
    );
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE name_learnt_at < email_learnt_at").await, 1);
    let still = world.store.put_customer(&known(&world, 1)).await.unwrap();
    assert_eq!((&still.name, &still.email, &still.language), (&all.name, &all.email, &all.language));
    assert_eq!(row(&world).await, (all.name, all.email, all.language));
    let other = CustomerCommand { company_id: 99, ..known(&world, 1) };
    assert!(world.store.put_customer(&other).await.is_err());
    world.gone().await;
}

#[tokio::test]
async fn who_was_deleted_comes_back_as_himself() {
    let world = World::new().await;
    let made = world.store.put_customer(&known(&world, 1)).await.unwrap();
    world.sql("UPDATE customer SET deleted_at = now()").await;
    let back = world.store.put_customer(&known(&world, 1)).await.unwrap();
    assert_eq!((back.is_new, back.customer_id), (false, made.customer_id));
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE deleted_at IS NULL").await, 1);
    world.gone().await;
}

/// The job of an appointment that was made before runs after, and must not undo what was said since; that of a later one
/// wins.
#[tokio::test]
async fn what_was_said_later_wins_in_whatever_order_it_arrives() {
    let world = World::new().await;
    let facts = |name: &str| CustomerFacts {
        name: name.to_owned(),
        email: Some(format!("{name}@web.de")),
        phone: Some(phone(1)),
        language: "fr".to_owned(),
    };
    let earlier = BookingCommand { facts: facts("earlier"), ..world.wish(1, 0) };
    let earlier = world.store.accept_booking(&earlier).await.unwrap();
    let said =
        CustomerCommand { name: Some("said".to_owned()), email: Some("said@web.de".to_owned()), ..known(&world, 1) };
    world.store.put_customer(&CustomerCommand { language: Some("en".to_owned()), ..said }).await.unwrap();
    let later = BookingCommand { facts: facts("later"), ..world.wish(1, 60) };
    let later = world.store.accept_booking(&later).await.unwrap();
    for (accepted, wanted) in [(earlier, ("said", "en")), (later, ("later", "fr"))] {
        let job = accepted.ring.into_iter().find(|job| Some(*job) != accepted.job.map(|j| j.job)).unwrap();
        let ended = world.store.claim(job, "w").await.unwrap();
        assert!(matches!(ended, Claim::Ended { state: State::Completed, .. }), "{ended:?}");
        let (name, email, language) = row(&world).await;
        assert_eq!((name.as_deref(), language.as_str()), (Some(wanted.0), wanted.1));
        assert_eq!(email, Some(format!("{}@web.de", wanted.0)));
    }
    world.gone().await;
}

/// RC5 through this door: 32 at once for one number, half of them with each fact; among them callers who book.
#[tokio::test(flavor = "multi_thread")]
async fn of_32_rivals_one_makes_him_and_no_fact_is_lost() {
    let world = World::new().await;
    let barrier = Arc::new(Barrier::new(32));
    let rivals = (0..32).map(|n| {
        let (store, barrier) = (world.store.clone(), Arc::clone(&barrier));
        let name = (n % 2 == 0).then(|| format!("Name {n}"));
        let email = (n % 2 == 1).then(|| format!("mail{n}@web.de"));
        let (put, wish) = (CustomerCommand { name, email, ..known(&world, 1) }, world.wish(1, i64::from(n) / 8 * 30));
        tokio::spawn(async move {
            barrier.wait().await;
            if n % 8 == 7 {
                store.accept_booking(&wish).await.unwrap();
                return None;
            }
            Some(store.put_customer(&put).await.unwrap())
        })
    });
    let rivals: Vec<_> = rivals.collect();
    let mut kept = Vec::new();
    for rival in rivals {
        kept.extend(rival.await.unwrap());
    }
    assert_eq!(kept.len(), 28);
    assert!(kept.iter().filter(|c| c.is_new).count() <= 1, "a booking may have been first");
    assert_eq!(kept.iter().map(|c| c.customer_id.0).collect::<HashSet<_>>().len(), 1);
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 1);
    let (name, email, _) = row(&world).await;
    let last = kept.iter().filter(|c| c.name == name && c.email == email).count();
    assert!(last >= 1, "the row is what the last of them was told: {name:?} {email:?}");
    world.gone().await;
}
