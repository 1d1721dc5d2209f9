//! A sealing key is changed without a moment in which a secret does not open; a secret is taken away by name.

use crate::world::{World, salon};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Removed, SecretKind, SecretView, Store, StoreError};

async fn open(store: &Store, company_id: i32, kind: SecretKind) -> Result<Vec<String>, StoreError> {
    let secrets = store.secrets(company_id, kind).await?;
    Ok(secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect())
}

async fn set(store: &Store, company_id: i32, kind: SecretKind, secret: &str) {
    store.set_secret(company_id, kind, &SecretString::from(secret)).await.unwrap();
}

async fn noted(world: &World) -> Vec<(i32, String, String, String)> {
    let sql = "SELECT company_id, what, subject, why FROM operator_action ORDER BY action_id";
    sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_old_key_is_not_needed_and_during_it_nobody_lacks_a_secret() {
    let world = World::new().await;
    let ours = world.company.company_id;
    let theirs = world.store.load_company(&salon("other")).await.unwrap().company_id;
    for (company_id, kind) in
        [(ours, SecretKind::Calcom), (ours, SecretKind::Retell), (theirs, SecretKind::CalcomWebhook)]
    {
        for secret in ["one", "two"] {
            set(&world.store, company_id, kind, secret).await;
        }
    }
    let both = world.with_keys(&[("k2", 2), ("k1", 1)]);
    let due: Vec<SecretView> = both.sealed_secrets(None).await.unwrap();
    assert!(due.len() == 6 && due.iter().all(|s| s.key_id == "k1" && !s.is_current), "{due:?}");
    assert_eq!(due.iter().map(|s| s.is_newest).collect::<Vec<_>>(), [true, false].repeat(3));

    let over = Arc::new(AtomicBool::new(false));
    let (reader, stop) = (both.clone(), Arc::clone(&over));
    let reading = tokio::spawn(async move {
        let mut reads = 0;
        while !stop.load(Ordering::Relaxed) || reads == 0 {
            assert_eq!(open(&reader, ours, SecretKind::Calcom).await.unwrap(), ["two", "one"]);
            reads += 1;
        }
    });
    assert_eq!(both.reseal(ours, "new key").await.unwrap(), 4);
    assert_eq!(both.reseal(ours, "new key").await.unwrap(), 0, "begun again, it goes on where it was");
    assert_eq!(noted(&world).await.len(), 1, "what changes nothing is not noted");
    assert_eq!(both.reseal(theirs, "new key").await.unwrap(), 2);
    over.store(true, Ordering::Relaxed);
    reading.await.unwrap();

    let new_only = world.with_keys(&[("k2", 2)]);
    assert_eq!(open(&new_only, ours, SecretKind::Calcom).await.unwrap(), ["two", "one"]);
    assert_eq!(open(&new_only, ours, SecretKind::Retell).await.unwrap(), ["two", "one"]);
    assert_eq!(open(&new_only, theirs, SecretKind::CalcomWebhook).await.unwrap(), ["two", "one"]);
    assert!(new_only.sealed_secrets(Some(theirs)).await.unwrap().iter().all(|s| s.is_current));
    let noted = noted(&world).await;
    assert_eq!(
        noted.iter().map(|n| (n.0, n.1.as_str())).collect::<Vec<_>>(),
        [(ours, "secrets rotate"), (theirs, "secrets rotate")]
    );
    assert!(noted.iter().all(|n| n.3 == "new key"), "{noted:?}");
    assert!(noted[1].2.starts_with("calcom_webhook/"), "{noted:?}");
    world.gone().await;
}

#[tokio::test]
async fn a_secret_that_does_not_open_is_left_with_all_of_its_company() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    set(&world.store, company_id, SecretKind::Retell, "open").await;
    set(&world.with_keys(&[("lost", 9)]), company_id, SecretKind::Calcom, "lost").await;
    let both = world.with_keys(&[("k2", 2), ("k1", 1)]);
    assert!(matches!(both.reseal(company_id, "x").await, Err(StoreError::Broken { .. })));
    assert_eq!(open(&world.store, company_id, SecretKind::Retell).await.unwrap(), ["open"], "all or nothing");
    assert!(noted(&world).await.is_empty());
    assert!(matches!(world.with_keys(&[]).reseal(company_id, "x").await, Err(StoreError::Broken { .. })));
    world.gone().await;
}

/// Set while the company is resealed: it is sealed with one key or the other, and the newest all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_set_meanwhile_is_not_lost() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    // A process that has not been told yet which key comes first, but knows both.
    let [both, other] = [world.with_keys(&[("k2", 2), ("k1", 1)]), world.with_keys(&[("k1", 1), ("k2", 2)])];
    for n in 0..20 {
        set(&other, company_id, SecretKind::Calcom, &format!("old {n}")).await;
        let (newest, secret) = (format!("new {n}"), SecretString::from(format!("new {n}")));
        let (resealed, set) =
            tokio::join!(both.reseal(company_id, "x"), other.set_secret(company_id, SecretKind::Calcom, &secret));
        assert!(resealed.is_ok() && set.is_ok(), "{resealed:?} {set:?}");
        assert_eq!(open(&both, company_id, SecretKind::Calcom).await.unwrap(), [newest, format!("old {n}")]);
    }
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rotations_at_once_one_does_it_and_is_noted() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    for kind in SecretKind::ALL {
        set(&world.store, company_id, kind, "secret").await;
    }
    let keys = [("k2", 2), ("k1", 1), ("k3", 3)];
    for round in 0..10 {
        // Each round has another first key, so that there is something to do.
        let [one, other] =
            [(); 2].map(|()| world.with_keys(&[keys[round % 3], keys[(round + 1) % 3], keys[(round + 2) % 3]]));
        one.ping().await.unwrap();
        other.ping().await.unwrap();
        let (one, other) = tokio::join!(one.reseal(company_id, "x"), other.reseal(company_id, "x"));
        let mut did = [one.unwrap(), other.unwrap()];
        did.sort_unstable();
        assert_eq!(did, [0, 3], "round {round}");
        assert_eq!(noted(&world).await.len(), round + 1);
    }
    world.gone().await;
}

#[tokio::test]
async fn only_what_a_newer_one_has_replaced_is_taken_away() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    set(&world.with_keys(&[("lost", 9)]), company_id, SecretKind::Calcom, "older").await;
    set(&world.with_keys(&[("k1", 1), ("lost", 9)]), company_id, SecretKind::Calcom, "newer").await;
    let ids: Vec<i64> = world.store.sealed_secrets(None).await.unwrap().iter().map(|s| s.secret_id).collect();
    let remove = async |company_id, id| world.store.remove_secret(company_id, id, "leaked").await.unwrap();
    assert_eq!(remove(company_id, ids[0]).await, Removed::Newest(SecretKind::Calcom));
    assert_eq!(remove(99, ids[1]).await, Removed::Unknown);
    assert_eq!(remove(company_id, ids[1]).await, Removed::Done(SecretKind::Calcom), "though it does not open");
    assert_eq!(remove(company_id, ids[1]).await, Removed::Unknown);
    assert_eq!(open(&world.store, company_id, SecretKind::Calcom).await.unwrap(), ["newer"]);
    let subject = format!("calcom/{}", ids[1]);
    assert_eq!(noted(&world).await, [(company_id, "secrets remove".to_owned(), subject, "leaked".to_owned())]);
    world.gone().await;
}
