//! Plays the cells, so many at a time. A cell whose trouble did not come about, or on a machine that stood still so long that
//! nothing can be said, is played again; what was found wrong never is.

use crate::cell::Cell;
use crate::play::{Played, play};
use crate::verdict;
use futures::{FutureExt, Stream, StreamExt, stream};
use std::panic::AssertUnwindSafe;

/// So often a cell may come to nothing.
const TRIES: usize = 4;

/// How a cell went.
pub(crate) struct Told {
    pub(crate) played: Result<Played, String>,
    pub(crate) tries: usize,
}

pub(crate) fn play_all(cells: Vec<Cell>, lanes: usize, seed: u64) -> impl Stream<Item = (Cell, Told)> {
    stream::iter(cells).map(move |cell| async move { (cell, told(cell, seed).await) }).buffer_unordered(lanes)
}

async fn told(cell: Cell, seed: u64) -> Told {
    let mut tries = 1;
    loop {
        let played = match AssertUnwindSafe(play(cell, seed)).catch_unwind().await {
            Ok(played) => played.and_then(|played| {
                verdict::premise(&played)?;
                // What is wrong is told even if it is not what was to be played.
                if verdict::violations(&played).is_empty() {
                    verdict::hit(&played)?;
                }
                Ok(played)
            }),
            Err(_panic) => Err("it panicked".to_owned()),
        };
        match played {
            Err(why) if tries < TRIES => {
                eprintln!("{cell}: {why}; again");
                tries += 1;
            }
            played => return Told { played, tries },
        }
    }
}
