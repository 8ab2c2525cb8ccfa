//! What tests ask of a broker that was started for them (docs/TEST_API.md). The API over HTTP and embedding programs come here.

mod clock;
mod journal;

pub use clock::{Advance, AdvanceError, ClockView, Fire};
pub use journal::{EVENT_KEYS, Filter, Left, LeftInQueue, Unconfirmed, values_of};
