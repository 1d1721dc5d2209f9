//! A person has rung the customer.

use crate::world::World;
use store::Who;
use uuid::Uuid;

#[tokio::test]
async fn a_callback_is_done_once_and_the_first_time_stands() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    world
        .sql(&format!(
            "INSERT INTO callback_request (company_id, callback_id, appointment_id, reason)
         VALUES ({company_id}, gen_random_uuid(), '{id}', 'rejected_by_calcom')"
        ))
        .await;
    let callback_id = world.store.callbacks(company_id, true).await.unwrap()[0].callback_id;
    let done = async |company_id, callback_id| {
        world.store.called_back(company_id, callback_id, Who::Operator, Some("told her")).await.unwrap()
    };
    assert_eq!(done(99, callback_id).await, None);
    assert_eq!(done(company_id, Uuid::nil()).await, None);
    let first = done(company_id, callback_id).await.unwrap();
    assert_eq!((first.is_new, first.appointment_id), (true, Some(id)));
    let again = done(company_id, callback_id).await.unwrap();
    assert_eq!((again.is_new, again.done_at), (false, first.done_at));
    assert!(world.store.callbacks(company_id, true).await.unwrap().is_empty());
    let noted: Vec<(String, String, String)> =
        sqlx::query_as("SELECT what, subject, why FROM operator_action").fetch_all(&world.pool).await.unwrap();
    assert_eq!(noted, [("callbacks done".to_owned(), callback_id.to_string(), "told her".to_owned())]);
    world.gone().await;
}
