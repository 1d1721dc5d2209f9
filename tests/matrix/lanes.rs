//! Plays the cells, so many at a time. A lane has one database and plays its cells one after another, each with a company, a
//! queue, a Cal.com and workers of its own. A cell whose trouble did not come about, or on a machine that stood still so long
//! that nothing can be said, is played again; what was found wrong never is.

use crate::cell::Cell;
use crate::hit::{hit, premise};
use crate::play::{Played, play};
use crate::verdict::violations;
use futures::FutureExt;
use futures::future::join_all;
use harness::World;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;

/// So often a cell may come to nothing.
const TRIES: usize = 6;

/// How a cell went.
pub(crate) struct Told {
    pub(crate) played: Result<Played, String>,
    pub(crate) tries: usize,
}

/// Tells of each cell as soon as it is over.
pub(crate) async fn play_all(cells: Vec<Cell>, lanes: usize, seed: u64, tell: impl FnMut(Cell, &Told)) {
    let lanes = lanes.min(cells.len());
    let (waiting, tell) = (RefCell::new(VecDeque::from(cells)), RefCell::new(tell));
    let next = || waiting.borrow_mut().pop_front();
    let lane = async || {
        let mut world = World::new().await;
        while let Some(cell) = next() {
            let told = told(&mut world, cell, seed).await;
            tell.borrow_mut()(cell, &told);
        }
        world.gone().await;
    };
    join_all((0..lanes).map(|_| lane())).await;
}

async fn told(world: &mut World, cell: Cell, seed: u64) -> Told {
    let mut tries = 1;
    loop {
        let playing = async {
            world.begin_anew().await;
            play(world, cell, seed).await
        };
        let played = match AssertUnwindSafe(playing).catch_unwind().await {
            Ok(played) => played.and_then(|played| {
                premise(&played)?;
                // What is wrong is told even if it is not what was to be played.
                if violations(&played).is_empty() {
                    hit(&played)?;
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
