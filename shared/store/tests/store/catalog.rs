//! The catalog, secrets and keys.

use crate::world::{World, salon, settings};
use domain::refusal::Refusal;
use secrecy::{ExposeSecret, SecretString};
use store::{AcceptError, EventTypeSpec, Scope, SecretKind, Store, StoreError};

#[tokio::test]
async fn a_catalog_is_what_was_loaded_last() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    assert_eq!(world.store.company_by_slug("salon").await.unwrap().unwrap(), world.company);
    assert_eq!(world.store.company_by_id(company_id).await.unwrap().unwrap(), world.company);
    assert_eq!(world.store.company_by_slug("nobody").await.unwrap(), None);
    assert_eq!(world.store.companies().await.unwrap(), std::slice::from_ref(&world.company));
    let first = world.store.catalog(company_id).await.unwrap();
    assert_eq!((first.branches.len(), first.staff.len(), first.services.len()), (1, 3, 3));
    assert_eq!(first.branches[0].hours.openings.len(), 7);
    assert_eq!(first.branches[0].phones, ["+493012345678"]);
    assert_eq!(first.services[0].staff, [(1, 1, 101), (1, 2, 102), (1, 3, 103)]);
    assert_eq!(first.services[1].aliases, ["Damenschnitt"]);
    assert_eq!(world.store.load_company(&salon("salon")).await.unwrap(), world.company);
    assert_eq!(world.store.catalog(company_id).await.unwrap(), first);

    let mut smaller = salon("salon");
    smaller.staff.retain(|s| s.id != 1);
    smaller.event_types.retain(|e| e.staff_id != 1);
    world.store.load_company(&smaller).await.unwrap();
    let second = world.store.catalog(company_id).await.unwrap();
    assert_eq!(second.staff.iter().map(|s| s.staff_id).collect::<Vec<_>>(), [2, 3]);
    let answer = world.store.accept_booking(&world.wish(1, 0)).await;
    assert!(matches!(answer, Err(AcceptError::Refused(Refusal::UnknownStaff))), "{answer:?}");

    let mut wrong = salon("salon");
    wrong.event_types.push(EventTypeSpec { id: 105, branch_id: 1, service_id: 9, staff_id: 1 });
    let refused = world.store.load_company(&wrong).await;
    assert!(matches!(&refused, Err(StoreError::Refused { constraint }) if constraint == "event_type_is_of_a_service"));
    assert_eq!(world.store.catalog(company_id).await.unwrap(), second, "all or nothing");
    world.gone().await;
}

#[tokio::test]
async fn secrets_open_only_for_their_company_kind_and_key() {
    let world = World::new().await;
    let ours = world.company.company_id;
    let theirs = world.store.load_company(&salon("other")).await.unwrap().company_id;
    let open = |company_id, kind| {
        let store = world.store.clone();
        async move {
            let secrets = store.secrets(company_id, kind).await?;
            Ok::<_, StoreError>(secrets.iter().map(|s| s.expose_secret().to_owned()).collect::<Vec<_>>())
        }
    };
    for secret in ["one", "two", "two", "three"] {
        world.store.set_secret(ours, SecretKind::Calcom, &SecretString::from(secret)).await.unwrap();
    }
    assert_eq!(open(ours, SecretKind::Calcom).await.unwrap(), ["three", "two"]);
    assert_eq!(world.count("SELECT count(*) FROM company_secret").await, 2);
    assert!(open(ours, SecretKind::Retell).await.unwrap().is_empty());
    assert_eq!(world.count("SELECT count(*) FROM company_secret WHERE sealed LIKE '%three%'::bytea").await, 0);

    let copy = |set: &str| {
        format!(
            "INSERT INTO company_secret (company_id, kind, key_id, nonce, sealed)
             SELECT {set}, nonce, sealed FROM company_secret WHERE company_id = {ours} AND kind = 'calcom'"
        )
    };
    world.sql(&copy(&format!("{theirs}, kind, key_id"))).await;
    world.sql(&copy("company_id, 'retell', key_id")).await;
    world.sql(&copy(&format!("{theirs}, 'retell', 'k0'"))).await;
    for (company_id, kind) in [(theirs, SecretKind::Calcom), (ours, SecretKind::Retell), (theirs, SecretKind::Retell)] {
        assert!(matches!(open(company_id, kind).await, Err(StoreError::Broken { .. })));
    }
    let nobody = world.store.set_secret(99, SecretKind::Retell, &SecretString::from("x")).await;
    assert!(matches!(nobody, Err(StoreError::Refused { .. })));
    world.gone().await;
}

#[tokio::test]
async fn a_key_is_shown_once_and_known_by_its_hash() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let token = world.store.create_api_key(company_id, &[Scope::Read, Scope::Book]).await.unwrap();
    let token = token.expose_secret();
    assert!(token.starts_with("ak_live_") && token.len() == 8 + 8 + 1 + 43, "{}", token.len());
    let principal = world.store.authenticate(token).await.unwrap().unwrap();
    assert_eq!((principal.company_id, principal.scopes), (company_id, vec![Scope::Read, Scope::Book]));
    assert_eq!(principal.key_id, token[8..16]);
    let wrong = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { 'B' } else { 'A' });
    for rubbish in
        [wrong.as_str(), "", "ak_live_", "ak_live_12345678_", "Bearer x", &token[..30], "ak_live_\0\0\0\0\0\0\0\0_x"]
    {
        assert_eq!(world.store.authenticate(rubbish).await.unwrap(), None, "{rubbish:?}");
    }
    let none = world.store.create_api_key(company_id, &[]).await;
    assert!(matches!(none, Err(StoreError::Refused { constraint }) if constraint == "api_key_scopes_are_known"));
    world.sql("UPDATE api_key SET revoked_at = now()").await;
    assert_eq!(world.store.authenticate(token).await.unwrap(), None);
    world.gone().await;
}

#[tokio::test]
async fn postgres_out_of_reach_is_a_named_answer() {
    let store = Store::connect(settings("postgres://postgres@127.0.0.1:1/nothing".to_owned())).unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Away(_))));
    let mut wrong = settings("postgres://127.0.0.1:1/x".to_owned());
    wrong.sealing_keys[0].1 = SecretString::from("c2hvcnQ=");
    assert!(matches!(Store::connect(wrong), Err(StoreError::Broken { .. })));
}
