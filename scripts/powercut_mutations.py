"""What keeps a device whole. For each: what is wrong without it, the file in `core`, the text as it is, and the expression that takes its place (or, where
MUTATED stands in it, the text that does, with the question whether it is the one chosen)."""

UPDATE = "src/ota/update.rs"
STEPS = "src/ota/update/steps.rs"
REQUESTS = "src/ota/update/requests.rs"
IMAGE = "src/ota/update/image.rs"
JOURNAL = "src/ota/journal.rs"
BOOT = "src/ota/boot.rs"

MUTATIONS = [
    # CRCs and what reading the journal depends on.
    ("a record's CRC is not looked at", JOURNAL, "Reader::new(crc).u32()? != crc32(body)", "crc.is_empty()"),
    ("a record has no CRC", JOURNAL, "Some(crc) = bytes.first_chunk::<BODY>().map(|body| crc32(body))",
     "Some(crc) = bytes.first_chunk::<BODY>().map(|body| if MUTATED { 0 } else { crc32(body) })"),
    ("the record that is read first counts, not the newest", JOURNAL, "record.number <= self.number", "self.number != 0"),
    ("the record that is read last counts, not the newest", JOURNAL, "record.number <= self.number ", "false"),
    ("records are not numbered", JOURNAL, "self.number.saturating_add(1)", "1"),
    # Where the journal is written.
    ("a torn record's place is written again", JOURNAL, "(*used).max(offset.saturating_add(STEP))",
     "if Record::decode(bytes).is_some() { (*used).max(offset.saturating_add(STEP)) } else { *used }"),
    ("the page of the newest record is the one to be erased", JOURNAL, "self.home ^ 1", "self.home"),
    ("a page is written without having been erased", JOURNAL, "            self.dirty = true;\n",
     "            self.dirty = !MUTATED;\n"),
    ("a page whose erase was cut off counts as erased", JOURNAL, "pub const NEW: Self = Self { home: 1, page: 0, next: 0, dirty: true,",
     "pub const NEW: Self = Self { home: 1, page: 0, next: 0, dirty: false,"),
    # The bootloader.
    ("the bootloader boots the new image without a record", BOOT, "(Kind::Ready | Kind::Trial, left) => Some(",
     "(Kind::Ready, _) if MUTATED => None,\n        (Kind::Ready | Kind::Trial, left) => Some("),
    ("the bootloader goes back without a record", BOOT, "(Kind::Ready | Kind::Trial, 0) =>", "(Kind::Ready | Kind::Trial, 0) if !MUTATED =>"),
    ("the bootloader boots the old image in a trial", BOOT, "if trial { newest.target() } else { newest.active }", "newest.active"),
    ("the bootloader writes without erasing", BOOT, "let erase = cursor.to_erase();", "let erase = cursor.to_erase().filter(|_| !MUTATED);"),
    ("the bootloader writes where the last record is", BOOT, "let (page, offset) = cursor.place();",
     "let (page, offset) = { let (page, offset) = cursor.place(); (page, if MUTATED { offset.saturating_sub(STEP) } else { offset }) };"),
    # The order of things.
    ("the slot is erased before the journal says so", UPDATE, "if self.due || self.verdict.is_some() {",
     "if (self.due && !(MUTATED && self.state == State::Fetching)) || self.verdict.is_some() {"),
    ("the reboot is asked for before the journal says so", REQUESTS, "                self.reboot = Reboot::Wanted;\n            }\n            State::Ready |",
     "                self.reboot = Reboot::Wanted;\n                self.due = !MUTATED;\n            }\n            State::Ready |"),
    ("what was fetched is not read back", STEPS, "Some(_) if self.never => {}", "x"),
]
MUTATIONS.pop()
