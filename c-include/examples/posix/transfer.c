/* Gets a file from any CoAP server by a window of plain Block2 requests, or puts one there by Block1, over however many kills:
 * transfer get|put HOST PORT PATH FILE */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "waft.h"

enum { UNIT = 16 /* bytes of the smallest block */, MOST = 1 << 24, SAVED_AFTER = 64, TRIES = 8 };
#define UNKNOWN UINT32_MAX
static waft_coap_endpoint_t endpoint;
static const char *path, *name;
static int put, part /* the file, or the part of it that is here */, tries, done;
static uint32_t length;
/* Of a file that is fetched, in FILE.note: what it is, its version and length, and a bit for each 16 bytes that are here. */
static char of[512], part_name[512], note_name[512], new_name[512];
static uint8_t etag[8], etag_len, have[MOST / UNIT / 8];
static uint32_t total = UNKNOWN, units /* that `have` reaches over: a multiple of 8 */, unsaved;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int check(int ok, const char *what) {
    if (!ok) perror(what), exit(1);
    return 0;
}

static int has(uint32_t unit) { return unit < units && have[unit / 8] >> unit % 8 & 1; }

/* What of the file is here, from a run before. Not 0: nothing. */
static int remember(void) {
    static uint8_t note[sizeof of + 13 + sizeof have];
    size_t head = strlen(of) + 13;
    int fd = open(note_name, O_RDONLY);
    ssize_t len = fd < 0 ? -1 : read(fd, note, sizeof note);
    if (fd >= 0) close(fd);
    const uint8_t *rest = note + strlen(of);
    if (len < (ssize_t)head || (size_t)len > head + sizeof have || memcmp(note, of, strlen(of)) || rest[0] > 8 || rest[0] == 0)
        return -1;
    if ((part = open(part_name, O_RDWR)) < 0) return -1;
    memcpy(etag, rest + 1, etag_len = rest[0]);
    total = (uint32_t)rest[9] << 24 | (uint32_t)rest[10] << 16 | (uint32_t)rest[11] << 8 | rest[12];
    units = 8 * (uint32_t)((size_t)len - head);
    memcpy(have, rest + 13, units / 8);
    return 0;
}

/* What of the file is safe: not noted before it is. */
static void save(void) {
    unsaved = 0;
    check(fdatasync(part) == 0, part_name);
    if (etag_len == 0) return;
    uint8_t head[13] = {etag_len};
    memcpy(head + 1, etag, etag_len);
    for (int i = 0; i < 4; i++) head[9 + i] = (uint8_t)(total >> (24 - 8 * i));
    int fd = open(new_name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    check(write(fd, of, strlen(of)) == (ssize_t)strlen(of) && write(fd, head, sizeof head) == (ssize_t)sizeof head &&
              write(fd, have, units / 8) == (ssize_t)(units / 8) && fdatasync(fd) == 0 && rename(new_name, note_name) == 0,
          new_name);
    close(fd);
}

/* Asks for the file to be put, or for the first part that is missing; where none is, all is done. */
static int32_t ask(void) {
    waft_coap_request_t request;
    uint32_t exchange, start = 0, end;
    waft_coap_request_defaults(&request);
    request.path = (waft_str_t){path, strlen(path)};
    if (put) {
        request.method = WAFT_COAP_PUT;
        request.streamed = 1;
        request.payload_len = length;
        return waft_coap_endpoint_request(&endpoint, now(), 0, &request, &exchange);
    }
    while (has(start)) start++;
    if ((uint64_t)start * UNIT >= total) {
        check(ftruncate(part, total) == 0, part_name);
        save();
        unlink(note_name);
        check(rename(part_name, name) == 0, name);
        done = printf("%u bytes fetched\n", (unsigned)total);
        return 0;
    }
    for (end = start; end < units && !has(end); end++) {}
    request.window = 16;
    request.offset = start * UNIT;
    request.until = end < units ? end * UNIT : UINT32_MAX;
    request.etag = (waft_bytes_t){etag, etag_len};
    return waft_coap_endpoint_request(&endpoint, now(), 0, &request, &exchange);
}

static int32_t begin_again(const char *why) {
    if (++tries == TRIES) return fprintf(stderr, "given up: %s\n", why), -1;
    printf("once more: %s\n", why);
    if (!put) {
        total = UNKNOWN;
        etag_len = 0;
        memset(have, 0, sizeof have);
        units = 0;
        unlink(note_name);
        check(ftruncate(part, 0) == 0, part_name);
    }
    return ask();
}

/* What the endpoint tells. */
static int32_t told(const waft_coap_event_t *event) {
    static uint8_t block[1024];
    char why[8];
    switch (event->kind) {
    case WAFT_COAP_EVENT_BODY_WANTED:
        if (pread(part, block, event->len, event->offset) != (ssize_t)event->len) return -1;
        return waft_coap_endpoint_body(&endpoint, now(), event->exchange, (waft_bytes_t){block, event->len});
    case WAFT_COAP_EVENT_RESPONSE:
        if (put && event->code >> 5 == 2) return done = printf("%u bytes put\n", (unsigned)length), 0;
        if (event->code != WAFT_COAP_CONTENT) {
            snprintf(why, sizeof why, "%d.%02d", event->code >> 5, event->code & 31);
            /* Of a body that comes by blocks the server forgot the first; a file of which a part is here is shorter now. */
            if (event->code == WAFT_COAP_REQUEST_ENTITY_INCOMPLETE || units) return begin_again(why);
            return fprintf(stderr, "%s\n", why), -1;
        }
        uint32_t first = event->offset / UNIT, end = (event->offset + (uint32_t)event->payload.len + UNIT - 1) / UNIT;
        if (end > 8 * sizeof have) return fprintf(stderr, "too large\n"), -1;
        if (pwrite(part, event->payload.data, event->payload.len, event->offset) != (ssize_t)event->payload.len) return -1;
        memcpy(etag, event->etag, etag_len = event->etag_len);
        if (event->has_total) total = event->total;
        if (end > units) units = (end + 7) / 8 * 8;
        for (; first < end; first++) have[first / 8] |= (uint8_t)(1 << first % 8); /* blocks come in any order */
        if (++unsaved == SAVED_AFTER) save();
        return event->last ? ask() : 0;
    case WAFT_COAP_EVENT_FAILED:
        if (event->reason == WAFT_COAP_FAILURE_CHANGED) return begin_again("Changed");
        save();
        return fprintf(stderr, "%s: what is here is kept\n", waft_coap_failure_name(event->reason)), -1;
    default:
        return 0;
    }
}

static int to_server(const char *host, const char *port) {
    struct addrinfo *found, hints = {.ai_socktype = SOCK_DGRAM};
    if (getaddrinfo(host, port, &hints, &found)) return fprintf(stderr, "%s: not found\n", host), exit(1), -1;
    int udp = socket(found->ai_family, SOCK_DGRAM, 0);
    check(udp >= 0 && connect(udp, found->ai_addr, found->ai_addrlen) == 0, host);
    freeaddrinfo(found);
    return udp;
}

int main(int argc, char **argv) {
    static uint8_t memory[WAFT_COAP_MEMORY(2, 20, 4, 0, 2048)], out[1152], datagram[2048];
    waft_coap_endpoint_config_t config;
    waft_output_t output;
    waft_coap_event_t event;
    waft_handled_t handled;
    if (argc != 6) return fprintf(stderr, "transfer get|put HOST PORT PATH FILE\n"), 2;
    path = argv[4], name = argv[5], put = strcmp(argv[1], "put") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(of, sizeof of, "%s %s %s\n", argv[2], argv[3], argv[4]);
    snprintf(part_name, sizeof part_name, "%s.part", name);
    snprintf(note_name, sizeof note_name, "%s.note", name);
    snprintf(new_name, sizeof new_name, "%s.note.new", name);
    if (put) {
        check((part = open(name, O_RDONLY)) >= 0, name);
        length = (uint32_t)lseek(part, 0, SEEK_END);
    } else if (remember() == 0) {
        uint32_t here = 0;
        for (uint32_t unit = 0; unit < units; unit++) here += (uint32_t)has(unit);
        printf("%u bytes are here\n", (unsigned)(here * UNIT));
    } else {
        check((part = open(part_name, O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0, part_name);
    }
    waft_coap_endpoint_defaults(&config);
    check(getrandom(&config.seed, sizeof config.seed, 0) == sizeof config.seed, "seed");
    config.transfers = 2;
    config.flights = 20;
    config.seen = 4;
    config.observers = 0;
    int32_t result = waft_coap_endpoint_init(&endpoint, sizeof endpoint, &config, memory, sizeof memory);
    int udp = to_server(argv[2], argv[3]);
    if (result == 0) result = ask();
    while (result == 0 && !done) {
        do {
            if ((result = waft_coap_endpoint_poll_output(&endpoint, now(), out, sizeof out, &output, &event))) break;
            /* What cannot be sent now is as good as lost. */
            if (output.kind == WAFT_OUTPUT_TRANSMIT && send(udp, out, output.len, 0) < 0) continue;
            if (output.kind == WAFT_OUTPUT_EVENT && (result = told(&event))) break;
        } while (output.kind != WAFT_OUTPUT_TIMEOUT);
        if (result || done) break;
        struct pollfd readable = {udp, POLLIN, 0};
        uint64_t at = output.deadline, t = now();
        if (poll(&readable, 1, at == WAFT_NEVER ? -1 : at > t ? (int)((at - t) / 1000 + 1) : 0) == 0) {
            result = waft_coap_endpoint_handle_timeout(&endpoint, now());
            continue;
        }
        ssize_t n = recv(udp, datagram, sizeof datagram, 0);
        if (n < 0) continue; /* nobody listens there, at the moment */
        result = waft_coap_endpoint_handle_input(&endpoint, now(), 0, datagram, (size_t)n, &handled, &event);
        if (result == 0) result = told(&event);
    }
    if (result < -1) fprintf(stderr, "%s: %s\n", waft_error_name(result), waft_error_message(result));
    return result != 0;
}
