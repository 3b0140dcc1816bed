/* A broker with rights and a state file: broker PORT ACL STATE */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#define WAFT_HOSTED
#include "waft.h"

/* A place for each connection, whose number is its peer. */
enum { PEERS = 64, ROOM = 8192 };
static struct {
    int socket; /* -1: free */
    size_t rx_len, tx_len;
    uint8_t rx[ROOM], tx[ROOM];
} peers[PEERS];
static struct pollfd waits[PEERS + 1];
static waft_broker_t *broker;
static int file;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void check(int ok, const char *what) {
    if (!ok) perror(what), exit(1);
}

static char *whole(const char *path, size_t *len) {
    int fd = open(path, O_RDONLY);
    struct stat about;
    *len = fd < 0 || fstat(fd, &about) ? 0 : (size_t)about.st_size;
    char *text = calloc(1, *len + 1);
    check(text && (fd < 0 || read(fd, text, *len) == (ssize_t)*len), path);
    if (fd >= 0) close(fd);
    return text;
}

/* The state that there was, and the file to go on with: another one in its place, or that one. */
static int32_t restore(const char *path) {
    char new[4096];
    size_t len, torn, count;
    waft_bytes_t piece;
    char *was = whole(path, &len);
    int32_t result = waft_broker_restore(broker, now(), (waft_bytes_t){(uint8_t *)was, len}, &torn);
    free(was);
    if (result || (result = waft_broker_compact(broker, &count))) return result;
    snprintf(new, sizeof new, "%s.new", path);
    file = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    check(file >= 0, new);
    for (size_t i = 0; i < count && waft_broker_piece(broker, i, &piece) == 0; i++)
        check(write(file, piece.data, piece.len) == (ssize_t)piece.len, new);
    check(fsync(file) == 0 && rename(new, path) == 0, new);
    return waft_broker_recorded(broker, now());
}

static void forget(uint32_t peer) {
    close(peers[peer].socket);
    peers[peer].socket = -1;
}

/* Sends what waits; a peer that does not take it is paused until it does. */
static void flush(uint32_t peer) {
    ssize_t n = send(peers[peer].socket, peers[peer].tx, peers[peer].tx_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) memmove(peers[peer].tx, peers[peer].tx + n, peers[peer].tx_len -= (size_t)n);
    if (peers[peer].tx_len == 0) waft_broker_resume(broker, peer);
    else waft_broker_pause(broker, peer);
}

/* Everything that there is to do now; when to go on. */
static uint64_t work(void) {
    static uint8_t out[ROOM];
    waft_output_t output;
    waft_broker_event_t event;
    waft_handled_t handled;
    for (int busy = 1; busy;) {
        busy = 0;
        for (uint32_t p = 0; p < PEERS; p++)
            while (peers[p].socket >= 0 && peers[p].rx_len &&
                   waft_broker_handle_input(broker, now(), p, peers[p].rx, peers[p].rx_len, &handled) == 0 && handled.consumed) {
                memmove(peers[p].rx, peers[p].rx + handled.consumed, peers[p].rx_len -= handled.consumed);
                busy = 1;
            }
        while (waft_broker_poll_output(broker, now(), out, sizeof out, &output, &event) == 0 && output.kind != WAFT_OUTPUT_TIMEOUT) {
            busy = 1;
            if (output.kind == WAFT_OUTPUT_TRANSMIT) { /* to a peer with nothing waiting, or it would be paused */
                memcpy(peers[output.peer].tx, out, peers[output.peer].tx_len = output.len);
                flush(output.peer);
            } else if (event.kind == WAFT_BROKER_EVENT_RECORD) {
                check(write(file, event.bytes.data, event.bytes.len) == (ssize_t)event.bytes.len && fdatasync(file) == 0, "state");
                waft_broker_recorded(broker, now());
            } else if (event.kind == WAFT_BROKER_EVENT_CLOSE) {
                printf("%u closed: reason %d, %s (%d)\n", event.peer, event.reason, waft_error_name(event.code), (int)event.code);
                forget(event.peer);
            }
        }
    }
    return output.deadline;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "broker PORT ACL STATE\n"), 2;
    waft_broker_config_t config;
    waft_broker_defaults(&config);
    check(getrandom(&config.seed, sizeof config.seed, 0) == sizeof config.seed, "seed");
    config.max_connections = PEERS;
    config.max_packet = ROOM - 5;
    config.max_connect = ROOM - 5;

    config.acl.data = whole(argv[2], &config.acl.len);
    config.persistent = 1;
    int32_t result = waft_broker_new(&config, &broker);
    if (result == 0) result = restore(argv[3]);

    if (result) return fprintf(stderr, "%s: %s\n", waft_error_name(result), waft_error_message(result)), 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    check(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 16) == 0, "port");
    check(getsockname(listener, (struct sockaddr *)&at, &(socklen_t){sizeof at}) == 0, "port");
    for (uint32_t p = 0; p < PEERS; p++) peers[p].socket = -1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("MQTT broker on 127.0.0.1:%u\n", ntohs(at.sin_port));
    for (;;) {
        uint64_t deadline = work(), t = now();
        waits[PEERS] = (struct pollfd){listener, POLLIN, 0};
        for (uint32_t p = 0; p < PEERS; p++) {
            short in = peers[p].rx_len < ROOM ? POLLIN : 0, out = peers[p].tx_len ? POLLOUT : 0;
            waits[p] = (struct pollfd){peers[p].socket, (short)(in | out), 0};
        }
        int wait = deadline == WAFT_NEVER ? -1 : deadline > t ? (int)((deadline - t) / 1000 + 1) : 0;
        if (poll(waits, PEERS + 1, wait) == 0) waft_broker_handle_timeout(broker, now());
        for (uint32_t p = 0; p < PEERS; p++) {
            if (peers[p].socket < 0 || !waits[p].revents) continue;
            if (waits[p].revents & POLLOUT) flush(p);
            if (!(waits[p].revents & ~POLLOUT)) continue;
            ssize_t n = recv(peers[p].socket, peers[p].rx + peers[p].rx_len, ROOM - peers[p].rx_len, MSG_DONTWAIT);
            if (n > 0) peers[p].rx_len += (size_t)n;
            else waft_broker_connection_lost(broker, now(), p), forget(p);
        }
        uint32_t p = 0;
        while (p < PEERS && peers[p].socket >= 0) p++;
        if (waits[PEERS].revents && p < PEERS && (peers[p].socket = accept(listener, NULL, NULL)) >= 0) {
            peers[p].rx_len = peers[p].tx_len = 0;
            if (waft_broker_accept(broker, now(), p)) forget(p);
        }
    }
}
