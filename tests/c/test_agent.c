/* What an agent is told of its device reaches its update: turns, windows, the battery, times, the version, its own UUID. */
#include "test.h"

enum { PAGE = 4096, SLOT = 4 * PAGE, IMAGE = 10000 };
static const uint8_t SEED[32] = {1, 2, 3};
static uint8_t image[IMAGE], flash[4 * PAGE + 2 * SLOT], memory[WAFT_AGENT_MEMORY], envelope[1024];
static waft_key_t key;
static waft_agent_t agent;
static uint64_t now;
static int links; /* opened */
static uint8_t told[WAFT_REPORT_MAX]; /* the report that was sent last */
static size_t told_len;

/* An agent whose update is as `change` wants it, over empty flash. */
static void power_on(void (*change)(waft_update_config_t *config)) {
    waft_agent_config_t config;
    OK(waft_agent_defaults(&config));
    config.class_name = WAFT_STR("lamp");
    config.device = WAFT_STR("d1");
    config.gateway_host = WAFT_STR("gateway");
    memset(config.update.vendor, 1, 16);
    memset(config.update.class_id, 2, 16);
    config.update.keys = &key;
    config.update.key_count = 1;
    config.update.slot_size = SLOT;
    if (change) change(&config.update);
    memset(flash, 0xff, sizeof flash);
    links = 0;
    OK(waft_agent_init(&agent, sizeof agent, &config, memory, sizeof memory));
    OK(waft_agent_start(&agent, now));
}

static uint8_t *place(uint8_t area, uint32_t offset) {
    static const uint32_t starts[4] = {2 * PAGE, 2 * PAGE + SLOT, 0, 2 * PAGE + 2 * SLOT};
    CHECK(area < 4);
    return flash + starts[area] + offset;
}

static void act(const waft_agent_event_t *event) {
    const waft_update_event_t *update = &event->update;
    switch (event->kind) {
    case WAFT_AGENT_EVENT_OPEN:
        links++;
        OK(waft_agent_opened(&agent, now, event->link, 7));
        break;
    case WAFT_UPDATE_EVENT_LOAD:
        OK(waft_agent_loaded(&agent, now, (waft_bytes_t){place(update->area, update->offset), update->len}));
        break;
    case WAFT_UPDATE_EVENT_ERASE:
        memset(place(update->area, update->offset), 0xff, update->len);
        OK(waft_agent_done(&agent, now));
        break;
    case WAFT_UPDATE_EVENT_STORE:
    case WAFT_UPDATE_EVENT_RECORD:
        memcpy(place(update->area, update->offset), update->bytes.data, update->bytes.len);
        OK(waft_agent_done(&agent, now));
        break;
    default: break;
    }
}

static waft_update_status_t status(void) {
    waft_agent_status_t s;
    OK(waft_agent_status(&agent, &s));
    return s.update;
}

/* The gateway's part, as little of RFC 7252 as this takes: answers the GET of the manifest with all of it, piggybacked. */
static void answer(const uint8_t *request, size_t len, waft_bytes_t body) {
    uint8_t reply[1100];
    size_t token = request[0] & 15, at = 4 + token;
    CHECK(len >= at && body.len <= 1024);
    if ((request[0] & 0x30) != 0 || request[1] != 1) return; /* no confirmable GET */
    reply[0] = (uint8_t)(0x60 | token);
    reply[1] = 0x45;
    memcpy(reply + 2, request + 2, 2 + token);
    reply[at++] = 0x60; /* Observe: 0 */
    reply[at++] = 0xff;
    memcpy(reply + at, body.data, body.len);
    waft_handled_t handled;
    waft_agent_event_t event;
    OK(waft_agent_handle_input(&agent, now, 7, reply, at + body.len, &handled, &event));
    act(&event);
}

/* Keeps the payload of a PUT, which is a report, and acknowledges it: 2.04 Changed. */
static void take_report(const uint8_t *request, size_t len) {
    if (len < 4 || request[1] != 3) return;
    size_t at = 4 + (request[0] & 15);
    uint8_t reply[12];
    waft_handled_t handled;
    waft_agent_event_t event;
    memcpy(reply, request, at);
    reply[0] = (uint8_t)(0x60 | (request[0] & 15));
    reply[1] = 0x44;
    size_t reply_len = at;
    while (at < len && request[at] != 0xff) { /* options (RFC 7252 §3.1): none here has more than 268 bytes */
        size_t delta = request[at] >> 4, option = request[at] & 15;
        at += delta == 13 ? 2u : delta == 14 ? 3u : 1u;
        if (option == 13) option = 13u + request[at++];
        at += option;
    }
    CHECK(at < len && len - at - 1 <= sizeof told);
    told_len = len - at - 1;
    memcpy(told, request + at + 1, told_len);
    OK(waft_agent_handle_input(&agent, now, 7, reply, reply_len, &handled, &event));
    act(&event);
}

/* Does what the agent asks for until it asks for nothing; requests are answered with `body`, where there is one. */
static void settle(waft_bytes_t body) {
    for (;;) {
        uint8_t buffer[1200];
        waft_output_t output;
        waft_agent_event_t event;
        OK(waft_agent_poll_output(&agent, now, buffer, sizeof buffer, &output, &event));
        if (output.kind == WAFT_OUTPUT_TIMEOUT) return;
        if (output.kind == WAFT_OUTPUT_EVENT) act(&event);
        if (output.kind == WAFT_OUTPUT_TRANSMIT) take_report(buffer, output.len);
        if (output.kind == WAFT_OUTPUT_TRANSMIT && body.len) {
            waft_bytes_t once = body;
            body.len = 0;
            answer(buffer, output.len, once);
        }
    }
}

static waft_update_facts_t facts(uint64_t time, uint32_t battery) {
    waft_update_facts_t f = {time, battery, {1, 2, 0, 0, 0, 0}, 3};
    return f;
}

/* A release, announced by the gateway; gives the state that it leads to. */
static uint8_t announce(const waft_release_t *asks) {
    waft_release_t r = *asks;
    size_t len;
    r.sequence = 7;
    memset(r.vendor, 1, 16);
    memset(r.class_id, 2, 16);
    OK(waft_sha256((waft_bytes_t){image, sizeof image}, r.image_digest));
    r.image_size = sizeof image;
    r.uri = WAFT_STR("image/x");
    r.kind = WAFT_TYPE_SOFTWARE;
    OK(waft_release_sign(&r, SEED, envelope, sizeof envelope, &len));
    settle((waft_bytes_t){envelope, len});
    CHECK(links == 1);
    return status().state;
}

static void turns(waft_update_config_t *config) {
    memset(config->device_id, 9, 16);
    config->jitter = 3600 * 1000;
}

static void window(waft_update_config_t *config) {
    config->window_start = 13 * 3600;
    config->window_len = 3600;
}

static void battery(waft_update_config_t *config) {
    config->battery = 100;
}

static void rotation(waft_update_config_t *config) {
    config->rotation = 1;
    config->step = 5;
}

static const waft_release_t nothing;

static void it_waits_for_its_turn(void) {
    power_on(turns);
    CHECK(announce(&nothing) == WAFT_STATE_DEFERRED);
    now += 3601ull * 1000000;
    settle((waft_bytes_t){0});
    CHECK(status().state == WAFT_STATE_FETCHING);
}

static void it_keeps_to_its_window(void) {
    const uint64_t noon = 20000ull * 86400 + 43200;
    power_on(window);
    waft_update_facts_t f = facts(noon, WAFT_NO_BATTERY);
    OK(waft_agent_tell(&agent, now, &f)); /* before the journal has been read, and it counts */
    CHECK(announce(&nothing) == WAFT_STATE_DEFERRED);
    now += 3601ull * 1000000;
    settle((waft_bytes_t){0});
    CHECK(status().state == WAFT_STATE_FETCHING);
}

static void it_waits_for_its_battery(void) {
    power_on(battery);
    waft_update_facts_t f = facts(0, 99);
    OK(waft_agent_tell(&agent, now, &f));
    CHECK(announce(&nothing) == WAFT_STATE_DEFERRED && status().reason == WAFT_ERROR_UPDATE_BATTERY);
    f.battery = 100;
    OK(waft_agent_tell(&agent, now, &f));
    settle((waft_bytes_t){0});
    CHECK(status().state == WAFT_STATE_FETCHING && status().reason == 0);
}

static void it_decides_what_manifests_ask(void) {
    static uint8_t other[16] = {8};
    waft_release_t r = nothing;
    r.device = (waft_bytes_t){other, 16};
    power_on(turns);
    CHECK(announce(&r) == WAFT_STATE_IDLE); /* for another device */
    memset(other, 9, 16);
    power_on(turns);
    CHECK(announce(&r) == WAFT_STATE_DEFERRED);
    r = nothing;
    r.use_before = 1000;
    power_on(rotation);
    waft_update_facts_t f = facts(1000, WAFT_NO_BATTERY);
    OK(waft_agent_tell(&agent, now, &f));
    CHECK(announce(&r) == WAFT_STATE_IDLE); /* it is over */
    f.version_len = 7;
    CHECK(waft_agent_tell(&agent, now, &f) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_agent_tell(&agent, now, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_agent_tell(NULL, now, &f) == WAFT_ERROR_NULL_POINTER);
}

static void keys_are_replaced(void) {
    size_t len;
    uint8_t identity[32];
    memset(identity, 1, 16);
    memset(identity + 16, 2, 16);
    waft_key_table_t table;
    OK(waft_key_table_make(3, &key, 1, &table));
    OK(waft_key_table_sign(&table, 4, identity, SEED, envelope, sizeof envelope, &len));
    power_on(NULL);
    settle((waft_bytes_t){envelope, len});
    CHECK(status().state == WAFT_STATE_IDLE && status().epoch == 0); /* not without `rotation` */
    power_on(rotation);
    settle((waft_bytes_t){envelope, len});
    CHECK(status().state == WAFT_STATE_CONFIRMED && status().epoch == 3 && status().floor == 4);
}

/* A key of the device's own, in its memory. */
static void reports_are_signed(void) {
    static const uint8_t DEVICE[32] = {7}, NONE[32] = {0};
    static waft_signer_t signer, broken;
    waft_key_t own, keys[2];
    waft_report_t report;
    OK(waft_secret_key_public(DEVICE, &own));
    CHECK(waft_signer_of_seed(NONE, &signer) == WAFT_ERROR_OUT_OF_RANGE);
    OK(waft_signer_of_seed(DEVICE, &signer));
    power_on(NULL);
    CHECK(waft_agent_sign_reports(&agent, &broken, 1) == WAFT_ERROR_OUT_OF_RANGE);
    OK(waft_agent_sign_reports(&agent, &signer, 1));
    told_len = 0;
    announce(&nothing);
    settle((waft_bytes_t){NULL, 0});
    CHECK(told_len > 0);
    keys[0] = key;
    keys[1] = own;
    waft_bytes_t signed_ = {told, told_len};
    OK(waft_report_open(signed_, keys, 2, 0, &report));
    CHECK(report.nonce >> 32 == 1 && report.sequence == 7 && report.reason == 0 && report.attempts == 0);
    CHECK(memcmp(report.key_id, signer.key_id, 8) == 0);
    CHECK(waft_report_open(signed_, keys, 2, report.nonce, &report) == WAFT_ERROR_UPDATE_REPORT_REPLAY);
    CHECK(waft_report_open(signed_, keys, 1, 0, &report) == WAFT_ERROR_UPDATE_UNKNOWN_KEY);
    told[told_len - 1] ^= 1;
    CHECK(waft_report_open(signed_, keys, 2, 0, &report) == WAFT_ERROR_UPDATE_SIGNATURE);
}

int main(void) {
    for (size_t n = 0; n < sizeof image; n++) image[n] = (uint8_t)(n * 31 + n / 255);
    OK(waft_secret_key_public(SEED, &key));
    it_waits_for_its_turn();
    it_keeps_to_its_window();
    it_waits_for_its_battery();
    it_decides_what_manifests_ask();
    keys_are_replaced();
    reports_are_signed();
    puts("test_agent: ok");
    return 0;
}
