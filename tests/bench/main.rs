//! Measures, on this machine, and says where the time goes; `bench cost` and `bench throughput [BOOKINGS]`. A table for
//! people first, then one line of JSON.
//!
//! `TEST_DATABASE_URL` and `TEST_REDIS_URL` name the servers, which nobody else may use meanwhile; `./dev bench` starts
//! them. Our programs are to lie beside this one (`cargo build --release --workspace --bins`). Deliberately absent: aims.
//! Asserted is only what no machine can change: how many commits there are, and that every booking was made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod cost;
mod meters;
mod throughput;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let figures = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cost"] => cost::run().await,
        ["throughput"] => throughput::run(5_000).await,
        ["throughput", bookings] => throughput::run(bookings.parse().expect("a number of bookings")).await,
        _ => {
            eprintln!("bench cost | bench throughput [BOOKINGS]");
            std::process::exit(2);
        }
    };
    println!("{figures}");
}
