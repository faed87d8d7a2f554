//! A model of the protocol between backups and expiries (docs/architecture.md, "Expiry"), and a
//! search through every order in which their requests can reach the store, crashes included.
//!
//! Every transition is one request. What must hold in every state: whatever the manifest of a backup
//! that exists names is there.
//!
//! An expiry that waits for restores ends behind its commits, and leaves a mark that another one
//! takes away when it has swept.

use std::collections::{BTreeMap, BTreeSet, HashSet};

type Id = u8;
type Ids = BTreeSet<Id>;

/// What is left out of the protocol, to see that the search finds what then goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The backup looks for marks before it writes its intent.
    IntentFirst,
    /// The backup does not look for marks.
    LookForMarks,
    /// The backup does not look whether its base still exists after it saw no mark.
    LookForBase,
    /// The expiry looks for intents before it writes its mark.
    MarkFirst,
    /// The expiry does not look for intents.
    LookForIntents,
    /// The mark is taken away before the commits are.
    MarkToTheEnd,
    /// What is in use is read once, and not until two readings agree.
    ReadTwice,
    /// Commits are removed after what they name.
    CommitsFirst,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Store {
    /// `intent.json`: the backup whose parts are used, finished (a base) or not (resumed).
    intents: BTreeMap<Id, Option<Id>>,
    /// `backup.json`.
    commits: Ids,
    /// Manifests: the backups in whose packs something is.
    manifests: BTreeMap<Id, Ids>,
    packs: Ids,
    marks: BTreeMap<usize, Ids>,
}

impl Store {
    fn folders(&self) -> Ids {
        let named = self.intents.keys().chain(self.manifests.keys());
        named.chain(&self.commits).chain(&self.packs).copied().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Actor {
    Backup { id: Id, wants: Id, uses: Option<Ids>, step: u8, dead: bool },
    Expiry { number: usize, run: Expiry },
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Expiry {
    remove: Ids,
    step: u8,
    /// Folders that a step goes through, one request each.
    queue: Vec<Id>,
    /// Two readings of what exists: folders, and of the finished ones what they use.
    readings: Vec<(Ids, BTreeMap<Id, Ids>)>,
    /// Whether it leaves the sweep to another, with a mark.
    waits: bool,
}

/// Added to the number of an expiry that waits it is the number of the mark that it leaves.
const WAITING: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    store: Store,
    actors: Vec<Actor>,
}

/// The ways in which an actor can go on by one request.
fn next(world: &World, actor: usize, without: Without) -> Option<World> {
    let mut next = world.clone();
    // By its age an expiry knows a backup that died; one that lives is never taken for dead.
    let dead: Ids = world.actors.iter().filter_map(dead_backup).chain([DEAD]).collect();
    let World { store, actors } = &mut next;
    let done = match &mut actors[actor] {
        Actor::Done | Actor::Backup { dead: true, .. } => return None,
        Actor::Backup { id, wants, uses, step, .. } => {
            backup(store, *id, *wants, uses, step, without)
        }
        Actor::Expiry { number, run } => expiry(store, *number, run, &dead, without),
    };
    if done {
        next.actors[actor] = Actor::Done;
    }
    Some(next)
}

fn dead_backup(actor: &Actor) -> Option<Id> {
    match actor {
        Actor::Backup { id, dead: true, .. } => Some(*id),
        _ => None,
    }
}

/// One request of a backup; true after its last.
fn backup(
    store: &mut Store,
    id: Id,
    wants: Id,
    uses: &mut Option<Ids>,
    step: &mut u8,
    without: Without,
) -> bool {
    let (write, look) = if without == Without::IntentFirst { (1, 0) } else { (0, 1) };
    let at = *step;
    *step += 1;
    if at == 0 {
        *uses = Some(Ids::new());
    }
    if at == write {
        store.intents.insert(id, Some(wants));
    }
    if at == look
        && without != Without::LookForMarks
        && store.marks.values().any(|mark| mark.contains(&wants))
    {
        *uses = None;
    }
    match at {
        // The base has to exist still, or what is to be resumed not to be finished.
        2 if without != Without::LookForBase
            && wants != DEAD
            && !store.commits.contains(&wants) =>
        {
            *uses = None;
        }
        3 => {
            let parts = match wants {
                DEAD => store.packs.contains(&DEAD).then(|| Ids::from([DEAD])),
                _ => store.manifests.get(&wants).cloned(),
            };
            *uses = uses.take().and(parts);
        }
        4 => {
            store.packs.insert(id);
        }
        5 => {
            let used = uses.iter().flatten().copied().chain([id]).collect();
            store.manifests.insert(id, used);
        }
        6 => {
            store.commits.insert(id);
            return true;
        }
        _ => {}
    }
    false
}

/// One request of an expiry; true after its last.
fn expiry(
    store: &mut Store,
    number: usize,
    run: &mut Expiry,
    dead: &Ids,
    without: Without,
) -> bool {
    let (mark, look) = if without == Without::MarkFirst { (1, 0) } else { (0, 1) };
    match run.step {
        step if step == mark => {
            store.marks.insert(number, run.remove.clone());
            run.step += 1;
        }
        step if step == look => {
            if without != Without::LookForIntents {
                // What a mark names was finished once, though it looks as if it had never been.
                let marked = |id: &Id| store.marks.values().any(|mark| mark.contains(id));
                let unfinished =
                    |id: &Id| !store.commits.contains(id) && !dead.contains(id) && !marked(id);
                let live = store.intents.iter().filter(|(id, _)| unfinished(id));
                let used: Ids =
                    live.flat_map(|(id, used)| used.iter().chain([id])).copied().collect();
                run.remove.retain(|id| !used.contains(id));
            }
            run.step += 1;
        }
        2 => {
            if without == Without::MarkToTheEnd {
                store.marks.remove(&number);
            }
            run.queue = match without {
                Without::CommitsFirst => Vec::new(),
                _ => run.remove.iter().copied().collect(),
            };
            run.step = 3;
        }
        3 => match run.queue.pop() {
            Some(id) => {
                store.commits.remove(&id);
            }
            None if run.waits => {
                store.marks.insert(number + WAITING, run.remove.clone());
                run.queue.clear();
                run.step = 6;
            }
            None => {
                let folders = store.folders();
                run.queue = folders.iter().copied().collect();
                run.readings.push((folders, BTreeMap::new()));
                run.step = 4;
            }
        },
        // What is in use: one folder after the other.
        4 => match (run.queue.pop(), run.readings.last_mut()) {
            (Some(id), Some((_, finished))) => {
                let counts = without != Without::CommitsFirst || !run.remove.contains(&id);
                if let Some(uses) = store.manifests.get(&id)
                    && store.commits.contains(&id)
                    && counts
                {
                    finished.insert(id, uses.clone());
                }
            }
            _ => {
                let count = run.readings.len();
                let agree = count >= 2 && run.readings[count - 1] == run.readings[count - 2];
                if agree || without == Without::ReadTwice {
                    run.queue = run.remove.iter().copied().collect();
                    run.step = 5;
                } else {
                    // The last two count.
                    run.readings = run.readings.split_off(count - 1);
                    run.step = 3;
                }
            }
        },
        5 => match run.queue.pop() {
            Some(id) => {
                let last = run.readings.last();
                let used = last.is_some_and(|(_, all)| all.values().any(|uses| uses.contains(&id)));
                if !used {
                    store.packs.remove(&id);
                }
                // Of what is still used, packs alone stay.
                store.manifests.remove(&id);
                store.intents.remove(&id);
            }
            None => {
                run.queue = match without {
                    Without::CommitsFirst => run.remove.iter().copied().collect(),
                    _ => Vec::new(),
                };
                run.readings.clear();
                run.step = 6;
            }
        },
        _ => match run.queue.pop() {
            Some(id) => {
                store.commits.remove(&id);
            }
            None => {
                store.marks.remove(&number);
                // What another has left for it, when it has swept that.
                let swept = |mark: &Ids| mark.is_subset(&run.remove);
                if !run.waits {
                    store.marks.retain(|number, mark| *number < WAITING || !swept(mark));
                }
                return true;
            }
        },
    }
    false
}

/// A backup that died before the story begins.
const DEAD: Id = 9;

/// Backups 0 and 1, of which 1 uses 0, and one that died.
fn world(actors: Vec<Actor>) -> World {
    let manifests = BTreeMap::from([(0, Ids::from([0])), (1, Ids::from([0, 1]))]);
    let intents = BTreeMap::from([(0, None), (1, Some(0)), (DEAD, None)]);
    let (commits, packs) = (Ids::from([0, 1]), Ids::from([0, 1, DEAD]));
    World { store: Store { intents, commits, manifests, packs, ..Store::default() }, actors }
}

fn takes(id: Id, wants: Id) -> Actor {
    Actor::Backup { id, wants, uses: None, step: 0, dead: false }
}

fn removes(number: usize, remove: impl Into<Ids>) -> Actor {
    let remove = remove.into();
    let run = Expiry { remove, step: 0, queue: Vec::new(), readings: Vec::new(), waits: false };
    Actor::Expiry { number, run }
}

/// Removes commits, and leaves the rest to a later expiry.
fn removes_and_waits(number: usize, remove: impl Into<Ids>) -> Actor {
    let Actor::Expiry { mut run, .. } = removes(number, remove) else { return Actor::Done };
    run.waits = true;
    Actor::Expiry { number, run }
}

/// Whatever a backup that exists uses is there; and so is its manifest.
fn is_sound(store: &Store) -> bool {
    store.commits.iter().all(|id| {
        store.manifests.get(id).is_some_and(|uses| uses.iter().all(|id| store.packs.contains(id)))
    })
}

/// Goes through all orders. `Err` is a state that must not be.
fn search(start: World, without: Without) -> Result<HashSet<World>, Box<World>> {
    let mut seen = HashSet::new();
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        if !seen.insert(world.clone()) {
            continue;
        }
        if !is_sound(&world.store) {
            return Err(Box::new(world));
        }
        for actor in 0..world.actors.len() {
            open.extend(next(&world, actor, without));
            let mut crashed = world.clone();
            match &mut crashed.actors[actor] {
                Actor::Backup { dead, .. } => *dead = true,
                Actor::Expiry { .. } => crashed.actors[actor] = Actor::Done,
                Actor::Done => continue,
            }
            open.push(crashed);
        }
    }
    Ok(seen)
}

fn stories() -> Vec<Vec<Actor>> {
    vec![
        vec![takes(2, DEAD), removes(0, [DEAD]), removes(1, [0])],
        vec![takes(2, 1), takes(3, 2), removes(0, [1])],
        vec![takes(2, 0), removes(0, [0])],
        vec![takes(2, 0), takes(3, 1), removes(0, [0])],
        vec![takes(2, 1), removes(0, [0]), removes(1, [1])],
        vec![takes(2, 0), removes(0, [0]), removes(1, [0])],
        vec![takes(2, 0), removes_and_waits(0, [0]), removes(1, [0])],
        vec![takes(2, 1), removes_and_waits(0, [0, 1]), removes(1, [0, 1, DEAD])],
    ]
}

#[test]
fn in_no_order_is_anything_lost() {
    let mut states = 0;
    for story in stories() {
        match search(world(story), Without::Nothing) {
            Ok(seen) => states += seen.len(),
            Err(lost) => panic!("{lost:#?}"),
        }
    }
    assert!(states > 10_000, "{states}");
}

/// Every part of the protocol is needed: without it, some order loses something.
#[test]
fn every_part_is_needed() {
    for without in [
        Without::IntentFirst,
        Without::LookForMarks,
        Without::LookForBase,
        Without::MarkFirst,
        Without::LookForIntents,
        Without::MarkToTheEnd,
        Without::ReadTwice,
        Without::CommitsFirst,
    ] {
        let lost = stories().into_iter().any(|story| search(world(story), without).is_err());
        assert!(lost, "{without:?} makes no difference");
    }
}

/// When all are done without a crash, another expiry leaves nothing that nobody uses.
#[test]
fn what_is_left_is_used() {
    let seen = search(world(vec![takes(2, 1), removes(0, [0, DEAD])]), Without::Nothing);
    let seen = seen.unwrap_or_else(|lost| panic!("{lost:#?}"));
    let ends = seen.into_iter().filter(|w| w.actors.iter().all(|a| *a == Actor::Done));
    let ends: Vec<World> = ends.filter(|w| w.store.commits.contains(&2)).collect();
    assert!(!ends.is_empty());
    for end in ends {
        let folders = end.store.folders().difference(&end.store.commits).copied().collect::<Ids>();
        let last =
            search(World { store: end.store, actors: vec![removes(7, folders)] }, Without::Nothing)
                .unwrap_or_else(|lost| panic!("{lost:#?}"));
        let swept = last.iter().filter(|w| !w.store.marks.contains_key(&7));
        let clean = swept.into_iter().any(|w| {
            let used: Ids = w.store.manifests.values().flatten().copied().collect();
            w.store.packs == used
        });
        assert!(clean);
    }
}
