/*
 * A device on a bare Cortex-M: waft's agent, flash in RAM, no operating system and no network. What came from the network
 * was recorded in the simulator, with the very same agent on a host; here it comes again, byte for byte and at the same
 * times. The good image has to be tried and confirmed, the tampered image and the forged manifest refused, and the agent
 * has to send exactly what it sent there.
 */
#include "board.h"
#include "waft.h"
#include <string.h>

enum { ERASE = 4096, SLOT = 256 * 1024, UNIT = 8 };
enum { OPENED = 0, CLOSED = 1, BYTES = 2 };
enum { SERVER = 0 }; /* the peer of all datagrams */

static uint8_t flash[2 * ERASE + 2 * SLOT];
static waft_agent_t agent;
static uint8_t memory[WAFT_AGENT_MEMORY];
static uint8_t buffer[1152];
static uint8_t stream[1024];
static size_t stream_len;
static waft_key_t key;

static int by_mqtt;
static uint64_t now;
static uint32_t boots;
static uint32_t broker;   /* the stream that is open; 0 where none is */
static int wants_broker;  /* the agent waits for a stream */
static uint8_t last_state;
static int32_t first_reason;
static uint32_t sent, checksum;
static int broken;        /* something that must not be */

static void must(int32_t result, const char *what) {
    if (result < 0) {
        print(what);
        print(": ");
        print(waft_error_name(result));
        print("\n");
        broken = 1;
    }
}

/* ---- flash ---- */

static uint8_t *place(uint8_t area, uint32_t offset) {
    return flash + (area == WAFT_AREA_JOURNAL ? 0 : 2 * ERASE + area * (uint32_t)SLOT) + offset;
}

/* NOR flash: writing clears bits, erasing sets them. */
static void program(uint8_t area, uint32_t offset, const uint8_t *bytes, size_t len) {
    uint8_t *to = place(area, offset);
    for (size_t n = 0; n < len; n++) {
        broken |= to[n] != 0xff;
        to[n] &= bytes[n];
    }
}

/* ---- the device ---- */

static void boot(void) {
    waft_boot_t decision;
    waft_agent_config_t config;
    must(waft_boot_decide((waft_bytes_t){flash, ERASE}, (waft_bytes_t){flash + ERASE, ERASE}, 0, &decision), "boot");
    if (decision.note) {
        if (decision.note_erase != WAFT_NO_PAGE) {
            memset(place(WAFT_AREA_JOURNAL, decision.note_erase * (uint32_t)ERASE), 0xff, ERASE);
        }
        program(WAFT_AREA_JOURNAL, decision.note_page * (uint32_t)ERASE + decision.note_offset, decision.note_bytes,
                sizeof decision.note_bytes);
    }
    must(waft_agent_defaults(&config), "defaults");
    config.class_name = WAFT_STR("lamp");
    config.device = WAFT_STR("m4");
    config.version = WAFT_STR("1.0.0");
    if (by_mqtt) {
        config.broker_host = WAFT_STR("broker");
    } else {
        config.gateway_host = WAFT_STR("gateway");
    }
    config.stall = 5000;
    config.seed = 7 + ++boots;
    memset(config.update.vendor, 0x11, sizeof config.update.vendor);
    memset(config.update.class_id, 0x22, sizeof config.update.class_id);
    config.update.keys = &key;
    config.update.key_count = 1;
    config.update.slot_size = SLOT;
    config.update.erase_size = ERASE;
    config.update.write_size = UNIT;
    config.update.running = decision.slots;
    wants_broker = 0;
    broker = 0;
    stream_len = 0;
    must(waft_agent_init(&agent, sizeof agent, &config, memory, sizeof memory), "init");
    must(waft_agent_start(&agent, now), "start");
}

static void handle(const waft_agent_event_t *event) {
    const waft_update_event_t *update = &event->update;
    switch (event->kind) {
    case WAFT_AGENT_EVENT_OPEN:
        if (event->link == WAFT_LINK_BROKER) {
            wants_broker = 1; /* the recording says when it is open */
        } else {
            must(waft_agent_opened(&agent, now, event->link, SERVER), "opened");
        }
        break;
    case WAFT_UPDATE_EVENT_LOAD:
        must(waft_agent_loaded(&agent, now, (waft_bytes_t){place(update->area, update->offset), update->len}), "loaded");
        break;
    case WAFT_UPDATE_EVENT_ERASE:
        memset(place(update->area, update->offset), 0xff, update->len);
        must(waft_agent_done(&agent, now), "done");
        break;
    case WAFT_UPDATE_EVENT_STORE:
    case WAFT_UPDATE_EVENT_RECORD:
        program(update->area, update->offset, update->bytes.data, update->bytes.len);
        must(waft_agent_done(&agent, now), "done");
        break;
    case WAFT_UPDATE_EVENT_ACTIVATE:
        must(waft_agent_done(&agent, now), "done");
        boot();
        break;
    case WAFT_UPDATE_EVENT_STATE:
        last_state = update->state;
        if (last_state == WAFT_STATE_TRIAL) {
            must(waft_agent_confirm(&agent, now), "confirm");
        }
        break;
    case WAFT_UPDATE_EVENT_REPORT:
        if (first_reason == 0) {
            first_reason = update->reason;
        }
        break;
    default: break;
    }
}

static void eat(uint8_t byte) {
    checksum = (checksum ^ byte) * 0x01000193u;
}

static uint64_t drain(void) {
    for (;;) {
        waft_output_t output;
        waft_agent_event_t event;
        must(waft_agent_poll_output(&agent, now, buffer, sizeof buffer, &output, &event), "poll_output");
        switch (output.kind) {
        case WAFT_OUTPUT_TRANSMIT:
            if (output.peer == SERVER) {
                eat((uint8_t)(output.len >> 8));
                eat((uint8_t)output.len);
            }
            for (size_t n = 0; n < output.len; n++) {
                eat(buffer[n]);
            }
            sent += (uint32_t)output.len;
            break;
        case WAFT_OUTPUT_EVENT: handle(&event); break;
        case WAFT_OUTPUT_TIMEOUT: return output.deadline;
        default: broken = 1; return WAFT_NEVER;
        }
        if (broken) {
            return WAFT_NEVER;
        }
    }
}

/* Offers bytes; gives how many were consumed. */
static size_t input(uint32_t peer, const uint8_t *bytes, size_t len, int *moved) {
    waft_handled_t handled = {0, 0};
    waft_agent_event_t event = {0};
    must(waft_agent_handle_input(&agent, now, peer, bytes, len, &handled, &event), "handle_input");
    *moved = handled.consumed > 0 || event.kind != 0;
    if (event.kind != 0) {
        handle(&event);
    }
    return handled.consumed;
}

/* Drains the agent and offers it the stream until neither does anything. */
static uint64_t settle(void) {
    for (;;) {
        uint64_t deadline = drain();
        int moved = 0;
        if (stream_len > 0 && !broken) {
            size_t consumed = input(broker, stream, stream_len, &moved);
            /* A reboot forgets the stream. */
            consumed = consumed < stream_len ? consumed : stream_len;
            stream_len -= consumed;
            memmove(stream, stream + consumed, stream_len);
        }
        if (!moved) {
            return deadline;
        }
    }
}

static uint64_t little(const uint8_t *bytes, size_t len) {
    uint64_t value = 0;
    while (len-- > 0) {
        value = value << 8 | bytes[len];
    }
    return value;
}

/* Something came from the network. */
static void arrive(uint8_t kind, uint32_t peer, const uint8_t *bytes, size_t len) {
    int moved;
    switch (kind) {
    case OPENED:
        if (wants_broker) {
            wants_broker = 0;
            broker = peer;
            stream_len = 0;
            must(waft_agent_opened(&agent, now, WAFT_LINK_BROKER, peer), "opened");
        }
        break;
    case CLOSED:
        if (peer == broker) {
            broker = 0;
            must(waft_agent_closed(&agent, now, WAFT_LINK_BROKER), "closed");
        }
        break;
    default:
        if (peer == SERVER) {
            broken |= input(peer, bytes, len, &moved) != len;
            break;
        }
        while (peer == broker && len > 0 && !broken) {
            size_t n = sizeof stream - stream_len < len ? sizeof stream - stream_len : len;
            memcpy(stream + stream_len, bytes, n);
            stream_len += n;
            bytes += n;
            len -= n;
            settle();
            broken |= stream_len == sizeof stream; /* a header that is longer than the buffer */
        }
        break;
    }
}

static int play(const char *name, const uint8_t *at, const uint8_t *end) {
    const uint8_t want_state = at[0];
    const int32_t want_reason = (int8_t)at[1];
    const uint32_t want_sent = (uint32_t)little(at + 4, 4), want_checksum = (uint32_t)little(at + 8, 4);
    by_mqtt = name[0] == 'a';
    now = 0;
    boots = 0;
    last_state = 0;
    first_reason = 0;
    sent = 0;
    checksum = 0x811c9dc5u;
    broken = 0;
    memset(flash, 0xff, sizeof flash);
    boot();
    uint64_t deadline = settle();
    const uint64_t over = 120000000;
    for (at += 12; !broken;) {
        uint64_t next = at < end ? little(at, 8) : over;
        if (deadline < next && deadline < over) {
            now = deadline;
            must(waft_agent_handle_timeout(&agent, now), "handle_timeout");
        } else if (at < end) {
            size_t len = (size_t)little(at + 13, 2);
            now = next;
            arrive(at[12], (uint32_t)little(at + 8, 4), at + 15, len);
            at += 15 + len;
        } else {
            break;
        }
        deadline = settle();
    }
    int good = !broken && last_state == want_state && first_reason == want_reason && sent == want_sent &&
               checksum == want_checksum;
    print(name);
    print(good ? ": as recorded: state " : ": NOT as recorded: state ");
    print_number(last_state);
    print(", ");
    print(waft_error_name(first_reason));
    print(", sent ");
    print_number(sent);
    print("\n");
    return good;
}

extern const uint8_t a_good[], a_good_end[], a_tampered[], a_tampered_end[], a_forged[], a_forged_end[];
extern const uint8_t c_good[], c_good_end[], c_tampered[], c_tampered_end[], c_forged[], c_forged_end[];
extern const uint8_t public_key[32];

int main(void) {
    memcpy(key.bytes, public_key, sizeof key.bytes);
    stack_paint();
    int good = play("a_good", a_good, a_good_end);
    print("stack ");
    print_number(stack_used());
    print("\nram ");
    print_number(sizeof agent + sizeof memory + sizeof buffer + sizeof stream);
    print("\n");
    good &= play("c_good", c_good, c_good_end);
    good &= play("a_tampered", a_tampered, a_tampered_end);
    good &= play("c_tampered", c_tampered, c_tampered_end);
    good &= play("a_forged", a_forged, a_forged_end);
    good &= play("c_forged", c_forged, c_forged_end);
    return good ? 0 : 1;
}
