/* Serves a file at /fw, block by block and to those who observe it, and takes a new one by PUT: serve HOST PORT FILE */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#define WAFT_HOSTED
#include "waft.h"

enum { FIRMWARE, PEERS = 1024, SLOT = 1 << 21 };
static waft_coap_endpoint_t endpoint;
/* Addresses by number, of the last 1024 that were new. A number is given once: what is for one who is forgotten goes to nobody. */
static struct sockaddr_in peers[PEERS];
static uint32_t newest = UINT32_MAX;
static const char *name;
static char new_name[512];
/* The version of the file, empty where there is none; who puts a new one, and how much of it is here. */
static uint8_t version[32];
static size_t version_len;
static uint32_t sender, stored;
static int sending;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void check(int ok, const char *what) {
    if (!ok) perror(what), exit(1);
}

static uint32_t number(const struct sockaddr_in *address) {
    for (uint32_t back = 0; back < PEERS; back++) {
        const struct sockaddr_in *known = &peers[(newest - back) % PEERS];
        if (known->sin_port == address->sin_port && known->sin_addr.s_addr == address->sin_addr.s_addr) return newest - back;
    }
    peers[++newest % PEERS] = *address;
    return newest;
}

/* The file is another one now: what tells its version from all others. */
static void read_version(void) {
    int fd = open(name, O_RDONLY);
    struct stat about;
    if (fd < 0) return;
    check(fstat(fd, &about) == 0, name);
    size_t len = (size_t)about.st_size;
    void *all = len ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    check(all != MAP_FAILED && waft_sha256((waft_bytes_t){all, len}, version) == 0, name);
    if (all) munmap(all, len);
    close(fd);
    version_len = 8;
}

/* These bytes of the file, as the part of a body that is asked for. */
static void read_part(waft_coap_reply_t *reply, uint32_t offset, uint32_t len) {
    static uint8_t bytes[1024];
    int fd = open(name, O_RDONLY);
    struct stat about;
    check(fd >= 0 && fstat(fd, &about) == 0, name);
    ssize_t n = pread(fd, bytes, len, (off_t)offset);
    check(n >= 0, name);
    close(fd);
    reply->body = (waft_bytes_t){bytes, (size_t)n};
    reply->offset = offset;
    reply->total = (uint32_t)about.st_size;
}

/* A block of a new file. It goes to where it belongs, and takes the old one's place when it is whole. */
static uint8_t put(const waft_coap_event_t *block) {
    uint32_t end = block->offset + (uint32_t)block->payload.len;
    if (block->offset == 0) sender = block->peer, sending = 1, stored = 0;
    if (!sending || block->peer != sender || block->offset > stored) return WAFT_COAP_REQUEST_ENTITY_INCOMPLETE;
    if (end > SLOT) return WAFT_COAP_REQUEST_ENTITY_TOO_LARGE;
    int file = open(new_name, O_WRONLY | O_CREAT | (block->offset ? 0 : O_TRUNC), 0600);
    check(pwrite(file, block->payload.data, block->payload.len, block->offset) == (ssize_t)block->payload.len, new_name);
    stored = end;
    if (!block->more) check(ftruncate(file, end) == 0 && fsync(file) == 0 && rename(new_name, name) == 0, name);
    close(file);
    if (block->more) return WAFT_COAP_CONTINUE;
    size_t existed = version_len;
    sending = 0;
    read_version();
    printf("%u bytes stored\n", (unsigned)end);
    return existed ? WAFT_COAP_CHANGED : WAFT_COAP_CREATED;
}

/* What the endpoint tells. */
static void told(const waft_coap_event_t *event) {
    static const uint8_t link_format[] = {WAFT_COAP_FORMAT_LINK_FORMAT}, octets[] = {WAFT_COAP_FORMAT_OCTET_STREAM};
    static const waft_coap_attribute_t about[] = {{WAFT_STR_INIT("rt"), WAFT_STR_INIT("firmware")},
                                                  {WAFT_STR_INIT("ct"), WAFT_STR_INIT("42")},
                                                  {WAFT_STR_INIT("obs"), WAFT_STR_INIT("")}};
    static uint8_t links[64];
    if (event->kind != WAFT_COAP_EVENT_REQUEST) return;
    int is_file = waft_coap_path_is(&event->options, WAFT_STR("/fw"));
    int is_core = waft_coap_path_is(&event->options, WAFT_STR("/.well-known/core")), get = event->code == WAFT_COAP_GET;
    waft_bytes_t etag = {version, version_len};
    int32_t condition = waft_coap_condition(&event->options, event->code, version_len != 0, etag);
    waft_coap_option_t core = {{link_format, 1}, WAFT_COAP_OPTION_CONTENT_FORMAT};
    waft_coap_option_t file[] = {{etag, WAFT_COAP_OPTION_ETAG}, {{octets, 1}, WAFT_COAP_OPTION_CONTENT_FORMAT}};
    waft_coap_reply_t reply = {.code = WAFT_COAP_METHOD_NOT_ALLOWED, .observe = (uint8_t)is_file, .resource = FIRMWARE};
    if (get && is_core) {
        reply.code = WAFT_COAP_CONTENT, reply.options = &core, reply.option_count = 1;
        reply.body = (waft_bytes_t){links, 0};
        waft_coap_links_add(WAFT_STR("/fw"), about, 3, &event->options, links, sizeof links, &reply.body.len);
    } else if (is_file && (get || event->code == WAFT_COAP_PUT) && condition) {
        reply.code = (uint8_t)condition, reply.options = file, reply.option_count = condition == WAFT_COAP_VALID;
    } else if (get && is_file && version_len) {
        reply.code = WAFT_COAP_CONTENT, reply.options = file, reply.option_count = 2;
        read_part(&reply, event->wanted_offset, event->wanted_len);
    } else if (is_file && event->code == WAFT_COAP_PUT) {
        reply.code = put(event);
    } else if (get || !(is_file || is_core)) {
        reply.code = WAFT_COAP_NOT_FOUND;
    }
    waft_coap_endpoint_respond(&endpoint, now(), &event->request, &reply); /* no room now: as if it had been lost */
    if (reply.code == WAFT_COAP_CHANGED || reply.code == WAFT_COAP_CREATED) {
        file[0].value.len = version_len;
        waft_coap_reply_t state = {.code = WAFT_COAP_CONTENT, .options = file, .option_count = 2, .confirmable = 1};
        uint32_t observers;
        read_part(&state, 0, 1024);
        waft_coap_endpoint_notify(&endpoint, now(), FIRMWARE, &state, &observers);
    }
}

int main(int argc, char **argv) {
    static uint8_t memory[WAFT_COAP_MEMORY(1, 20, 64, 16, 65536)], out[1152], datagram[2048];
    waft_coap_endpoint_config_t config;
    waft_output_t output;
    waft_coap_event_t event;
    waft_handled_t handled;
    struct sockaddr_in at = {.sin_family = AF_INET};
    if (argc != 4 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1) return fprintf(stderr, "serve HOST PORT FILE\n"), 2;
    at.sin_port = htons((uint16_t)atoi(argv[2]));
    name = argv[3];
    snprintf(new_name, sizeof new_name, "%s.new", name);
    read_version();
    waft_coap_endpoint_defaults(&config);
    check(getrandom(&config.seed, sizeof config.seed, 0) == sizeof config.seed, "seed");
    config.transfers = 1;
    config.flights = 20;
    config.seen = 64;
    config.observers = 16;
    int32_t result = waft_coap_endpoint_init(&endpoint, sizeof endpoint, &config, memory, sizeof memory);
    if (result) return fprintf(stderr, "%s: %s\n", waft_error_name(result), waft_error_message(result)), 1;
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    check(bind(udp, (struct sockaddr *)&at, sizeof at) == 0 && getsockname(udp, (struct sockaddr *)&at, &(socklen_t){sizeof at}) == 0, "port");
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("CoAP server on %s:%u\n", argv[1], ntohs(at.sin_port));
    for (;;) {
        while ((result = waft_coap_endpoint_poll_output(&endpoint, now(), out, sizeof out, &output, &event)) == 0 &&
               output.kind != WAFT_OUTPUT_TIMEOUT) {
            if (output.kind != WAFT_OUTPUT_TRANSMIT || newest - output.peer >= PEERS) continue;
            const struct sockaddr_in *to = &peers[output.peer % PEERS];
            if (sendto(udp, out, output.len, 0, (const struct sockaddr *)to, sizeof *to) < 0) continue; /* as good as lost */
        }
        if (result) return fprintf(stderr, "%s\n", waft_error_name(result)), 1;
        struct pollfd readable = {udp, POLLIN, 0};
        uint64_t until = output.deadline, t = now();
        if (poll(&readable, 1, until == WAFT_NEVER ? -1 : until > t ? (int)((until - t) / 1000 + 1) : 0) == 0) {
            waft_coap_endpoint_handle_timeout(&endpoint, now());
            continue;
        }
        struct sockaddr_in from;
        ssize_t n = recvfrom(udp, datagram, sizeof datagram, 0, (struct sockaddr *)&from, &(socklen_t){sizeof from});
        if (n >= 0 && !waft_coap_endpoint_handle_input(&endpoint, now(), number(&from), datagram, (size_t)n, &handled, &event))
            told(&event);
    }
}
