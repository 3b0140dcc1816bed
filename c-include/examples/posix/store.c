/* Stores firmware before it acknowledges it, then sends it back, over however many connections and power cuts it takes:
 * store PORT FOLDER */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "waft.h"

enum { PAGE = 4096 };
static waft_mqtt_client_t client;
static waft_mqtt_journal_t journal;
static uint8_t pages[2 * PAGE], record[PAGE];
static size_t record_len;
static int image, flash, done;
enum { SUBSCRIBED, STORED /* and on its way back */ };
static uint8_t led_to[2]; /* what the session led to */
static uint16_t message;
static off_t length;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Before anything is sent: what has changed of the session, where no power cut reaches the record before. */
static int save(void) {
    if (waft_mqtt_client_is_exported_in(&client, (waft_bytes_t){record, record_len}) == 1) return 0;
    waft_bytes_t note = {led_to, sizeof led_to};
    waft_mqtt_place_t place;
    if (waft_mqtt_journal_place(&journal, waft_mqtt_client_export_len(&client, note.len), &place) ||
        waft_mqtt_client_export(&client, place.sequence, note, record, sizeof record, &record_len))
        return -1;
    memset(pages, 0xFF, PAGE);
    off_t page = (off_t)place.page * PAGE, at = page + (off_t)place.offset;
    if (place.erase && pwrite(flash, pages, PAGE, page) != PAGE) return -1;
    return pwrite(flash, record, record_len, at) == (ssize_t)record_len ? fsync(flash) : -1;
}

/* What the client tells. */
static int32_t told(const waft_mqtt_event_t *event) {
    static const waft_mqtt_filter_t filter = {WAFT_STR_INIT("fw/#"), 1};
    static uint8_t piece[512];
    uint16_t id;
    size_t taken;
    ssize_t n;
    switch (event->kind) {
    case WAFT_MQTT_EVENT_CONNECTED:
        if (event->session_present && led_to[SUBSCRIBED]) return 0;
        return waft_mqtt_client_subscribe(&client, now(), &filter, 1, &id);
    case WAFT_MQTT_EVENT_SUBSCRIBED:
        led_to[SUBSCRIBED] = 1;
        return 0;
    case WAFT_MQTT_EVENT_PUBLISH:
        if (!led_to[STORED] && event->topic.len == 8 && memcmp(event->topic.data, "fw/image", 8) == 0) {
            message = event->id;
            return ftruncate(image, length = 0);
        }
        if (event->len == 0) return 0;
        printf("%.*s refused\n", (int)event->topic.len, event->topic.data);
        return waft_mqtt_client_refuse(&client, now()); /* the rest of it is passed over, and it is acknowledged */
    case WAFT_MQTT_EVENT_SKIPPED: /* longer than max_payload */
        return printf("%u bytes refused\n", (unsigned)event->len) < 0;
    case WAFT_MQTT_EVENT_PAYLOAD:
        if (pwrite(image, event->bytes.data, event->bytes.len, length) != (ssize_t)event->bytes.len) return -1;
        length += (off_t)event->bytes.len;
        if (!event->last) return 0;
        if (fsync(image) || waft_mqtt_client_acknowledge(&client, now(), message)) return -1; /* not before it is safe */
        led_to[STORED] = 1;
        return waft_mqtt_client_publish_streamed(&client, now(), WAFT_STR("report"), (uint32_t)length, 1, 1, &id);
    case WAFT_MQTT_EVENT_PAYLOAD_WANTED:
        n = pread(image, piece, event->len < sizeof piece ? event->len : sizeof piece, (off_t)event->offset);
        return n <= 0 ? -1 : waft_mqtt_client_payload(&client, now(), (waft_bytes_t){piece, (size_t)n}, &taken);
    case WAFT_MQTT_EVENT_ACKNOWLEDGED:
        done = 1;
        return 0;
    case WAFT_MQTT_EVENT_REFUSED:
    case WAFT_MQTT_EVENT_CLOSED:
        return -1;
    default:
        return 0;
    }
}

/* One connection: what it ended with, 0 when all is done. */
static int32_t run(int socket_) {
    static uint8_t out[1024], rx[1024];
    waft_mqtt_connect_t hello = {.client_id = {"store", 5}, .keep_alive = 30};
    waft_output_t output;
    waft_mqtt_event_t event;
    waft_handled_t handled;
    size_t len = 0;
    int32_t result = waft_mqtt_client_connect(&client, now(), 0, &hello);
    while (result == 0) {
        do {
            if ((result = waft_mqtt_client_poll_output(&client, now(), out, sizeof out, &output, &event))) return result;
            if (output.kind == WAFT_OUTPUT_EVENT && (result = told(&event))) return result;
            if (output.kind == WAFT_OUTPUT_TRANSMIT && (save() || write(socket_, out, output.len) < 0)) return -1;
        } while (output.kind != WAFT_OUTPUT_TIMEOUT);
        if ((result = waft_mqtt_client_handle_input(&client, now(), 0, rx, len, &handled, &event))) return result;
        result = told(&event);
        memmove(rx, rx + handled.consumed, len -= handled.consumed);
        if (done) return 0;
        if (handled.consumed || event.kind != WAFT_MQTT_EVENT_NONE) continue;
        struct pollfd readable = {socket_, POLLIN, 0};
        uint64_t at = output.deadline, t = now();
        if (poll(&readable, 1, at == WAFT_NEVER ? -1 : at > t ? (int)((at - t) / 1000 + 1) : 0) == 0) {
            result = waft_mqtt_client_handle_timeout(&client, now());
            continue;
        }
        ssize_t n = read(socket_, rx + len, sizeof rx - len);
        if (n <= 0) return -1;
        len += (size_t)n;
    }
    return result;
}

int main(int argc, char **argv) {
    static uint8_t memory[2048];
    waft_mqtt_client_config_t config;
    waft_bytes_t newest, note;
    if (argc != 3 || chdir(argv[2])) return fprintf(stderr, "store PORT FOLDER\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    image = open("image", O_RDWR | O_CREAT, 0600);
    flash = open("session", O_RDWR | O_CREAT, 0600);
    memset(pages, 0xFF, sizeof pages);
    if (image < 0 || flash < 0 || pread(flash, pages, sizeof pages, 0) < 0) return perror(argv[2]), 1;
    waft_mqtt_client_defaults(&config);
    config.manual_ack = 1;
    config.max_payload = 1 << 20;
    config.window = 512;
    waft_mqtt_client_init(&client, sizeof client, &config, memory, sizeof memory);
    waft_mqtt_journal_open(&journal, sizeof journal, (waft_bytes_t){pages, PAGE}, (waft_bytes_t){pages + PAGE, PAGE}, 1, &newest);
    if (newest.len && waft_mqtt_client_import(&client, newest, &note) == 0) memcpy(led_to, note.data, sizeof led_to);
    for (;;) {
        struct sockaddr_in broker = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
        broker.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int socket_ = socket(AF_INET, SOCK_STREAM, 0);
        int32_t result = connect(socket_, (struct sockaddr *)&broker, sizeof broker) ? -1 : run(socket_);
        close(socket_);
        if (done) return puts("sent back"), 0;
        if (result <= -64) return fprintf(stderr, "the broker broke MQTT: %s (%d)\n", waft_error_name(result), (int)result), 1;
        puts("once more");
        waft_mqtt_client_connection_lost(&client, now());
        nanosleep(&(struct timespec){0, 200000000}, NULL);
    }
}
