use walbrook_types::Oid;

use crate::fields::Fields;
use crate::{Error, ErrorKind, RecordHeader};

/// `RELMAPPER_FILEMAGIC` in PostgreSQL's `utils/cache/relmapper.c`.
const MAGIC: u32 = 0x0059_2717;

/// What a record of the `RelMap` resource manager says: `UPDATE`, a database's `pg_filenode.map`
/// anew. The map names the files of the catalogs that must be found before `pg_class` can be read.
///
/// Layouts: `xl_relmap_update` in PostgreSQL's `utils/relmapper.h`, `RelMapFile` in
/// `utils/cache/relmapper.c`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelmapUpdate<'a> {
    /// The database; zero for the map of the catalogs that all databases share.
    pub database: Oid,
    /// The database's tablespace.
    pub tablespace: Oid,
    /// The map, as it is written to the file: with its own magic number and CRC.
    pub file: &'a [u8],
    mappings: &'a [u8],
}

impl<'a> RelmapUpdate<'a> {
    /// From a record's header and main data; none for an operation other than `UPDATE`.
    ///
    /// # Errors
    ///
    /// [`BadContents`](ErrorKind::BadContents) when the data are too short or hold no map.
    pub fn parse(header: &RecordHeader, data: &'a [u8]) -> Result<Option<Self>, Error> {
        if header.operation() != 0 {
            return Ok(None);
        }
        let f = Fields(data);
        let file = f.list(8, 12, 1)?;
        let map = Fields(file);
        if map.u32(0)? != MAGIC {
            return Err(Error::new(ErrorKind::BadContents, "record with a map that is none"));
        }
        let mappings = map.list(4, 8, 8)?;
        Ok(Some(Self { database: f.u32(0)?, tablespace: f.u32(4)?, file, mappings }))
    }

    /// The catalogs' OIDs, each with the number of its files.
    pub fn mappings(&self) -> impl ExactSizeIterator<Item = (Oid, Oid)> + use<'a> {
        self.mappings.as_chunks().0.iter().map(|[a, b, c, d, e, f, g, h]| {
            (Oid::from_le_bytes([*a, *b, *c, *d]), Oid::from_le_bytes([*e, *f, *g, *h]))
        })
    }
}
