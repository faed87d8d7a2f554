use std::sync::Arc;

use walbrook_replication::Session;
use walbrook_types::BLOCK_SIZE;

use super::session::{read_statement, unexpected};
use crate::Result;
use crate::backup::source::check::Checker;
use crate::backup::source::lanes::{Lane, Unit};

/// Reads what its lane is given, over a connection of its own.
pub(crate) async fn run(mut session: Session, mut lane: Lane, checker: Arc<Checker>) {
    while let Some(units) = lane.batches.recv().await {
        match read(&mut session, &units, &lane, &checker).await {
            Ok(true) => {}
            // Nobody takes the rest.
            Ok(false) => return,
            Err(error) => {
                let _ = lane.done.send(Err(error)).await;
                return;
            }
        }
    }
}

/// Reads a batch by one statement. False when nobody wants it any more.
async fn read(
    session: &mut Session,
    units: &[Unit],
    lane: &Lane,
    checker: &Checker,
) -> Result<bool> {
    let chunks = units.iter().flatten().map(|chunk| (&*chunk.path, chunk.offset, chunk.len));
    let statement = read_statement(chunks);
    let peer = session.peer().to_owned();
    let malformed = || unexpected(&peer, "the content of files");
    let mut rows = session.copy_out(&statement).await?;
    let mut number = 0;
    for unit in units {
        let mut done = Vec::with_capacity(unit.len());
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
            done.push(content);
        }
        if lane.done.send(Ok(done)).await.is_err() {
            return Ok(false);
        }
    }
    match rows.next().await? {
        None => Ok(true),
        Some(_) => Err(malformed()),
    }
}
