//! Damage to each kind of object of a repository: what reads it refuses and names the object, and
//! nothing that would start is left behind.

mod hostile;
mod objects;
mod place;
