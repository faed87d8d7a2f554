//! I5: expiry removes only what no backup that exists, and none under way, can reach; whatever
//! happens meanwhile, and wherever it dies.

mod between;
mod crashes;
mod golden;
mod grace;
mod pins;
mod refused;
mod world;
