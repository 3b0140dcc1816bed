//! Message IDs of windows.
//!
//! RFC 7252 §4.4: an ID is not used again within EXCHANGE_LIFETIME (247 s), so that 265 CON a second use them up. The IDs are taken
//! quarter by quarter, and it is remembered when each was used last. A quarter that went in less than a third of that time is a
//! hurry: blocks are asked for by NON then, each sent once under its ID, which is free after MAX_LATENCY (100 s, §4.8.2); what is
//! lost is asked for by another message. A quarter that is not free yet is passed over; with none free, windows wait. So
//! 48 MiB come as fast as they can, and 4 Mbit/s lastingly, in blocks of 1024; who wants more opens another port,
//! whose IDs are its own.

use crate::{Duration, Instant};

/// Which message IDs windows have used: see [the module](self).
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    /// When each quarter was used last, and the one in use was begun: units of 2^20 µs, from 1; 0 is never.
    used: [u32; 4],
    begun: u32,
    /// How many there were in it when it was begun.
    left: u16,
    /// Bit n: quarter n was used for CON.
    confirmable: u8,
    /// The one in use.
    quarter: u8,
}

impl Ids {
    pub(super) const NEW: Self = Self { used: [0; 4], begun: 0, left: 0, confirmable: 0xF, quarter: 0xFF };

    /// The next ID from `mid` on, and whether CON may be sent under it. None: there is none now.
    pub(super) fn take(&mut self, mid: u16, now: Instant, lifetime: Duration) -> Option<(u16, bool)> {
        let second = |span: u64| u32::try_from(span >> 20).unwrap_or(u32::MAX).saturating_add(1);
        let (now, lifetime) = (second(now.as_micros()), second(lifetime.as_micros()));
        let [high, _] = mid.to_be_bytes();
        let (mut quarter, mut id) = (high >> 6, mid);
        let bit = |quarter: u8| 1_u8.wrapping_shl(quarter.into());
        if quarter != self.quarter {
            let free = |quarter: &u8| {
                let last = self.used.get(usize::from(*quarter)).copied().unwrap_or(0);
                let lasts = if self.confirmable & bit(*quarter) == 0 { MAX_LATENCY } else { lifetime };
                last == 0 || now.saturating_sub(last) > lasts
            };
            let next = (0..4).map(|n: u8| quarter.wrapping_add(n) & 3).find(free)?;
            if next != quarter {
                (quarter, id) = (next, u16::from(next) << 14);
            }
            let ended = self.used.get(usize::from(self.quarter)).copied().unwrap_or(0);
            let spent = ended.saturating_sub(self.begun).saturating_mul(QUARTER.into());
            let third = (lifetime.saturating_add(2) / 3).saturating_mul(self.left.into());
            // A few that went within a second say nothing of how fast others go.
            let hurried = self.begun != 0 && spent <= third && (spent != 0 || self.left == QUARTER);
            self.confirmable = if hurried { self.confirmable & !bit(quarter) } else { self.confirmable | bit(quarter) };
            (self.quarter, self.begun, self.left) = (quarter, now, QUARTER.saturating_sub(id & 0x3FFF));
        }
        if let Some(used) = self.used.get_mut(usize::from(quarter)) {
            *used = now;
        }
        Some((id, self.confirmable & bit(quarter) != 0))
    }
}

/// IDs of a quarter.
const QUARTER: u16 = 0x4000;

/// MAX_LATENCY (§4.8.2), 100 s, in units of 2^20 µs.
const MAX_LATENCY: u32 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `rate` IDs a second for so many seconds; gives those taken by second, and checks each against its last use.
    fn run(rate: usize, seconds: u64) -> std::vec::Vec<usize> {
        let (mut ids, mut mid) = (Ids::NEW, 65_000_u16);
        let mut last = std::vec![None; 65_536];
        let mut taken = std::vec::Vec::new();
        for s in 0..seconds {
            taken.push(0);
            for n in 0..rate {
                let now = Instant::from_micros(s * 1_000_000 + (n * 1_000_000 / rate) as u64);
                let Some((id, con)) = ids.take(mid, now, Duration::from_secs(247)) else { break };
                let before: Option<(Instant, bool)> = last[usize::from(id)].replace((now, con));
                if let Some((at, con)) = before {
                    let least = Duration::from_secs(if con { 247 } else { 100 });
                    assert!(now.since(at) >= least, "{id} again after {:?}", now.since(at));
                }
                mid = id.wrapping_add(1);
                *taken.last_mut().unwrap() += 1;
            }
        }
        taken
    }

    #[test]
    fn the_rest_of_a_quarter_that_is_used_up_slowly_is_no_hurry() {
        for rate in [1, 10, 150] {
            let (mut ids, mut mid) = (Ids::NEW, 0xFFDD_u16);
            for n in 0..300 {
                let (id, con) =
                    ids.take(mid, Instant::from_micros(n * 1_000_000 / rate), Duration::from_secs(247)).unwrap();
                assert!(con, "{rate} a second, the {n}th");
                mid = id.wrapping_add(1);
            }
        }
    }

    #[test]
    fn no_id_is_used_again_while_it_may_be_remembered() {
        for rate in [100, 250, 400, 1000, 20_000] {
            let taken = run(rate, 2000);
            let all: usize = taken.iter().sum();
            // One quarter of four is always in use, and none can be had of it.
            assert!(all >= (rate * 2000).min(2000 * 450) * 95 / 100, "{rate}: {all}");
        }
        assert!(run(250, 2000).iter().all(|n| *n == 250), "no wait at the rate that CON allows");
        assert!(run(20_000, 3).iter().sum::<usize>() >= 49_152, "three quarters at once");
    }
}
