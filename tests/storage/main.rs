//! The storage by itself: a model of what it holds, on a disk in memory.

mod bound;
mod checksums;
mod faults;
mod folding;
mod hostile;
mod model;
mod random;
mod simulated;
mod soundness;
mod spilling;
