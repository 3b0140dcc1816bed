//! A device whose firmware runs from one place: its bootloader brings what is in the staging area there and back, and
//! power may fail at any byte of that, and again at any byte of what mends it.

mod flash;

use flash::{CLASS, Credulous, VENDOR, envelope, image};
use waft::ota::boot::{
    self,
    staging::{self, Layout, Place, Step},
};
use waft::ota::update::{Area, Config, Event, State, Update};
use waft::{Instant, Misuse, Output, Rng};

/// Power failed.
#[derive(Debug, PartialEq, Eq)]
struct Cut;

/// NOR flash: the journal, both status pages, the primary area and the staging area. Power fails when `left` units have been
/// worked on: what is being written then has some of its bits, what is being erased has some of its bytes.
#[derive(Clone)]
struct Nor {
    layout: Layout,
    journal: Vec<u8>,
    status: [Vec<u8>; 2],
    primary: Vec<u8>,
    staging: Vec<u8>,
    left: u64,
    done: u64,
    rng: Rng,
}

impl Nor {
    fn new(layout: Layout) -> Self {
        let page = vec![0xFF; layout.status_len().next_multiple_of(layout.erase) as usize];
        let slot = layout.slot as usize;
        let mut nor = Self {
            layout,
            journal: vec![0xFF; 2 * PAGE],
            status: [page.clone(), page],
            primary: vec![0xFF; slot + layout.erase as usize],
            staging: vec![0xFF; slot],
            left: u64::MAX,
            done: 0,
            rng: Rng::new(5),
        };
        nor.primary[..500].copy_from_slice(&image(0, 500));
        nor
    }

    fn block(&self, place: Place) -> Vec<u8> {
        let (area, at) = match place {
            Place::Primary(at) => (&self.primary, at as usize),
            Place::Staging(at) => (&self.staging, at as usize),
        };
        area[at..at + self.layout.erase as usize].to_vec()
    }

    fn place(&mut self, place: Place) -> &mut [u8] {
        let erase = self.layout.erase as usize;
        match place {
            Place::Primary(at) => &mut self.primary[at as usize..][..erase],
            Place::Staging(at) => &mut self.staging[at as usize..][..erase],
        }
    }

    /// Whether power fails now, and what is left of the work then: bits that are set have been worked on.
    fn work(&mut self) -> Option<u32> {
        self.done += 1;
        self.left -= 1;
        // Nothing of it, all of it, or some.
        (self.left == 0).then(|| [0, u32::MAX, self.rng.next_u32()][self.rng.below(3) as usize])
    }

    fn program(&mut self, bytes: &[u8], mut at: impl FnMut(&mut Self) -> &mut [u8]) -> Result<(), Cut> {
        let unit = self.layout.write as usize;
        for (n, part) in bytes.chunks(unit).enumerate() {
            let cut = self.work();
            let place = &mut at(self)[n * unit..][..part.len()];
            for (bit, (old, new)) in place.iter_mut().zip(part).enumerate() {
                assert_eq!(*old, 0xFF, "only what is erased may be written");
                let mask = cut.map_or(0xFF, |mask| mask.rotate_left(bit as u32 * 5) as u8);
                *old = new | !mask;
            }
            if cut.is_some() {
                return Err(Cut);
            }
        }
        Ok(())
    }

    /// Four units of work for each erase block.
    fn erase(&mut self, mut at: impl FnMut(&mut Self) -> &mut [u8]) -> Result<(), Cut> {
        let quarter = self.layout.erase as usize / 4;
        for n in 0..at(self).len() / quarter {
            let cut = self.work();
            for (byte, place) in at(self)[n * quarter..][..quarter].iter_mut().enumerate() {
                if cut.is_none_or(|mask| mask >> (byte % 32) & 1 != 0) {
                    *place = 0xFF;
                }
            }
            if cut.is_some() {
                return Err(Cut);
            }
        }
        Ok(())
    }

    /// What the bootloader does before it jumps, but for the journal: brings `slot` to where firmware runs.
    fn bring(&mut self, slot: u8) -> Result<(), Cut> {
        for _ in 0..1000 {
            let pages = [&self.status[0][..], &self.status[1]];
            let Some(step) = staging::step(pages, slot, &self.layout).unwrap() else { return Ok(()) };
            match step {
                Step::Begin { page, header } => {
                    let page = usize::from(page);
                    self.erase(|nor| &mut nor.status[page])?;
                    self.program(&header, |nor| &mut nor.status[page])?;
                }
                Step::Move { from, to, page, mark } => {
                    self.erase(|nor| nor.place(to))?;
                    let block = self.block(from);
                    self.program(&block, |nor| nor.place(to))?;
                    let (page, mark) = (usize::from(page), mark as usize);
                    self.program(&vec![0; self.layout.write as usize], |nor| &mut nor.status[page][mark..])?;
                }
            }
        }
        panic!("it never ends");
    }

    /// All of it, with power from then on.
    fn mend(&mut self, slot: u8) {
        self.left = u64::MAX;
        self.bring(slot).unwrap();
    }

    fn holds(&self) -> (&[u8], &[u8]) {
        (&self.primary[..self.layout.slot as usize], &self.staging)
    }
}

fn layouts() -> [Layout; 3] {
    [(512, 256, 32), (768, 256, 8), (512, 512, 1)].map(|(slot, erase, write)| Layout { slot, erase, write })
}

/// Every cut, and after it every cut in what mends it, while the new image is brought, or brought back.
#[test]
fn power_may_fail_anywhere_in_a_swap_and_again() {
    let mut runs = 0_u32;
    for layout in layouts() {
        let slot = layout.slot as usize;
        let (old, new) = (image(1, slot), image(2, slot));
        let mut nor = Nor::new(layout);
        nor.primary[..slot].copy_from_slice(&old);
        nor.staging.copy_from_slice(&new);
        for (wanted, expected) in [(1, (&new, &old)), (0, (&old, &new)), (1, (&new, &old))] {
            let before = Nor { done: 0, ..nor.clone() };
            nor = before.clone();
            nor.mend(wanted);
            let whole = nor.done;
            assert!(whole > 10);
            // With a unit of one byte there are thousands: one in some is taken.
            let stride = (whole / 150).max(1);
            for first in (1..=whole).step_by(stride as usize) {
                let mut once = Nor { left: first, rng: Rng::new(first), ..before.clone() };
                assert_eq!(once.bring(wanted), Err(Cut));
                let rest = Nor { done: 0, ..once.clone() };
                once.done = 0;
                once.mend(wanted);
                assert_eq!(once.holds(), (&expected.0[..], &expected.1[..]), "cut at {first}");
                // What was begun may not be what is wanted in the end.
                let mut turned = rest.clone();
                turned.mend(wanted ^ 1);
                assert_eq!(turned.holds(), (&expected.1[..], &expected.0[..]), "cut at {first}, then the other");
                for second in (1..=once.done).step_by(stride as usize * 3) {
                    let mut twice = Nor { left: second, rng: Rng::new(second), ..rest.clone() };
                    assert_eq!(twice.bring(wanted), Err(Cut));
                    twice.mend(wanted);
                    assert_eq!(twice.holds(), (&expected.0[..], &expected.1[..]), "cuts at {first} and {second}");
                    runs += 1;
                }
            }
        }
    }
    assert!(runs > 10_000, "{runs}");
}

/// Two images, each with areas of its own, swapped one after the other; power fails when `left` units have been worked on.
fn bring_all(images: &mut [Nor; 2], slots: u8, mut left: u64) -> Result<(), Cut> {
    for (n, nor) in images.iter_mut().enumerate() {
        nor.left = left;
        nor.bring(slots >> n & 1)?;
        left = nor.left;
    }
    Ok(())
}

#[test]
fn power_may_fail_anywhere_in_the_swaps_of_two_images() {
    let [first, second, _] = layouts();
    let (old, new) =
        ([first, second].map(|l| image(1, l.slot as usize)), [first, second].map(|l| image(2, l.slot as usize)));
    let mut before = [first, second].map(Nor::new);
    for (n, nor) in before.iter_mut().enumerate() {
        nor.primary[..old[n].len()].copy_from_slice(&old[n]);
        nor.staging.copy_from_slice(&new[n]);
    }
    for wanted in [0b11, 0b10, 0b11] {
        let mut after = before.clone();
        bring_all(&mut after, wanted, u64::MAX).unwrap();
        let whole: u64 = after.iter().map(|nor| nor.done).sum::<u64>() - before.iter().map(|nor| nor.done).sum::<u64>();
        for cut in 1..=whole {
            let mut torn = before.clone();
            torn.iter_mut().for_each(|nor| nor.rng = Rng::new(cut));
            assert_eq!(bring_all(&mut torn, wanted, cut), Err(Cut));
            // What was begun is ended, or is not what is wanted any more.
            for slots in [wanted, 0] {
                let mut mended = torn.clone();
                bring_all(&mut mended, slots, u64::MAX).unwrap();
                for (n, nor) in mended.iter().enumerate() {
                    let expected = if slots >> n & 1 == 0 { (&old[n], &new[n]) } else { (&new[n], &old[n]) };
                    assert_eq!(nor.holds(), (&expected.0[..], &expected.1[..]), "image {n}, cut at {cut}");
                }
            }
        }
        before = after;
    }
}

/// The firmware of such a device: the update machine, whose slots are both the staging area.
struct Device {
    nor: Nor,
    now: u64,
    update: Update<'static>,
    states: Vec<State>,
}

const LAYOUT: Layout = Layout { slot: 2048, erase: 256, write: 8 };
/// Of the journal.
const PAGE: usize = 256;

impl Device {
    fn power_on(mut nor: Nor) -> Self {
        let (first, second) = nor.journal.split_at(PAGE);
        let decision = boot::decide([first, second], 0);
        nor.mend(decision.slots);
        if let Some(note) = decision.note {
            let page = usize::from(note.page) * PAGE;
            if note.erase.is_some() {
                nor.journal[page..page + PAGE].fill(0xFF);
            }
            nor.journal[page + note.offset as usize..][..note.bytes.len()].copy_from_slice(&note.bytes);
        }
        let keys: &'static _ = Box::leak(Box::new([flash::key()]));
        let mut config = Config::new(VENDOR, CLASS, keys, decision.slots, [LAYOUT.slot, LAYOUT.erase, LAYOUT.write]);
        config.verifier = &Credulous;
        let mut device = Self { nor, now: 0, update: Update::new(config, vec![0; 512]), states: vec![] };
        device.update.start(Instant::ZERO).unwrap();
        device.drain();
        device
    }

    fn area(&mut self, area: Area, offset: u32, len: usize) -> &mut [u8] {
        let area = match area {
            Area::Journal => &mut self.nor.journal,
            Area::Slot { .. } => &mut self.nor.staging,
            Area::Keys => panic!("no keys are replaced"),
        };
        &mut area[offset as usize..][..len]
    }

    fn drain(&mut self) {
        loop {
            self.now += 1000;
            let now = Instant::from_micros(self.now);
            let mut out = [0; 128];
            let Output::Event(event) = self.update.poll_output(now, &mut out) else { return };
            match event {
                Event::Load { area, offset, len } => {
                    let bytes = self.area(area, offset, len as usize).to_vec();
                    self.update.loaded(now, &bytes).unwrap();
                }
                Event::Erase { area, offset, len } => {
                    self.area(area, offset, len as usize).fill(0xFF);
                    self.update.done(now).unwrap();
                }
                Event::Record { offset, bytes } => {
                    self.area(Area::Journal, offset, bytes.len()).copy_from_slice(bytes);
                    self.update.done(now).unwrap();
                }
                Event::Activate { .. } => self.update.done(now).unwrap(),
                Event::State(state) => self.states.push(state),
                Event::Store { .. } | Event::Fetch { .. } | Event::Report(_) => {}
            }
        }
    }

    /// Installs a release as far as the reboot into its trial.
    fn install(mut self, sequence: u64, image: &[u8]) -> Self {
        self.update.announce(Instant::from_micros(self.now), &envelope(sequence, image)).unwrap();
        self.drain();
        while let Some(wanted) = self.update.wanted() {
            let from = wanted.offset as usize;
            let now = Instant::from_micros(self.now);
            let handled = self.update.data(now, wanted.offset, &image[from..]).unwrap();
            let Some(Event::Store { area, offset, bytes }) = handled.event else { panic!("it takes nothing") };
            self.area(area, offset, bytes.len()).copy_from_slice(bytes);
            self.update.done(now).unwrap();
            self.drain();
        }
        assert_eq!(self.update.state(), State::Ready);
        assert!(self.nor.staging.starts_with(image));
        let device = Self::power_on(self.nor);
        assert_eq!(device.update.state(), State::Trial);
        assert!(device.nor.primary.starts_with(image));
        device
    }
}

#[test]
fn what_is_tried_runs_in_its_place_and_what_ran_before_is_kept_until_it_is_confirmed() {
    let releases: Vec<_> = (0..6).map(|n| image(n, if n == 0 { 500 } else { 1500 + 90 * n as usize })).collect();
    let mut device = Device::power_on(Nor::new(LAYOUT));
    let mut running = 0;
    for (n, good) in [(1, true), (2, false), (3, true), (4, true), (5, false)] {
        device = device.install(n, &releases[n as usize]);
        assert!(device.nor.staging.starts_with(&releases[running]), "release {running} is not there to go back to");
        let now = Instant::from_micros(device.now);
        if good {
            device.update.confirm(now).unwrap();
            running = n as usize;
        } else {
            device.update.reject(now).unwrap();
        }
        device.drain();
        device = Device::power_on(device.nor);
        let expected = if good { State::Confirmed } else { State::Reverted };
        assert_eq!(device.update.state(), expected, "release {n}");
        assert!(device.nor.primary.starts_with(&releases[running]), "release {n}");
        assert_eq!(device.update.floor(), running as u64);
    }
}

#[test]
fn an_image_that_hangs_gives_way_to_the_one_before_it() {
    let releases = [image(0, 500), image(1, 1900)];
    let mut device = Device::power_on(Nor::new(LAYOUT)).install(1, &releases[1]);
    for _ in 0..2 {
        device = Device::power_on(device.nor);
        assert_eq!(device.update.state(), State::Trial);
    }
    device = Device::power_on(device.nor);
    assert_eq!(device.update.state(), State::Reverted);
    assert!(device.nor.primary.starts_with(&releases[0]));
}

#[test]
fn pages_that_are_too_short_are_not_guessed_from() {
    let layout = layouts()[0];
    let page = vec![0xFF; layout.status_len() as usize - 1];
    assert_eq!(staging::step([&page, &page], 0, &layout), Err(Misuse::OutOfRange));
}
