//! The disk that the simulation runs on.

#[path = "../../faults/disk.rs"]
#[allow(dead_code, reason = "shared with the simulation, which uses more of it")]
pub(crate) mod disk;
#[path = "../../broker/simulation/random.rs"]
#[allow(dead_code, reason = "shared with the simulation of the broker")]
mod random;
