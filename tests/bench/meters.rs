//! What can be read off from outside: CPU time of processes, statements of PostgreSQL, commands of Redis. Linux only, and
//! the servers on this machine. Deliberately absent: what of it is much.

use sqlx::PgPool;
use std::collections::BTreeMap;
use std::fs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The kernel's unit in /proc, the same on every Linux that matters.
const TICKS_A_SECOND: f64 = 100.0;

/// CPU seconds that a process has used, without its children.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = stat(pid).expect("a process that runs");
    (stat[UTIME] + stat[STIME]) / TICKS_A_SECOND
}

/// CPU seconds of PostgreSQL: of every process that runs, and of those that have ended.
pub(crate) async fn cpu_seconds_of_postgres(pool: &PgPool) -> f64 {
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(pool).await.unwrap();
    let postmaster = stat(backend.unsigned_abs()).expect("PostgreSQL is to run on this machine")[PARENT];
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut ticks = 0.0;
    for pid in processes {
        let Some(stat) = stat(pid) else { continue };
        if f64::from(pid) == postmaster {
            ticks += stat[UTIME] + stat[STIME] + stat[UTIME_OF_ENDED_CHILDREN] + stat[STIME_OF_ENDED_CHILDREN];
        } else if stat[PARENT] == postmaster {
            ticks += stat[UTIME] + stat[STIME];
        }
    }
    ticks / TICKS_A_SECOND
}

/// Fields of /proc/PID/stat, counted from behind the name.
const PARENT: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;
const UTIME_OF_ENDED_CHILDREN: usize = 13;
const STIME_OF_ENDED_CHILDREN: usize = 14;

/// Numbers where there are numbers; `None`: the process is gone.
fn stat(pid: u32) -> Option<Vec<f64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind_the_name = stat.rsplit_once(") ")?.1;
    Some(behind_the_name.split(' ').map(|field| field.parse().unwrap_or_default()).collect())
}

/// CPU seconds of Redis, by its own word.
pub(crate) async fn cpu_seconds_of_redis(url: &str) -> f64 {
    let info = redis_info(url, "cpu").await;
    let read = |name: &str| -> f64 { info.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap() };
    read("used_cpu_user:") + read("used_cpu_sys:")
}

/// How often Redis has run each command, those inside of scripts too, and without our own questions.
pub(crate) async fn redis_commands(url: &str) -> BTreeMap<String, u64> {
    let info = redis_info(url, "commandstats").await;
    let command = |line: &str| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), figures.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(command).filter(|(name, _)| name != "info" && name != "quit").collect()
}

async fn redis_info(url: &str, section: &str) -> String {
    let address = url.trim_start_matches("redis://").split('/').next().unwrap();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(format!("INFO {section}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A statement of this database.
#[derive(Clone, PartialEq, Debug, sqlx::FromRow)]
pub(crate) struct Statement {
    pub(crate) query: String,
    pub(crate) calls: i64,
    pub(crate) milliseconds: f64,
}

/// Forgets what PostgreSQL has counted of statements until now.
pub(crate) async fn forget_statements(pool: &PgPool) {
    sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").execute(pool).await.unwrap();
    sqlx::query("SELECT pg_stat_statements_reset()").execute(pool).await.unwrap();
}

/// What has run in this database since then, the most expensive first, but not our own questions.
pub(crate) async fn statements(pool: &PgPool) -> Vec<Statement> {
    let sql = "SELECT regexp_replace(query, '\\s+', ' ', 'g') AS query, sum(calls)::bigint AS calls,
                      sum(total_exec_time)::float8 AS milliseconds
               FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE '%by the bench%'
               GROUP BY 1 ORDER BY 3 DESC";
    sqlx::query_as(sql).fetch_all(pool).await.unwrap()
}

/// Flushes of the write-ahead log to the disk, of the whole server.
pub(crate) async fn wal_flushes(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT wal_sync FROM pg_stat_wal").fetch_one(pool).await.unwrap()
}
