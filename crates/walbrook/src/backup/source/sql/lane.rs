use std::sync::Arc;
use std::time::{Duration, Instant};

use walbrook_replication::Session;
use walbrook_types::BLOCK_SIZE;

use super::session::{SameServer, read_statement, unexpected};
use crate::Result;
use crate::backup::source::check::Checker;
use crate::backup::source::lanes::{Lane, Unit};

/// How often a lane's connection is opened again before something more was read by it.
const TRIES: u32 = 3;

/// The wait before each of them: whoever ended the connection may end the next one.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is seen whether the server has not given the backup up.
const CHECK: Duration = Duration::from_secs(10);

/// Reads what its lane is given, over a connection of its own, and over another one when that is
/// lost: pages may be read at any time between the beginning and the end of the backup.
pub(crate) async fn run(
    mut session: Session,
    mut lane: Lane,
    checker: Arc<Checker>,
    server: Arc<SameServer>,
) {
    let mut checked = Instant::now();
    while let Some(units) = lane.batches.recv().await {
        let (mut done, mut tries) = (0, 0);
        loop {
            let before = done;
            let mut read = read(&mut session, &units, &mut done, &lane, &checker).await;
            if matches!(read, Ok(true)) && checked.elapsed() > CHECK {
                checked = Instant::now();
                read = server.check_first(&mut session).await.map(|()| true);
            }
            tries = if done > before { 0 } else { tries + 1 };
            let again = match read {
                Ok(true) => break,
                // Nobody takes the rest.
                Ok(false) => return,
                Err(lost) if lost.is_lost_connection() && tries <= TRIES => {
                    tokio::time::sleep(PAUSE).await;
                    server.open_again(lost).await
                }
                Err(error) => Err(error),
            };
            match again {
                Ok(opened) => session = opened,
                Err(error) => {
                    let _ = lane.done.send(Err(error)).await;
                    return;
                }
            }
        }
    }
}

/// Reads a batch by one statement, but for the units of it that are done. False when nobody wants
/// it any more.
async fn read(
    session: &mut Session,
    units: &[Unit],
    done: &mut usize,
    lane: &Lane,
    checker: &Checker,
) -> Result<bool> {
    let units = units.get(*done..).unwrap_or_default();
    if units.is_empty() {
        return Ok(true);
    }
    let chunks = units.iter().flatten().map(|chunk| (&*chunk.path, chunk.offset, chunk.len));
    let statement = read_statement(chunks);
    let peer = session.peer().to_owned();
    let malformed = || unexpected(&peer, "the content of files");
    let mut rows = session.copy_out(&statement).await?;
    let mut number = 0;
    for unit in units {
        let mut contents = Vec::with_capacity(unit.len());
        for chunk in unit {
            let mut row = rows.next().await?.ok_or_else(malformed)?;
            number += 1;
            if row.int4(0) != Some(number) {
                return Err(malformed());
            }
            let content = match (&chunk.relation, row.take(1)) {
                (Some(relation), Some(bytes)) => {
                    let reread = |offset| checker.side.read(&chunk.path, offset, BLOCK_SIZE as u32);
                    let offset = chunk.offset;
                    Some(checker.settle(&chunk.path, relation, offset, bytes, reread).await?)
                }
                (_, content) => content,
            };
            contents.push(content);
        }
        if lane.done.send(Ok(contents)).await.is_err() {
            return Ok(false);
        }
        *done += 1;
    }
    match rows.next().await? {
        None => Ok(true),
        Some(_) => Err(malformed()),
    }
}
