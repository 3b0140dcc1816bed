/* A release is signed, chosen a way for, refused where it must be, and taken through to its confirmation, with flash in memory. */
#include "test.h"

enum { PAGE = 4096, SLOT = 4 * PAGE, IMAGE = 10000 };
static const uint8_t SEED[32] = {1, 2, 3};
static uint8_t image[IMAGE], journal[2 * PAGE], slots[3][2][SLOT], envelope[1024];
static size_t envelope_len;
static waft_key_t key;
static waft_update_t update;
static uint8_t memory[WAFT_KEY_SIZE + 1024];
static uint8_t running, activated;
static int stores, images; /* how many the device has beside its firmware */

static waft_release_t release(uint64_t sequence) {
    waft_release_t r;
    waft_bytes_t bytes = {image, sizeof image};
    memset(&r, 0, sizeof r);
    r.sequence = sequence;
    memset(r.vendor, 1, 16);
    memset(r.class_id, 2, 16);
    OK(waft_sha256(bytes, r.image_digest));
    r.image_size = sizeof image;
    r.uri = WAFT_STR("image/x");
    r.version = WAFT_STR("1.2.0-rc.3");
    r.kind = WAFT_TYPE_SECURITY;
    r.severity = WAFT_SEVERITY_LOW;
    return r;
}

static waft_bytes_t sign(const waft_release_t *r) {
    OK(waft_release_sign(r, SEED, envelope, sizeof envelope, &envelope_len));
    waft_bytes_t bytes = {envelope, envelope_len};
    return bytes;
}

static void what_is_signed_is_verified(void) {
    waft_release_t r = release(7);
    r.chunk = 2048;
    r.language = WAFT_STR("en");
    r.description = WAFT_STR("closes a hole");
    waft_bytes_t bytes = sign(&r);
    waft_manifest_t m;
    OK(waft_manifest_verify(bytes, &key, 1, &m));
    CHECK(m.sequence == 7 && m.image_size == IMAGE && m.chunk == 2048);
    CHECK(m.kind == WAFT_TYPE_SECURITY && m.severity == WAFT_SEVERITY_LOW);
    CHECK(memcmp(m.vendor, r.vendor, 16) == 0 && memcmp(m.class_id, r.class_id, 16) == 0);
    CHECK(memcmp(m.image_digest, r.image_digest, 32) == 0 && strcmp((const char *)m.version, "1.2.0-rc.3") == 0);
    CHECK(m.uri.len == 7 && memcmp(m.uri.data, "image/x", 7) == 0);

    /* Exactly enough room, and a byte less; the same bytes each time. */
    static uint8_t again[sizeof envelope];
    size_t len = 77;
    CHECK(waft_release_sign(&r, SEED, again, envelope_len - 1, &len) == WAFT_ERROR_BUFFER && len == 77);
    OK(waft_release_sign(&r, SEED, again, envelope_len, &len));
    CHECK(len == envelope_len && memcmp(again, envelope, len) == 0);

    /* What is no release. */
    static const uint8_t zeros[32];
    CHECK(waft_release_sign(NULL, SEED, again, sizeof again, &len) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_release_sign(&r, NULL, again, sizeof again, &len) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_release_sign(&r, zeros, again, sizeof again, &len) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_release_sign(&r, SEED, NULL, sizeof again, &len) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_release_sign(&r, SEED, again, sizeof again, NULL) == WAFT_ERROR_NULL_POINTER);
    r.uri = WAFT_STR("a b");
    CHECK(waft_release_sign(&r, SEED, again, sizeof again, &len) == WAFT_ERROR_INVALID_URI);
    r = release(7);
    r.version = WAFT_STR("one");
    CHECK(waft_release_sign(&r, SEED, again, sizeof again, &len) == WAFT_ERROR_INVALID_STRING);
    r = release(7);
    r.severity = 3;
    CHECK(waft_release_sign(&r, SEED, again, sizeof again, &len) == WAFT_ERROR_OUT_OF_RANGE);
    r = release(7);
    r.device = (waft_bytes_t){SEED, 15};
    CHECK(waft_release_sign(&r, SEED, again, sizeof again, &len) == WAFT_ERROR_OUT_OF_RANGE);
    waft_key_t none;
    CHECK(waft_secret_key_public(NULL, &none) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_secret_key_public(SEED, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_secret_key_public(zeros, &none) == WAFT_ERROR_OUT_OF_RANGE);

    /* Verifying. */
    waft_key_t many[WAFT_VERIFY_KEYS + 1];
    memset(many, 0, sizeof many);
    CHECK(waft_manifest_verify(bytes, many, WAFT_VERIFY_KEYS + 1, &m) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_manifest_verify(bytes, NULL, 1, &m) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_manifest_verify(bytes, NULL, 0, &m) == WAFT_ERROR_UPDATE_UNKNOWN_KEY);
    CHECK(waft_manifest_verify(bytes, &key, 1, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_sha256(bytes, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_ed25519_verify(NULL, bytes, bytes) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_ed25519_verify(&key, bytes, bytes) == WAFT_ERROR_UPDATE_SIGNATURE);
}

static void the_policy_chooses(void) {
    static const uint8_t always_c[2][3] = {{WAFT_CHOICE_C, WAFT_CHOICE_C, WAFT_CHOICE_C},
                                           {WAFT_CHOICE_A, WAFT_CHOICE_B, WAFT_CHOICE_CHEAPER}};
    static const uint8_t wrong[2][3] = {{9, 0, 0}, {0, 0, 0}};
    uint8_t model = 77;
    for (uint8_t kind = 0; kind < 2; kind++) {
        OK(waft_policy_choose(NULL, kind, WAFT_SEVERITY_HIGH, 9, 1, &model));
        CHECK(model == WAFT_MODEL_A);
        OK(waft_policy_choose(NULL, kind, WAFT_SEVERITY_MEDIUM, 1, 9, &model));
        CHECK(model == WAFT_MODEL_B);
        OK(waft_policy_choose(NULL, kind, WAFT_SEVERITY_LOW, 1, 9, &model));
        CHECK(model == WAFT_MODEL_A);
        OK(waft_policy_choose(NULL, kind, WAFT_SEVERITY_LOW, 9, 1, &model));
        CHECK(model == WAFT_MODEL_B);
    }
    OK(waft_policy_choose(always_c, WAFT_TYPE_SOFTWARE, WAFT_SEVERITY_HIGH, 1, 1, &model));
    CHECK(model == WAFT_MODEL_C);
    OK(waft_policy_choose(always_c, WAFT_TYPE_SECURITY, WAFT_SEVERITY_HIGH, 1, 1, &model));
    CHECK(model == WAFT_MODEL_A);
    CHECK(waft_policy_choose(wrong, 0, 0, 1, 1, &model) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_policy_choose(NULL, 2, 0, 1, 1, &model) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_policy_choose(NULL, 0, 3, 1, 1, &model) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_policy_choose(NULL, 0, 0, 1, 1, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(model == WAFT_MODEL_A);
}

static void boot(void) {
    waft_update_config_t config;
    OK(waft_update_defaults(&config));
    memset(config.vendor, 1, 16);
    memset(config.class_id, 2, 16);
    config.keys = &key;
    config.key_count = 1;
    config.slot_size = SLOT;
    for (int n = 0; n < images; n++) config.more_slots[n] = SLOT;
    config.running = running;
    CHECK(waft_update_init(&update, sizeof update - 1, &config, memory, sizeof memory) == WAFT_ERROR_BAD_STORAGE);
    CHECK(waft_update_init(&update, sizeof update, &config, memory, WAFT_KEY_SIZE / 2) == WAFT_ERROR_BUFFER);
    OK(waft_update_init(&update, sizeof update, &config, memory, sizeof memory));
    OK(waft_update_start(&update, 0));
}

static uint8_t *place(const waft_update_event_t *event, size_t len) {
    const uint8_t area = event->area, n = event->image;
    CHECK(area <= WAFT_AREA_JOURNAL && n <= images);
    CHECK(event->offset + len <= (area == WAFT_AREA_JOURNAL ? sizeof journal : sizeof slots[0][0]));
    if (area == WAFT_AREA_JOURNAL) return journal + event->offset;
    CHECK(area != (running >> n & 1));
    return slots[n][area] + event->offset;
}

static void flash(const waft_update_event_t *event) {
    switch (event->kind) {
    case WAFT_UPDATE_EVENT_LOAD: {
        waft_bytes_t bytes = {place(event, event->len), event->len};
        OK(waft_update_loaded(&update, 0, bytes));
        break;
    }
    case WAFT_UPDATE_EVENT_ERASE:
        memset(place(event, event->len), 0xff, event->len);
        OK(waft_update_done(&update, 0));
        break;
    case WAFT_UPDATE_EVENT_STORE:
    case WAFT_UPDATE_EVENT_RECORD:
        memcpy(place(event, event->bytes.len), event->bytes.data, event->bytes.len);
        stores += event->kind == WAFT_UPDATE_EVENT_STORE;
        OK(waft_update_done(&update, 0));
        break;
    case WAFT_UPDATE_EVENT_ACTIVATE:
        activated = event->slots;
        OK(waft_update_done(&update, 0));
        break;
    default:
        break;
    }
}

/* Does what the update asks for until it asks for nothing. */
static void settle(void) {
    for (;;) {
        uint8_t buffer[128];
        waft_output_t output;
        waft_update_event_t event;
        OK(waft_update_poll_output(&update, 0, buffer, sizeof buffer, &output, &event));
        CHECK(output.kind == WAFT_OUTPUT_EVENT || output.kind == WAFT_OUTPUT_TIMEOUT);
        if (output.kind == WAFT_OUTPUT_TIMEOUT) return;
        flash(&event);
    }
}

static waft_update_status_t status(void) {
    waft_update_status_t s;
    OK(waft_update_status(&update, &s));
    return s;
}

/* Delivers the image from where it is wanted up to `end`. */
static void deliver(uint32_t end) {
    int idle = 0;
    for (uint32_t at = status().have; at < end && idle < 3;) {
        waft_bytes_t bytes = {image + at, end - at < 700 ? end - at : 700};
        waft_handled_t handled;
        waft_update_event_t event;
        OK(waft_update_data(&update, 0, at, bytes, &handled, &event));
        at += (uint32_t)handled.consumed;
        idle = handled.consumed || event.kind ? 0 : idle + 1;
        flash(&event);
        settle();
    }
}

/* What a bootloader does with its decision. */
static void jump(const waft_boot_t *decision) {
    if (decision->note) {
        if (decision->note_erase != WAFT_NO_PAGE) memset(journal + decision->note_erase * PAGE, 0xff, PAGE);
        memcpy(journal + decision->note_page * PAGE + decision->note_offset, decision->note_bytes,
               sizeof decision->note_bytes);
    }
    running = decision->slots;
}

static void an_image_is_taken_and_a_reboot_forgets_little(void) {
    boot();
    settle();
    waft_release_t r = release(7);
    waft_bytes_t good = sign(&r);
    /* Refused: another class, a bit of the signature. Nothing changes. */
    static uint8_t bad[sizeof envelope];
    waft_bytes_t forged = {bad, envelope_len};
    memcpy(bad, envelope, envelope_len);
    bad[100] ^= 1;
    CHECK(waft_update_announce(&update, 0, forged) <= -96);
    r.class_id[0] = 9;
    CHECK(waft_update_announce(&update, 0, sign(&r)) == WAFT_ERROR_UPDATE_CLASS);
    CHECK(status().state == WAFT_STATE_IDLE);
    r = release(7);
    good = sign(&r);
    OK(waft_update_announce(&update, 0, good));
    settle();
    CHECK(status().state == WAFT_STATE_FETCHING && status().size == IMAGE);
    waft_manifest_t m;
    OK(waft_update_manifest(&update, &m));
    CHECK(m.sequence == 7);

    deliver(6000);
    uint32_t had = status().have;
    boot();
    settle();
    OK(waft_update_announce(&update, 0, sign(&r)));
    settle();
    CHECK(status().state == WAFT_STATE_FETCHING && status().have > 0 && status().have <= had);
    CHECK(had - status().have <= PAGE);
    deliver(IMAGE);
    settle();
    CHECK(activated && stores > 0);

    /* The bootloader says where to go; the new image is tried and confirmed. */
    waft_boot_t decision;
    waft_bytes_t pages[2] = {{journal, PAGE}, {journal + PAGE, PAGE}};
    OK(waft_boot_decide(pages[0], pages[1], 0, &decision));
    CHECK(decision.slots == 1 && decision.active == 0 && decision.trial && decision.image_size == IMAGE);
    CHECK(decision.image == 0 && memcmp(slots[0][1], image, IMAGE) == 0);
    jump(&decision);
    boot();
    settle();
    CHECK(status().state == WAFT_STATE_TRIAL && status().floor < 7);
    OK(waft_update_confirm(&update, 0));
    settle();
    CHECK(status().state == WAFT_STATE_CONFIRMED && status().active_slots == 1);
    r = release(6);
    CHECK(waft_update_announce(&update, 0, sign(&r)) == WAFT_ERROR_UPDATE_ROLLBACK);
}

/* An envelope of `../vectors/suit`, and who signed it. */
static waft_bytes_t vector(const char *path) {
    /* RFC 8032 §7.1 TEST 1. */
    static const uint8_t seed[32] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
                                     0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
                                     0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    unsigned byte;
    for (envelope_len = 0; fscanf(file, "%2x", &byte) == 1; envelope_len++) {
        CHECK(envelope_len < sizeof envelope);
        envelope[envelope_len] = (uint8_t)byte;
    }
    fclose(file);
    OK(waft_secret_key_public(seed, &key));
    waft_bytes_t bytes = {envelope, envelope_len};
    return bytes;
}

static void several_images_become_active_together(void) {
    static const char radio[] = "for the radio";
    waft_key_t ours = key;
    waft_boot_t decision;
    waft_update_event_t event;
    waft_handled_t handled;
    waft_bytes_t pages[2] = {{journal, PAGE}, {journal + PAGE, PAGE}}, uri;
    waft_bytes_t release = vector("../vectors/suit/waft-parts.suit.hex");
    const waft_bytes_t for_the_radio = {(const uint8_t *)radio, sizeof radio - 1};
    memset(journal, 0xff, sizeof journal);
    running = 0;
    /* A device that has but one of the two other images takes none of it. */
    images = 1;
    boot();
    settle();
    CHECK(waft_update_announce(&update, 0, release) == WAFT_ERROR_UPDATE_COMPONENT);
    images = 2;
    boot();
    settle();
    OK(waft_update_announce(&update, 0, release));
    settle();
    CHECK(status().state == WAFT_STATE_FETCHING && status().image == 0 && status().size == 1000);
    memset(image, 5, 1000);
    deliver(1000);
    CHECK(status().state == WAFT_STATE_FETCHING && status().image == 1 && status().have == 0);
    OK(waft_update_payload(&update, &uri));
    CHECK(uri.len == 11 && memcmp(uri.data, "image/radio", 11) == 0);
    OK(waft_boot_decide(pages[0], pages[1], 0, &decision));
    CHECK(decision.slots == 0 && !decision.trial);
    /* The second image is fetched, the third is in the envelope. */
    OK(waft_update_data(&update, 0, 0, for_the_radio, &handled, &event));
    CHECK(event.kind == WAFT_UPDATE_EVENT_STORE && event.image == 1 && event.area == WAFT_AREA_SLOT1);
    flash(&event);
    settle();
    CHECK(status().state == WAFT_STATE_READY && activated == 7);
    OK(waft_boot_decide(pages[0], pages[1], 0, &decision));
    CHECK(decision.slots == 7 && decision.active == 0 && decision.trial);
    CHECK(decision.image == 0 && decision.image_size == 1000 && memcmp(slots[0][1], image, 1000) == 0);
    CHECK(memcmp(slots[1][1], radio, for_the_radio.len) == 0 && memcmp(slots[2][1], radio, for_the_radio.len) == 0);
    jump(&decision);
    boot();
    settle();
    CHECK(status().state == WAFT_STATE_TRIAL);
    OK(waft_update_confirm(&update, 0));
    settle();
    CHECK(status().state == WAFT_STATE_CONFIRMED && status().active_slots == 7 && status().floor == 7);

    /* And then one without the firmware: that image alone changes its slot. */
    release = vector("../vectors/suit/waft-image.suit.hex");
    OK(waft_update_announce(&update, 0, release));
    settle();
    CHECK(status().state == WAFT_STATE_FETCHING && status().image == 1 && status().size == for_the_radio.len);
    OK(waft_update_data(&update, 0, 0, for_the_radio, &handled, &event));
    CHECK(event.kind == WAFT_UPDATE_EVENT_STORE && event.image == 1 && event.area == WAFT_AREA_SLOT0);
    flash(&event);
    settle();
    CHECK(status().state == WAFT_STATE_READY && activated == 5);
    OK(waft_boot_decide(pages[0], pages[1], 0, &decision));
    CHECK(decision.slots == 5 && decision.active == 7 && decision.trial);
    jump(&decision);
    boot();
    settle();
    OK(waft_update_confirm(&update, 0));
    settle();
    CHECK(status().state == WAFT_STATE_CONFIRMED && status().active_slots == 5 && status().floor == 8);
    CHECK(memcmp(slots[0][1], image, 1000) == 0 && memcmp(slots[1][0], radio, for_the_radio.len) == 0);
    images = 0;
    key = ours;
}

/* Lets time pass to when the update wants to be called. */
static void wait_for_it(uint64_t *now) {
    uint64_t at = waft_update_next_timeout(&update);
    CHECK(at != WAFT_NEVER && at > *now);
    *now = at;
    OK(waft_update_handle_timeout(&update, at));
    settle();
}

static void what_comes_to_nothing_is_tried_again_later(void) {
    uint64_t now = 0;
    waft_release_t r = release(9);
    running = 1; /* as it was left */
    boot();
    settle();
    OK(waft_update_announce(&update, now, sign(&r)));
    settle();
    CHECK(status().state == WAFT_STATE_FETCHING && status().attempts == 0);
    for (uint8_t n = 1; n <= 3; n++) {
        const uint64_t full = 60000000ull << (n - 1), before = now;
        OK(waft_update_unreachable(&update, now));
        settle();
        CHECK(status().state == WAFT_STATE_DEFERRED && status().attempts == n);
        CHECK(status().reason == WAFT_ERROR_UPDATE_UNREACHABLE);
        CHECK(waft_update_unreachable(&update, now) == WAFT_ERROR_WRONG_STATE);
        wait_for_it(&now);
        CHECK(now - before >= full / 2 && now - before <= full && status().state == WAFT_STATE_FETCHING);
    }
    /* A reboot forgets nothing of it: the fourth try, too, brought nothing. */
    boot();
    settle();
    OK(waft_update_announce(&update, 0, sign(&r)));
    settle();
    CHECK(status().state == WAFT_STATE_DEFERRED && status().attempts == 4);
    OK(waft_update_resume(&update, 0));
    settle();
    deliver(IMAGE);
    settle();
    CHECK(status().state == WAFT_STATE_READY && status().attempts == 0);
}

static void misuse_is_refused(void) {
    static waft_update_t blank;
    waft_update_config_t config;
    waft_update_status_t s;
    waft_update_event_t event;
    waft_output_t output;
    waft_handled_t handled;
    waft_manifest_t m;
    uint8_t buffer[128];
    const waft_bytes_t nothing = {NULL, 0}, wild = {NULL, 1};
    OK(waft_update_defaults(&config));
    CHECK(waft_update_defaults(NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_update_init(NULL, sizeof blank, &config, memory, sizeof memory) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_update_init(&blank, sizeof blank, NULL, memory, sizeof memory) == WAFT_ERROR_NULL_POINTER);
    for (int n = 0; n < 2; n++) {
        waft_update_t *bad = n ? &blank : NULL;
        int32_t expected = n ? WAFT_ERROR_BAD_HANDLE : WAFT_ERROR_NULL_POINTER;
        CHECK(waft_update_start(bad, 0) == expected);
        CHECK(waft_update_announce(bad, 0, nothing) == expected);
        CHECK(waft_update_data(bad, 0, 0, nothing, &handled, &event) == expected);
        CHECK(waft_update_done(bad, 0) == expected);
        CHECK(waft_update_loaded(bad, 0, nothing) == expected);
        CHECK(waft_update_failed(bad, 0) == expected);
        CHECK(waft_update_defer(bad, 0, 1) == expected);
        CHECK(waft_update_veto(bad, 0) == expected);
        CHECK(waft_update_resume(bad, 0) == expected);
        CHECK(waft_update_cancel(bad, 0) == expected);
        CHECK(waft_update_unreachable(bad, 0) == expected);
        CHECK(waft_update_confirm(bad, 0) == expected);
        CHECK(waft_update_reject(bad, 0) == expected);
        CHECK(waft_update_status(bad, &s) == expected);
        CHECK(waft_update_manifest(bad, &m) == expected);
        CHECK(waft_update_handle_timeout(bad, 0) == expected);
        CHECK(waft_update_poll_output(bad, 0, buffer, sizeof buffer, &output, &event) == expected);
        CHECK(waft_update_next_timeout(bad) == WAFT_NEVER);
    }
    CHECK(waft_update_announce(&update, 0, wild) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_update_data(&update, 0, 0, wild, &handled, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_update_data(&update, 0, 0, nothing, NULL, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_update_status(&update, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_update_confirm(&update, 0) == WAFT_ERROR_WRONG_STATE);
    CHECK(waft_update_done(&update, 0) == WAFT_ERROR_WRONG_STATE);
    CHECK(waft_boot_decide(nothing, nothing, 0, NULL) == WAFT_ERROR_NULL_POINTER);
}

int main(void) {
    for (size_t n = 0; n < sizeof image; n++) image[n] = (uint8_t)(n * 31 + n / 255);
    memset(journal, 0xff, sizeof journal);
    memset(slots, 0xff, sizeof slots);
    OK(waft_secret_key_public(SEED, &key));
    what_is_signed_is_verified();
    the_policy_chooses();
    an_image_is_taken_and_a_reboot_forgets_little();
    what_comes_to_nothing_is_tried_again_later();
    several_images_become_active_together();
    misuse_is_refused();
    puts("test_update: ok");
    return 0;
}
