//! Tells in metrics how the keys of Cal.com stand: what is left of the budget, and whether Cal.com is down.
//!
//! Read from the record, so each process tells the same, also of a key that it has not used itself. A key is named by
//! the beginning of its fingerprint; one that nobody uses any more has all of its budget again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use store::KeyStanding;
use tokio_util::sync::CancellationToken;

use crate::rounds::go_round;
use crate::world::World;

/// Tells until `stop`; `requests` is what a key has left when nobody uses it.
pub(crate) async fn tell_budgets(world: World, requests: u32, stop: CancellationToken) {
    let told = Arc::new(Mutex::new(BTreeSet::new()));
    go_round("budget", stop, || {
        let (world, told) = (world.clone(), told.clone());
        async move {
            let used = world.store.calcom_keys().await?;
            tell(&mut told.lock().unwrap_or_else(PoisonError::into_inner), used, requests);
            Ok(())
        }
    })
    .await;
}

fn tell(told: &mut BTreeSet<String>, used: Vec<KeyStanding>, requests: u32) {
    let names: BTreeSet<String> = used.iter().map(|key| key.name.clone()).collect();
    let idle = told.difference(&names).map(|name| KeyStanding { name: name.clone(), left: requests, down: false });
    for key in idle.chain(used) {
        metrics::gauge!("askpro_calcom_budget_left", "key" => key.name.clone()).set(key.left);
        metrics::gauge!("askpro_calcom_host_down", "key" => key.name).set(if key.down { 1 } else { 0 });
    }
    *told = names;
}
