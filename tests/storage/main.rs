//! The storage by itself: a model of what it holds, on a disk in memory.

mod bound;
mod folding;
mod model;
mod random;
mod spilling;
