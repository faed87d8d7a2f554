//! How timelines descend from each other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use walbrook_types::{Lsn, SystemId, TimelineId};

use crate::TimelineOrigin;

/// A timeline of a system.
pub(crate) type Line = (SystemId, TimelineId);

/// The origins of all timelines of all systems.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    origins: BTreeMap<Line, Origin>,
    seen: BTreeMap<Line, Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A first timeline.
    Root,
    /// It left that timeline at that position.
    Left(TimelineId, Lsn),
    /// No history tells, or histories contradict each other.
    Unknown,
}

impl Lineage {
    pub(crate) fn new(origins: &[TimelineOrigin]) -> Self {
        let mut lineage = Self::default();
        for origin in origins {
            let line = (origin.system, origin.timeline);
            let mut found = Origin::Left(origin.parent, origin.switch_lsn);
            // PostgreSQL numbers a new timeline above all that it knows of.
            if origin.parent >= origin.timeline {
                found = Origin::Unknown;
            }
            if let Some(at) = origin.seen_at {
                lineage.seen.entry(line).and_modify(|seen| *seen = at.max(*seen)).or_insert(at);
            }
            let known = lineage.origins.entry(line).or_insert(found);
            if *known != found {
                *known = Origin::Unknown;
            }
        }
        lineage
    }

    pub(crate) fn origin(&self, line: Line) -> Origin {
        let root = if line.1 == TimelineId::FIRST { Origin::Root } else { Origin::Unknown };
        self.origins.get(&line).copied().unwrap_or(root)
    }

    /// When the history of a timeline was seen, if that is known.
    pub(crate) fn seen_at(&self, line: Line) -> Option<Timestamp> {
        self.seen.get(&line).copied()
    }

    /// All timelines that histories tell of.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.origins.iter().flat_map(|(line, origin)| {
            let parent = match origin {
                Origin::Left(parent, _) => Some((line.0, *parent)),
                Origin::Root | Origin::Unknown => None,
            };
            parent.into_iter().chain([*line])
        })
    }

    /// From a timeline back to its oldest known ancestor: each with the position up to which it is
    /// part of the way, none for the timeline itself.
    pub(crate) fn way_back(&self, line: Line) -> impl Iterator<Item = (Line, Option<Lsn>)> + '_ {
        std::iter::successors(Some((line, None)), |(line, _)| match self.origin(*line) {
            Origin::Left(parent, switch) => Some(((line.0, parent), Some(switch))),
            Origin::Root | Origin::Unknown => None,
        })
    }
}
