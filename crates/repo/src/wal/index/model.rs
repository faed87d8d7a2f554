//! A model of runs and notes, and a search through every order in which the requests of those who make
//! and read them can reach the store, crashes included.
//!
//! What must hold in every state: a segment that is in a run and in no note is there. And of a reader,
//! whose listing of notes takes several requests: what it believes was there when it began.

use std::collections::{BTreeSet, HashSet};

/// Some of eight segments, a bit each.
type Segments = u8;

/// What is left out, to see that the search finds what then goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// An expiry makes its note when the segments are gone.
    NoteFirst,
    /// A note goes with its expiry.
    NotesForEver,
    /// A note that another contains goes at once, and not when nobody lists who began before.
    Overlap,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Store {
    segments: Segments,
    runs: BTreeSet<Segments>,
    notes: BTreeSet<Segments>,
}

fn all(sets: &BTreeSet<Segments>) -> Segments {
    sets.iter().fold(0, |all, some| all | some)
}

impl Store {
    fn recorded(&self) -> Segments {
        all(&self.runs) & !all(&self.notes)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Actor {
    /// Makes one run of all that is there, and takes away those that it has read.
    Recorder {
        step: u8,
        read: Store,
    },
    /// Removes segments.
    Expiry {
        remove: Segments,
        step: u8,
        read: Store,
        left: Segments,
    },
    /// Reads runs, and then notes one by one, in the one order or the other.
    Reader {
        began: Store,
        runs: Segments,
        notes: Segments,
        at: Option<Segments>,
        up: bool,
    },
    /// Brings a segment, for the first time or again.
    Pusher {
        segment: Segments,
    },
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    store: Store,
    actors: Vec<Actor>,
}

impl World {
    /// Whether all who read notes saw this one, or will.
    fn was_there_before(&self, note: Segments) -> bool {
        self.actors.iter().all(|actor| match actor {
            Actor::Reader { began, at: Some(_), .. } => began.notes.contains(&note),
            _ => true,
        })
    }
}

/// The next request of an actor; `Err` when a reader believes what is not so.
fn next(world: &World, number: usize, without: Without) -> Result<Option<World>, String> {
    let mut next = world.clone();
    let store = &mut next.store;
    let done = match &mut next.actors[number] {
        Actor::Done => return Ok(None),
        Actor::Pusher { segment } => {
            store.segments |= *segment;
            true
        }
        Actor::Recorder { step, read } => {
            *step += 1;
            match *step {
                1 => read.runs = store.runs.clone(),
                2 => read.notes = store.notes.clone(),
                3 => read.segments = store.segments,
                4 => {
                    let new = read.recorded() | (read.segments & !all(&read.notes));
                    store.runs.insert(new);
                    read.runs.remove(&new);
                }
                _ => match read.runs.pop_first() {
                    Some(run) => {
                        store.runs.remove(&run);
                    }
                    None => return Ok(finish(next, number)),
                },
            }
            false
        }
        Actor::Expiry { remove, step, read, left } => match *step {
            0 => {
                read.runs = store.runs.clone();
                *left = *remove;
                *step = 1;
                false
            }
            1 => {
                if without != Without::NoteFirst {
                    store.notes.insert(*remove);
                }
                *step = 2;
                false
            }
            // The oldest first.
            2 if *left != 0 => {
                let oldest = *left & left.wrapping_neg();
                store.segments &= !oldest;
                *left &= !oldest;
                false
            }
            2 => {
                store.notes.insert(*remove);
                *step = 3;
                false
            }
            // What is left of the runs that it has read.
            3 => match read.runs.pop_first() {
                Some(run) if run & *remove != 0 => {
                    store.runs.insert(run & !*remove);
                    read.runs.insert(run & !*remove);
                    read.notes.insert(run);
                    false
                }
                Some(_) => false,
                None => {
                    *step = 4;
                    false
                }
            },
            4 => match read.notes.pop_first() {
                Some(run) => {
                    store.runs.remove(&run);
                    false
                }
                None => {
                    store.notes.insert(all(&store.notes));
                    *step = 5;
                    false
                }
            },
            _ => {
                let known: Vec<Segments> = store.notes.iter().copied().collect();
                let over = known.iter().copied().find(|note| {
                    let mut others = known.iter().filter(|other| *other != note);
                    others.any(|other| {
                        let within = note & other == *note;
                        within && (without == Without::Overlap || world.was_there_before(*other))
                    })
                });
                match over {
                    Some(note) => {
                        store.notes.remove(&note);
                        false
                    }
                    None => {
                        if without == Without::NotesForEver {
                            store.notes.clear();
                        }
                        true
                    }
                }
            }
        },
        Actor::Reader { began, runs, notes, at, up } => {
            let Some(behind) = *at else {
                *began = store.clone();
                *runs = all(&store.runs);
                *at = Some(if *up { 0 } else { Segments::MAX });
                return Ok(Some(next));
            };
            // The next name; in which order they come is the store's affair.
            let name = match up {
                true => store.notes.iter().find(|note| **note > behind),
                false => store.notes.iter().rev().find(|note| **note < behind),
            };
            if let Some(note) = name {
                (*notes, *at) = (*notes | note, Some(*note));
                return Ok(Some(next));
            }
            let believed = *runs & !*notes;
            // What came meanwhile is right as well.
            if believed & !(began.segments | store.segments) != 0 {
                return Err(format!("believes {believed:b}: {world:?}"));
            }
            true
        }
    };
    Ok(if done { finish(next, number) } else { Some(next) })
}

fn finish(mut world: World, number: usize) -> Option<World> {
    world.actors[number] = Actor::Done;
    Some(world)
}

/// Goes through all orders; tells how many states there are, or of one that must not be.
fn search(start: World, without: Without) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        if !seen.insert(world.clone()) {
            continue;
        }
        let false_ones = world.store.recorded() & !world.store.segments;
        if false_ones != 0 {
            return Err(format!("{false_ones:b} are not there: {world:?}"));
        }
        for number in 0..world.actors.len() {
            open.extend(next(&world, number, without)?);
            if world.actors[number] != Actor::Done {
                open.extend(finish(world.clone(), number));
            }
        }
    }
    Ok(seen.len())
}

fn recorder() -> Actor {
    Actor::Recorder { step: 0, read: Store::default() }
}

fn expiry(remove: Segments) -> Actor {
    Actor::Expiry { remove, step: 0, read: Store::default(), left: 0 }
}

fn reader(up: bool) -> Actor {
    Actor::Reader { began: Store::default(), runs: 0, notes: 0, at: None, up }
}

fn stories() -> Vec<World> {
    let store = |segments, runs: &[Segments], notes: &[Segments]| Store {
        segments,
        runs: runs.iter().copied().collect(),
        notes: notes.iter().copied().collect(),
    };
    let again = Actor::Pusher { segment: 1 };
    let worlds = [
        (store(0b1111, &[], &[]), vec![recorder(), expiry(0b0011)]),
        (store(0b0111, &[0b0111], &[]), vec![recorder(), expiry(0b0001), expiry(0b0010)]),
        (store(0b0111, &[0b0001, 0b0010], &[]), vec![recorder(), recorder(), expiry(0b0001)]),
        (store(0b0111, &[0b0011], &[]), vec![recorder(), expiry(0b0001), again]),
        // A run that says what is gone, and notes about to be joined while they are read.
        (store(0b1100, &[0b1111], &[0b0010, 0b0001]), vec![expiry(0b0100), reader(true)]),
        (store(0b1100, &[0b1111], &[0b0010, 0b0001]), vec![expiry(0b0100), reader(false)]),
    ];
    worlds.map(|(store, actors)| World { store, actors }).into()
}

#[test]
fn in_no_order_is_a_segment_believed_to_be_there_that_is_not() {
    let mut states = 0;
    for story in stories() {
        states += search(story, Without::Nothing).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    assert!(states > 100_000, "{states}");
}

#[test]
fn every_part_is_needed() {
    for without in [Without::NoteFirst, Without::NotesForEver, Without::Overlap] {
        let wrong = stories().into_iter().any(|story| search(story, without).is_err());
        assert!(wrong, "{without:?} makes no difference");
    }
}
