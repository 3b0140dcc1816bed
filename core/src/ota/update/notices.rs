//! What is still to be told, oldest first.

use crate::ota::refusal::Refusal;
use crate::ota::report::State;

/// Something to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// A new state.
    State(State),
    /// Something was refused, or did not work, and the state is what it was.
    Refused(Refusal),
}

/// Room for as much as a few commands can bring; beyond it the oldest is dropped, since a host that does not drain wants
/// the newest.
#[derive(Debug)]
pub(super) struct Notices {
    queue: heapless::Deque<Notice, 12>,
}

impl Notices {
    pub(super) const NEW: Self = Self { queue: heapless::Deque::new() };

    pub(super) fn push(&mut self, notice: Notice) {
        if self.queue.is_full() {
            let _ = self.queue.pop_front();
        }
        let _ = self.queue.push_back(notice);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Notice> {
        self.queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_in_order() {
        let mut notices = Notices::NEW;
        for state in State::ALL.iter().chain(&State::ALL) {
            notices.push(Notice::State(*state));
        }
        for state in State::ALL {
            assert_eq!(notices.pop(), Some(Notice::State(state)));
        }
        assert_eq!(notices.pop(), None);
    }
}
