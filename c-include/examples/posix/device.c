/*
 * A device: waft's agent with a file for flash, a TCP stream to the broker and UDP sockets to CoAP servers.
 *
 * All of waft that a program needs is here: boot() chooses the slot and makes the agent, drain() does what the agent wants,
 * input() hands it what arrived, and act() answers what it asks of the flash. All memory is static.
 */
#include "device.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINKS = 3 };

static struct options options;
static waft_agent_t agent;
static uint8_t memory[WAFT_AGENT_MEMORY];
static uint8_t buffer[1536];

/* A socket for each link; its peer number names the link and how often that was opened, so that no number comes twice. */
static struct {
    int socket;
    uint32_t peer;
} links[LINKS] = {{-1, 0}, {-1, 1}, {-1, 2}};

/* What has been read of the broker's stream and not been consumed. */
static uint8_t stream[1024];
static size_t stream_len;

static int reboot_now;
static int exit_code = -1;

/* What the last line tells, over all boots. */
static struct {
    uint64_t rx, tx;
    uint32_t messages, resumed_at;
    const char *state, *model, *reason;
    waft_manifest_t manifest;
} told = {0, 0, 0, 0, "", "", NULL, {0}};

static _Noreturn void die(const char *what, const char *why) {
    fprintf(stderr, "device: %s: %s\n", what, why);
    exit(EXIT_FAILED);
}

/* For calls that fail only where this program is wrong. */
static void must(int32_t result, const char *what) {
    if (result < 0) {
        die(what, waft_error_message(result));
    }
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* ---- links ---- */

static void close_link(int link) {
    if (links[link].socket >= 0) {
        close(links[link].socket);
        links[link].socket = -1;
        if (link == WAFT_LINK_BROKER) {
            stream_len = 0;
        }
    }
}

/* A connected socket, or -1. */
static int dial(int link, waft_str_t host, uint16_t port) {
    char name[256], service[6];
    struct addrinfo hints, *found;
    if (host.len >= sizeof name) {
        return -1;
    }
    memcpy(name, host.data, host.len);
    name[host.len] = '\0';
    snprintf(service, sizeof service, "%u", (unsigned)port);
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = link == WAFT_LINK_BROKER ? SOCK_STREAM : SOCK_DGRAM;
    if (getaddrinfo(name, service, &hints, &found) != 0) {
        return -1;
    }
    int result = -1;
    for (struct addrinfo *at = found; at != NULL && result < 0; at = at->ai_next) {
        int s = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (s >= 0 && connect(s, at->ai_addr, at->ai_addrlen) == 0) {
            result = s;
        } else if (s >= 0) {
            close(s);
        }
    }
    freeaddrinfo(found);
    if (result >= 0 && link == WAFT_LINK_BROKER) {
        int on = 1;
        setsockopt(result, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return result;
}

static void open_link(int link, waft_str_t host, uint16_t port) {
    close_link(link);
    links[link].socket = dial(link, host, port);
    links[link].peer += LINKS;
    if (links[link].socket < 0) {
        must(waft_agent_closed(&agent, now(), (uint8_t)link), "closed");
    } else {
        must(waft_agent_opened(&agent, now(), (uint8_t)link, links[link].peer), "opened");
    }
}

/* A datagram that cannot be sent is a lost one; a stream that cannot be written to ends for its reader too. */
static void transmit(uint32_t peer, const uint8_t *bytes, size_t len) {
    int link = (int)(peer % LINKS);
    told.tx += len;
    for (size_t sent = 0; links[link].socket >= 0 && links[link].peer == peer && sent < len;) {
        ssize_t n = send(links[link].socket, bytes + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        sent += (size_t)n;
    }
}

/* ---- the agent's requests ---- */

/* Here a product finds out whether it still does what it is for. */
static void self_test(void) {
    switch (options.self_test) {
    case SELF_TEST_PASS: must(waft_agent_confirm(&agent, now()), "confirm"); break;
    case SELF_TEST_FAIL: must(waft_agent_reject(&agent, now()), "reject"); break;
    case SELF_TEST_CRASH: reboot_now = 1; break;
    }
}

static void state(uint8_t value) {
    static const char *const names[] = {"idle",      "announced", "verified", "deferred", "fetching",  "fetched",
                                        "validated", "ready",     "trial",    "confirmed", "reverted", "failed"};
    const char *name = value < sizeof names / sizeof *names ? names[value] : "unknown";
    printf("{\"event\":\"state\",\"state\":\"%s\"}\n", name);
    waft_manifest_t manifest;
    if (waft_agent_manifest(&agent, &manifest) == WAFT_OK) {
        told.manifest = manifest;
    }
    switch (value) {
    case WAFT_STATE_TRIAL: self_test(); break;
    case WAFT_STATE_CONFIRMED:
        told.state = name;
        exit_code = EXIT_CONFIRMED;
        break;
    case WAFT_STATE_REVERTED:
    case WAFT_STATE_FAILED:
        told.state = name;
        exit_code = EXIT_FAILED;
        break;
    default: break;
    }
}

/* Does what an event of the update asks, and answers. This flash is a file, so the answer comes at once. */
static void act(const waft_update_event_t *event) {
    static uint8_t loaded[512];
    int done;
    switch (event->kind) {
    case WAFT_UPDATE_EVENT_LOAD:
        if (event->len > sizeof loaded || flash_read(event->area, event->offset, loaded, event->len) != 0) {
            must(waft_agent_failed(&agent, now()), "failed");
        } else {
            must(waft_agent_loaded(&agent, now(), (waft_bytes_t){loaded, event->len}), "loaded");
        }
        return;
    case WAFT_UPDATE_EVENT_ERASE: done = flash_erase(event->area, event->offset, event->len); break;
    case WAFT_UPDATE_EVENT_STORE:
    case WAFT_UPDATE_EVENT_RECORD:
        done = flash_write(event->area, event->offset, event->bytes.data, event->bytes.len);
        break;
    case WAFT_UPDATE_EVENT_ACTIVATE:
        done = 0;
        reboot_now = 1;
        break;
    case WAFT_UPDATE_EVENT_STATE: state(event->state); return;
    case WAFT_UPDATE_EVENT_REPORT:
        if (event->reason != 0) {
            told.reason = waft_error_name(event->reason);
            if (event->state != WAFT_STATE_REVERTED) {
                told.state = "refused";
            }
            if (options.until_refused) {
                exit_code = EXIT_REFUSED;
            }
        }
        return;
    default: return;
    }
    must(done == 0 ? waft_agent_done(&agent, now()) : waft_agent_failed(&agent, now()), "flash");
    if (event->kind == WAFT_UPDATE_EVENT_STORE) {
        waft_agent_status_t status;
        must(waft_agent_status(&agent, &status), "status");
        printf("{\"event\":\"progress\",\"have\":%" PRIu32 ",\"total\":%" PRIu32 "}\n", status.update.have,
               status.update.size);
    }
}

static void handle(const waft_agent_event_t *event) {
    switch (event->kind) {
    case WAFT_AGENT_EVENT_OPEN: open_link(event->link, event->host, event->port); break;
    case WAFT_AGENT_EVENT_CLOSE: close_link(event->link); break;
    case WAFT_AGENT_EVENT_REFUSED: fprintf(stderr, "device: the broker refuses the connection: %u\n", event->reason); break;
    default: act(&event->update); break;
    }
}

/* ---- the loop ---- */

/* Sends and does all that the agent wants; gives its deadline. */
static uint64_t drain(void) {
    for (;;) {
        waft_output_t output;
        waft_agent_event_t event;
        must(waft_agent_poll_output(&agent, now(), buffer, sizeof buffer, &output, &event), "poll_output");
        switch (output.kind) {
        case WAFT_OUTPUT_TRANSMIT: transmit(output.peer, buffer, output.len); break;
        case WAFT_OUTPUT_EVENT: handle(&event); break;
        case WAFT_OUTPUT_TIMEOUT: return output.deadline;
        default: die("poll_output", "the buffer is too small");
        }
        if (reboot_now) {
            return 0;
        }
    }
}

/* Offers bytes; gives how many were consumed, and in *moved whether anything came of them. */
static size_t input(int link, const uint8_t *bytes, size_t len, int *moved) {
    waft_handled_t handled;
    waft_agent_event_t event;
    int32_t result = waft_agent_handle_input(&agent, now(), links[link].peer, bytes, len, &handled, &event);
    if (result < 0) {
        /* The broker broke MQTT; the agent asks for another connection. */
        close_link(link);
        *moved = 1;
        return 0;
    }
    *moved = handled.consumed > 0 || event.kind != WAFT_UPDATE_EVENT_NONE;
    if (event.kind != WAFT_UPDATE_EVENT_NONE) {
        handle(&event);
    }
    return handled.consumed;
}

/* Offers what has come of the stream. Whether anything came of it. */
static int offer_stream(void) {
    if (stream_len == 0) {
        return 0;
    }
    int moved;
    size_t consumed = input(WAFT_LINK_BROKER, stream, stream_len, &moved);
    if (consumed > stream_len) {
        consumed = stream_len; /* the stream was closed meanwhile */
    }
    stream_len -= consumed;
    memmove(stream, stream + consumed, stream_len);
    return moved;
}

/* Reads from a link whose socket has something. */
static void receive(int link) {
    ssize_t n;
    if (link == WAFT_LINK_BROKER) {
        n = recv(links[link].socket, stream + stream_len, sizeof stream - stream_len, 0);
        if (n <= 0) {
            close_link(link);
            must(waft_agent_closed(&agent, now(), (uint8_t)link), "closed");
            return;
        }
        stream_len += (size_t)n;
    } else {
        static uint8_t datagram[2048];
        n = recv(links[link].socket, datagram, sizeof datagram, 0);
        int moved;
        if (n > 0) {
            input(link, datagram, (size_t)n, &moved);
        }
    }
    told.rx += n > 0 ? (uint64_t)n : 0;
}

/* Waits for bytes or for the deadline. */
static void wait_for(uint64_t deadline) {
    struct pollfd fds[LINKS];
    int of[LINKS];
    nfds_t count = 0;
    for (int link = 0; link < LINKS; link++) {
        /* A stream whose bytes the agent does not want now is not read on: that is the flow control. */
        int full = link == WAFT_LINK_BROKER && stream_len == sizeof stream;
        if (links[link].socket >= 0 && !full) {
            fds[count] = (struct pollfd){.fd = links[link].socket, .events = POLLIN};
            of[count++] = link;
        }
    }
    uint64_t at = now(), wait = deadline > at ? (deadline - at + 999) / 1000 : 0;
    int ready = poll(fds, count, wait > 500 ? 500 : (int)wait);
    for (nfds_t n = 0; ready > 0 && n < count; n++) {
        if (fds[n].revents != 0 && links[of[n]].socket == fds[n].fd) {
            receive(of[n]);
        }
    }
    must(waft_agent_handle_timeout(&agent, now()), "handle_timeout");
}

static waft_str_t str(const char *text) {
    return (waft_str_t){text, strlen(text)};
}

/* Power is on: what a bootloader does, then an agent that runs from the slot it chose. */
static void boot(void) {
    static uint8_t pages[2][ERASE];
    waft_boot_t decision;
    if (flash_read(WAFT_AREA_JOURNAL, 0, pages, sizeof pages) != 0) {
        die(options.flash, strerror(errno));
    }
    must(waft_boot_decide((waft_bytes_t){pages[0], ERASE}, (waft_bytes_t){pages[1], ERASE}, 0, &decision), "boot");
    if (decision.note) {
        if (decision.note_erase != WAFT_NO_PAGE) {
            flash_erase(WAFT_AREA_JOURNAL, decision.note_erase * (uint32_t)ERASE, ERASE);
        }
        if (flash_write(WAFT_AREA_JOURNAL, decision.note_page * (uint32_t)ERASE + decision.note_offset,
                        decision.note_bytes, sizeof decision.note_bytes) != 0) {
            decision.slots = decision.active;
        }
    }

    waft_agent_config_t config;
    must(waft_agent_defaults(&config), "defaults");
    config.root = str(options.root);
    config.class_name = str(options.class_name);
    config.device = str(options.name);
    if (options.broker.host[0] != '\0') {
        config.broker_host = str(options.broker.host);
        config.broker_port = options.broker.port;
    }
    if (options.gateway.host[0] != '\0') {
        config.gateway_host = str(options.gateway.host);
        config.gateway_port = options.gateway.port;
    }
    config.seed = options.seed;
    config.keep_alive = 30;
    config.stall = 3000;
    config.retry = 500;
    memcpy(config.update.vendor, options.vendor, sizeof options.vendor);
    memcpy(config.update.class_id, options.class_id, sizeof options.class_id);
    config.update.keys = options.keys;
    config.update.key_count = options.key_count;
    config.update.slot_size = options.slot_size;
    config.update.erase_size = ERASE;
    config.update.write_size = 4;
    config.update.running = decision.slots;
    config.update.rotation = options.rotation;
    memcpy(config.update.device_id, options.device_id, sizeof options.device_id);
    config.update.jitter = options.jitter;
    config.update.backoff = options.backoff;
    config.update.window_start = options.window_start;
    config.update.window_len = options.window_len;
    config.update.battery = options.battery;
    config.update.step = options.step;
    config.update.attempts = options.attempts;
    config.update.trial = options.trial;
    if (options.installed != NULL) {
        config.version = str(options.installed);
    }
    must(waft_agent_init(&agent, sizeof agent, &config, memory, sizeof memory), "init");
    must(waft_agent_start(&agent, now()), "start");
    /* What the device knows of itself; a product tells it again when its clock is set and as its battery drains. */
    waft_update_facts_t facts = {.time = options.clock ? (uint64_t)time(NULL) : 0, .battery = options.charge};
    memcpy(facts.version, options.version, sizeof options.version);
    facts.version_len = options.version_len;
    must(waft_agent_tell(&agent, now(), &facts), "tell");
}

/* Whether this boot is over: all is told, or nobody took a report for ten seconds. Adds it to what the last line tells. */
static int settle(void) {
    static const char *const models[] = {"", "a", "b", "c"};
    static uint64_t until;
    waft_agent_status_t status;
    must(waft_agent_status(&agent, &status), "status");
    if (!reboot_now && until == 0) {
        until = now() + UINT64_C(10000000);
    }
    if (!reboot_now && !status.settled && now() < until) {
        return 0;
    }
    told.messages += status.received + status.sent;
    if (status.resumed_at > told.resumed_at) {
        told.resumed_at = status.resumed_at;
    }
    if (status.model != WAFT_MODEL_NONE && status.model < 4) {
        told.model = models[status.model];
    }
    return 1;
}

static void last_line(void) {
    static const char *const severities[] = {"high", "medium", "low"};
    const waft_manifest_t *m = &told.manifest;
    printf("{\"event\":\"done\",\"state\":\"%s\",\"model\":\"%s\",\"severity\":\"%s\",\"version\":\"%s\",\"sequence\":%" PRIu64
           ",\"rx\":%" PRIu64 ",\"tx\":%" PRIu64 ",\"image\":%" PRIu32 ",\"messages\":%" PRIu32 ",\"resumed_at\":%" PRIu32
           ",\"reason\":",
           told.state, told.model, m->image_size != 0 && m->severity < 3 ? severities[m->severity] : "",
           (const char *)m->version, m->sequence, told.rx, told.tx, m->image_size, told.messages, told.resumed_at);
    printf(told.reason != NULL ? "\"%s\"}\n" : "null}\n", told.reason);
}

int main(int argc, char **argv) {
    options_parse(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (flash_open(options.flash, options.slot_size) != 0) {
        die(options.flash, strerror(errno));
    }
    const uint64_t started = now();
    boot();
    for (;;) {
        uint64_t deadline = drain();
        if (!reboot_now && offer_stream()) {
            continue;
        }
        int late = options.seconds != 0 && now() - started >= options.seconds * 1000000;
        if (late && exit_code < 0) {
            exit_code = EXIT_FAILED;
        }
        if ((reboot_now || exit_code >= 0) && (settle() || late)) {
            for (int link = 0; link < LINKS; link++) {
                close_link(link);
            }
            if (!reboot_now) {
                last_line();
                return exit_code;
            }
            reboot_now = 0;
            boot();
            continue;
        }
        wait_for(deadline);
    }
}
