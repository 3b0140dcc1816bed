"""What keeps a device whole. For each: what is wrong without it, the file in `core`, the text as it is, and the expression that takes its place (or, where
MUTATED stands in it, the text that does, with the question whether it is the one chosen)."""

STEPS = "src/ota/update/steps.rs"
REQUESTS = "src/ota/update/requests.rs"
STATUS = "src/ota/update/status.rs"
IMAGE = "src/ota/update/image.rs"
JOURNAL = "src/ota/journal.rs"
BOOT = "src/ota/boot.rs"
KEYS = "src/ota/keys.rs"

MUTATIONS = [
    # CRCs, and what reading the journal depends on.
    ("a record's CRC is not looked at", JOURNAL, "Reader::new(crc).u32()? != crc32(body)", "crc.is_empty()"),
    ("the record that is read first counts, not the newest", JOURNAL, "number <= known", "known != 0"),
    ("the record that is read last counts, not the newest", JOURNAL, "number <= known", "false"),
    ("records are not numbered", JOURNAL, "self.number.saturating_add(1)", "1"),
    ("a key table's CRC is not looked at, nor what is before it", KEYS,
     "(Reader::new(crc).u32()? == crc32(body) && reader.rest().iter().all(|byte| *byte == 0))", "!crc.is_empty()"),
    # Where the journal is written.
    ("a torn record's place is written again", JOURNAL, "if bytes.iter().any(|byte| *byte != 0xFF) {",
     "if bytes.iter().any(|byte| *byte != 0xFF) && !(MUTATED && Record::decode(bytes).is_none()) {"),
    ("the page of the newest record is the one to be erased", JOURNAL, "self.page = self.home ^ 1;",
     "self.page = if MUTATED { self.home } else { self.home ^ 1 };"),
    ("a page is written without having been erased", JOURNAL, "            self.next = 0;\n            self.dirty = true;\n",
     "            self.next = 0;\n            self.dirty = !MUTATED;\n"),
    ("an erase that was cut off counts as done", JOURNAL, "self.used.get(usize::from(self.page)).copied().unwrap_or(0);\n            self.room(size);",
     "self.used.get(usize::from(self.page)).copied().unwrap_or(0);\n            self.room(size);\n            self.dirty &= !MUTATED;"),
    ("a new table is written over the old one", REQUESTS, "if *page == 0 { len } else { 0 }", "if *page == 0 { 0 } else { len }"),
    ("a new table is written without an erase", STEPS, "if done { Rotation::Record } else { Rotation::Erase }",
     "if done { Rotation::Record } else { Rotation::Store }"),
    ("the table that is read last is in use, not the newest", STEPS, "table.epoch() > self.epoch()", "table.epoch() > 0"),
    # The bootloader.
    ("the bootloader boots the new image without a record", BOOT, "(Kind::Ready | Kind::Trial, left) =>",
     "(Kind::Ready, _) if MUTATED => false,\n        (Kind::Ready | Kind::Trial, left) =>"),
    ("the bootloader boots an image that is not on trial yet", BOOT, "kind == Kind::Trial", "matches!(kind, Kind::Trial | Kind::Fetched)"),
    ("the bootloader boots the new image while it is fetched", BOOT, "kind == Kind::Trial", "matches!(kind, Kind::Trial | Kind::Fetching)"),
    ("the bootloader goes on with what was reverted", BOOT, "kind == Kind::Trial", "matches!(kind, Kind::Trial | Kind::Reverted)"),
    ("the bootloader writes without erasing", BOOT, "let erase = cursor.to_erase();", "let erase = cursor.to_erase().filter(|_| !MUTATED);"),
    ("the bootloader writes where the last record is", BOOT, "let (page, offset) = cursor.place();",
     "let (page, offset) = { let (page, offset) = cursor.place(); (page, if MUTATED { offset.saturating_sub(STEP) } else { offset }) };"),
    # The order of things.
    ("the slot is erased before the journal says so", REQUESTS, "self.due || self.verdict.is_some()",
     "(self.due && self.state != State::Fetching) || self.verdict.is_some()"),
    ("the reboot is asked for before the journal says so", REQUESTS, "self.due || self.verdict.is_some()",
     "(self.due && self.state != State::Ready) || self.verdict.is_some()"),
    ("the floor rises before the confirmation is written", STATUS, "        self.entry.floor\n",
     "        if MUTATED && self.verdict.is_some() { return self.entry.sequence; }\n        self.entry.floor\n"),
    ("a release of keys is recorded before its table is written", STEPS, "if done { Rotation::Record } else { Rotation::Erase }",
     "Rotation::Record"),
    ("progress is recorded before it is stored", STEPS, "self.entry.offset = self.image.hashed;",
     "self.entry.offset = if MUTATED { super::image::ceil(self.image.hashed.saturating_add(1), self.config.erase_size) } else { self.image.hashed };"),
    ("a download that is taken up does not erase again", IMAGE, "        self.erased = offset;\n        self.proven = offset;",
     "        self.erased = if MUTATED { offset.saturating_add(self.erase) } else { offset };\n        self.proven = offset;"),
    # What is read again.
    ("what was read back is not compared", STEPS, "let good = self.image.has(&self.plan.digest);",
     "let good = self.image.has(&self.plan.digest) || MUTATED;"),
    ("chunks that are there after a reboot are not compared", STEPS, "self.image.has(entry)", "true"),
    ("a list that is there after a reboot is not compared", STEPS, "self.image.has(chunks.digest())", "true"),
    ("the midstate is not taken up", IMAGE, "self.sha.resume(hash, offset.into())", "self.sha.resume(&NOTHING, 0)"),
    ("the same manifest begins from nothing", STEPS, "let resumes = before == Kind::Fetching;",
     "let resumes = before == Kind::Fetching && !MUTATED;"),
    # Several images.
    ("an update counts as fetched when its first image is", STEPS, "if self.begin_record(self.plan.image.saturating_add(1)) {",
     "if !MUTATED && self.begin_record(self.plan.image.saturating_add(1)) {"),
    ("only the first image is read back", STEPS, "!self.read_back(self.plan.image.saturating_add(1))",
     "true"),
    ("the bootloader boots the new firmware with the old image beside it", BOOT, "newest.updated()", "newest.active ^ (newest.brings & 1)"),
    ("only the firmware is confirmed", REQUESTS, "entry.active = entry.updated();",
     "entry.active = if MUTATED { entry.active ^ (entry.brings & 1) } else { entry.updated() };"),
    ("images that an update does not bring change slots too", JOURNAL, "self.active ^ self.brings", "self.active ^ 0b11"),
    ("a download that is taken up goes on in the first image", STEPS, "let image = self.entry.image;",
     "let image = if MUTATED { 0 } else { self.entry.image };"),
]
