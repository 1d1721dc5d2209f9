//! RC5, lost. The old system looked for the caller's number and, if there was none, made a customer: two calls at once
//! made two. Its report recommended `firstOrCreate`, which is the same two statements. Won in
//! `races/one_customer_per_phone.rs`.
//!
//! Impossible with us because of `one_customer_per_phone` (migrations/0002), and because `attach_customer`
//! (store/src/accept.rs) is one statement, `ON CONFLICT … DO UPDATE … RETURNING`: the loser gets the same id.

use harness::World;
use sqlx::PgConnection;
use tokio::sync::Barrier;
use uuid::Uuid;

const PHONE: &str = "+4915113000000";

/// `Customer::firstOrCreate(['phone' => …])`.
async fn first_or_create(world: &World, between: &Barrier) -> sqlx::Result<Uuid> {
    let company_id = world.company.company_id;
    let select = "SELECT customer_id FROM customer WHERE company_id = $1 AND phone = $2";
    let found = sqlx::query_scalar(select).bind(company_id).bind(PHONE).fetch_optional(&world.pool).await?;
    between.wait().await;
    if let Some(id) = found {
        return Ok(id);
    }
    let insert = "INSERT INTO customer (company_id, customer_id, phone, language) VALUES ($1, $2, $3, 'de')
                  RETURNING customer_id";
    sqlx::query_scalar(insert).bind(company_id).bind(Uuid::now_v7()).bind(PHONE).fetch_one(&world.pool).await
}

async fn both(world: &World) -> [sqlx::Result<Uuid>; 2] {
    let between = Barrier::new(2);
    tokio::join!(first_or_create(world, &between), first_or_create(world, &between)).into()
}

#[tokio::test]
async fn first_or_create_makes_two_customers_of_one_number() {
    let world = World::new().await;
    sqlx::query("ALTER TABLE customer DROP CONSTRAINT one_customer_per_phone").execute(&world.pool).await.unwrap();
    let [one, other] = both(&world).await;
    assert_ne!(one.unwrap(), other.unwrap());
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE phone = '+4915113000000'").await, 2);
    world.gone().await;
}

/// The index is what makes it one; but the loser's call ends in an error.
#[tokio::test]
async fn with_the_index_alone_the_second_call_fails() {
    let world = World::new().await;
    let answers = both(&world).await;
    let failed: Vec<_> = answers.iter().filter_map(|id| id.as_ref().err()).collect();
    let [error] = failed[..] else { panic!("{answers:?}") };
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("one_customer_per_phone"));
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 1);
    world.gone().await;
}

async fn do_nothing(conn: &mut PgConnection, company_id: i32) -> Option<Uuid> {
    let insert = "INSERT INTO customer (company_id, customer_id, phone, language) VALUES ($1, $2, $3, 'de')
                  ON CONFLICT ON CONSTRAINT one_customer_per_phone DO NOTHING RETURNING customer_id";
    sqlx::query_scalar(insert).bind(company_id).bind(Uuid::now_v7()).bind(PHONE).fetch_optional(conn).await.unwrap()
}

/// Nor does `DO NOTHING` tell the loser who the customer is; and under a snapshot from before, no later look does.
#[tokio::test]
async fn do_nothing_returns_no_customer_to_the_second() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let mut second = world.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let look = "SELECT count(*) FROM customer";
    let seen: i64 = sqlx::query_scalar(look).fetch_one(&mut *second).await.unwrap();
    let first = do_nothing(&mut world.pool.acquire().await.unwrap(), company_id).await;
    assert!(seen == 0 && first.is_some());
    let seen: i64 = sqlx::query_scalar(look).fetch_one(&mut *second).await.unwrap();
    assert_eq!(seen, 0, "its snapshot is older than the customer");
    drop(second);
    let again = do_nothing(&mut world.pool.acquire().await.unwrap(), company_id).await;
    assert_eq!(again, None, "the second has no id");
    world.gone().await;
}
