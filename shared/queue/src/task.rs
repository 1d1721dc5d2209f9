//! What a job is called on the wire: `{company_id}/{job_id}`, and nothing else.
//!
//! Deliberately absent: payload, kind, attempt, time. Whoever picks the name up re-reads all of that under a lock.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The name of a job, as Redis carries it. It proves nothing: the job may be done, gone, or nobody's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Task {
    /// The company whose job it is.
    pub company_id: i32,
    /// The job's row.
    pub job_id: Uuid,
}

/// A string from Redis that is not the name of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a job's name: {{company_id}}/{{job_id}} expected")]
pub struct TaskError;

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.company_id, self.job_id)
    }
}

impl FromStr for Task {
    type Err = TaskError;

    fn from_str(text: &str) -> Result<Task, TaskError> {
        let (company, job) = text.split_once('/').ok_or(TaskError)?;
        let task = Task {
            company_id: company.parse().map_err(|_| TaskError)?,
            job_id: Uuid::try_parse(job).map_err(|_| TaskError)?,
        };
        // One spelling only: what is read back is what was written.
        if task.to_string() == text { Ok(task) } else { Err(TaskError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_it_was_written() {
        for company_id in [i32::MIN, -1, 0, 1, i32::MAX] {
            let task = Task { company_id, job_id: Uuid::from_u128(0x0198_0000_7000_8000_0000_0000_0000_0001) };
            assert_eq!(task.to_string().parse(), Ok(task));
        }
    }

    #[test]
    fn nothing_else_is_a_name() {
        let job = Uuid::from_u128(7);
        for text in [
            String::new(),
            "1".into(),
            "1/".into(),
            format!("/{job}"),
            format!("x/{job}"),
            format!("+1/{job}"),
            format!("01/{job}"),
            format!("1/{job}/"),
            format!(" 1/{job}"),
            format!("1/{}", job.simple()),
            format!("2147483648/{job}"),
        ] {
            assert_eq!(text.parse::<Task>(), Err(TaskError), "{text:?}");
        }
    }
}
