//! The memory watermark: when it raises the alarm, and when it clears it.

/// Decides the memory alarm from what the virtual hosts hold.
#[derive(Debug)]
pub struct Watermark {
    /// Bytes of messages above which publishers are blocked.
    limit: u64,
    raised: bool,
}

impl Watermark {
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit, raised: false }
    }

    /// From the next look on.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Bytes in use changed; returns whether the alarm is on when that changed with it. The alarm clears at nine tenths of the
    /// limit, so that it does not come and go with every message.
    pub fn update(&mut self, used: u64) -> Option<bool> {
        let raised = if self.raised { used > self.limit / 10 * 9 } else { used > self.limit };
        if raised == self.raised {
            return None;
        }
        self.raised = raised;
        Some(raised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_clears_at_nine_tenths() {
        let mut watermark = Watermark::new(1000);
        assert_eq!(watermark.update(1000), None);
        assert_eq!(watermark.update(1001), Some(true));
        assert_eq!(watermark.update(950), None);
        assert_eq!(watermark.update(900), Some(false));
        assert_eq!(watermark.update(950), None);
    }
}
