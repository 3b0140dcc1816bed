/* Every bound of waft_broker_config_t does what the header says. Hosted only. */
#include "test.h"

static waft_broker_t *broker;
static waft_broker_config_t config;
static uint8_t buffer[4096];
static waft_output_t output;
static waft_broker_event_t event, closed;
static uint8_t got[8192];
static size_t got_len;

/* The next broker has these defaults, but for what is set before begin(). */
static void defaults(void) { OK(waft_broker_defaults(&config)); }

static void begin(void) { OK(waft_broker_new(&config, &broker)); }

static void end(void) { OK(waft_broker_free(broker)); }

/* Goes on until nothing is to be done at `now`: `got` is what `peer` got, `closed` the last end of a connection. */
static void settle(uint64_t now, uint32_t peer) {
    got_len = 0;
    memset(&closed, 0, sizeof closed);
    for (;;) {
        OK(waft_broker_poll_output(broker, now, buffer, sizeof buffer, &output, &event));
        if (output.kind == WAFT_OUTPUT_TIMEOUT) return;
        if (output.kind == WAFT_OUTPUT_TRANSMIT && output.peer == peer) {
            memcpy(got + got_len, buffer, output.len);
            got_len += output.len;
        }
        if (output.kind == WAFT_OUTPUT_EVENT && event.kind == WAFT_BROKER_EVENT_CLOSE) closed = event;
    }
}

/* Hands in bytes, all of which are taken; gives the result. */
static int32_t offer(uint32_t peer, const void *bytes, size_t len) {
    waft_handled_t handled = {0, 0};
    int32_t result = waft_broker_handle_input(broker, 1, peer, bytes, len, &handled);
    CHECK(result != 0 || handled.consumed == len);
    settle(1, peer);
    return result;
}

static int got_is(const void *bytes, size_t len) { return got_len == len && memcmp(got, bytes, len) == 0; }

/* A client of that one-letter name; the return code that it gets. */
static int joins(uint32_t peer, char name, int clean) {
    uint8_t connect[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, (uint8_t)(clean ? 2 : 0), 0, 0, 0, 1, (uint8_t)name};
    OK(waft_broker_accept(broker, 1, peer));
    OK(offer(peer, connect, sizeof connect));
    CHECK(got_len == 4 && got[0] == 0x20);
    return got[3];
}

/* Topic "t", `len` bytes, identifier 5. */
static int32_t publishes(uint32_t peer, uint8_t first, size_t len) {
    uint8_t packet[600] = {first, 0, 0, 1, 't', 0, 5};
    size_t head = first & 6 ? 7 : 5, body = head - 2 + len;
    if (body > 127) {
        memmove(packet + 3, packet + 2, 5);
        packet[1] = (uint8_t)(body & 127) | 128;
        packet[2] = (uint8_t)(body >> 7);
        head++;
    } else {
        packet[1] = (uint8_t)body;
    }
    return offer(peer, packet, head + len);
}

static waft_broker_stats_t stats(void) {
    waft_broker_stats_t all;
    OK(waft_broker_stats(broker, &all));
    return all;
}

static void connections_and_sessions(void) {
    defaults();
    config.max_connections = 2;
    config.max_sessions = 1;
    begin();
    CHECK(joins(1, 'a', 0) == 0 && joins(2, 'b', 0) == 3);
    CHECK(closed.reason == WAFT_BROKER_REFUSED && closed.code == 3);
    OK(waft_broker_accept(broker, 1, 2));
    CHECK(waft_broker_accept(broker, 1, 3) == WAFT_ERROR_PEERS);
    end();
}

static void identifiers_of_clients(void) {
    defaults();
    config.max_client_id = 0;
    begin();
    CHECK(joins(1, 'a', 1) == 2);
    end();
}

/* CONNECT of one byte less than `max_connect` is 12 bytes long. */
static void sizes_of_packets(void) {
    defaults();
    config.max_connect = 12;
    begin();
    OK(waft_broker_accept(broker, 1, 1));
    CHECK(offer(1, "\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x", 15) == WAFT_ERROR_MQTT_PACKET_TOO_LARGE);
    CHECK(closed.reason == WAFT_BROKER_VIOLATION && closed.code == WAFT_ERROR_MQTT_PACKET_TOO_LARGE);
    end();
    defaults();
    config.max_packet = 6;
    config.max_payload = 200;
    begin();
    joins(1, 'a', 1);
    OK(offer(1, "\x82\x06\0\x09\0\x01" "a\0", 8));
    OK(publishes(1, 0x32, 200)); /* its payload does not count as packet */
    CHECK(offer(1, "\x82\x07\0\x09\0\x02" "ab\0", 9) == WAFT_ERROR_MQTT_PACKET_TOO_LARGE);
    joins(2, 'b', 1);
    CHECK(publishes(2, 0x32, 201) == WAFT_ERROR_MQTT_PACKET_TOO_LARGE && closed.peer == 2);
    end();
}

static void subscriptions(void) {
    defaults();
    config.max_subscriptions = 2;
    config.max_subscription_bytes = 6;
    config.max_levels = 3;
    config.max_qos = 1;
    begin();
    joins(1, 'a', 1);
    /* Too deep; granted less; as long as may be; too many. */
    OK(offer(1, "\x82\x1c\0\x09\0\x07" "a/b/c/d\0\0\x01x\x02\0\x05" "12345\0\0\x01y\0", 30));
    CHECK(got_is("\x90\x06\0\x09\x80\x01\x00\x80", 8));
    OK(offer(1, "\xa2\x05\0\x09\0\x01x", 7));
    OK(offer(1, "\x82\x07\0\x09\0\x02" "zz\0", 9)); /* a byte too long together */
    CHECK(got_is("\x90\x03\0\x09\x80", 5));
    end();
}

static void messages_on_their_way(void) {
    size_t sessions;
    defaults();
    config.max_in_flight = 1;
    config.max_inbound = 1;
    config.max_queued = 2;
    begin();
    joins(1, 'a', 1);
    OK(offer(1, "\x82\x06\0\x09\0\x01t\x01", 8));
    for (int n = 0; n < 3; n++) OK(waft_broker_publish(broker, 1, WAFT_STR("t"), (waft_bytes_t){NULL, 0}, 1, 0, &sessions));
    CHECK(sessions == 0 && stats().dropped == 1 && stats().queued == 2);
    settle(1, 1);
    CHECK(got_is("\x32\x05\0\x01t\0\x02", 7)); /* the other waits */
    OK(offer(1, "\x40\x02\0\x02", 4));
    CHECK(got_is("\x32\x05\0\x01t\0\x03", 7));
    joins(2, 'b', 1);
    OK(publishes(2, 0x34, 0));
    CHECK(closed.kind == 0);
    OK(offer(2, "\x34\x05\0\x01t\0\x06", 7)); /* a second one before PUBREL */
    CHECK(closed.peer == 2 && closed.reason == WAFT_BROKER_CAPACITY && closed.code == WAFT_ERROR_IN_FLIGHT);
    end();
    defaults();
    config.max_queued_bytes = 10;
    begin();
    joins(1, 'a', 1);
    OK(offer(1, "\x82\x06\0\x09\0\x01t\x01", 8));
    OK(waft_broker_pause(broker, 1));
    for (int n = 0; n < 2; n++)
        OK(waft_broker_publish(broker, 1, WAFT_STR("t"), (waft_bytes_t){(const uint8_t *)"12345", 5}, 1, 0, &sessions));
    CHECK(sessions == 0 && stats().dropped == 1 && stats().queued_bytes == 6);
    end();
}

static void retained_messages(void) {
    for (int n = 0; n < 2; n++) {
        size_t sessions;
        defaults();
        if (n) config.max_retained = 1; else config.max_retained_bytes = 8;
        begin();
        OK(waft_broker_publish(broker, 1, WAFT_STR("a"), (waft_bytes_t){(const uint8_t *)"1234", 4}, 0, 1, &sessions));
        joins(1, 'a', 1);
        OK(publishes(1, 0x31, 4)); /* QoS 0: not retained */
        CHECK(stats().retained == 1 && stats().retained_bytes == 5 && closed.kind == 0);
        OK(publishes(1, 0x33, 4));
        CHECK(closed.reason == WAFT_BROKER_CAPACITY && closed.code == WAFT_ERROR_RETAINED && got_len == 0);
        end();
    }
}

static void answers_that_nobody_reads(void) {
    waft_handled_t handled;
    defaults();
    config.max_backlog = 4;
    begin();
    joins(1, 'a', 1);
    OK(waft_broker_pause(broker, 1));
    OK(offer(1, "\xc0\0", 2));
    OK(offer(1, "\xc0\0", 2));
    OK(waft_broker_handle_input(broker, 1, 1, (const uint8_t *)"\xc0\0", 2, &handled));
    CHECK(handled.consumed == 0 && handled.needed == 0);
    OK(waft_broker_resume(broker, 1));
    settle(1, 1);
    CHECK(got_is("\xd0\0\xd0\0", 4));
    OK(offer(1, "\xc0\0", 2));
    end();
}

static void what_waits_for_the_file(void) {
    waft_handled_t handled;
    defaults();
    config.persistent = 1;
    config.max_unrecorded = 10;
    begin();
    OK(waft_broker_accept(broker, 1, 1));
    OK(offer(1, "\x10\x0d\0\x04MQTT\x04\0\0\0\0\x01x", 15)); /* a record goes out */
    OK(publishes(1, 0x32, 20));
    OK(waft_broker_handle_input(broker, 1, 1, (const uint8_t *)"\xc0\0", 2, &handled));
    CHECK(handled.consumed == 0 && handled.needed == 0);
    OK(waft_broker_recorded(broker, 1));
    OK(waft_broker_handle_input(broker, 1, 1, (const uint8_t *)"\xc0\0", 2, &handled));
    CHECK(handled.consumed == 2);
    end();
}

static void times(void) {
    defaults();
    config.connect_timeout = 2000;
    config.session_expiry = 3000;
    config.sys_interval = 500;
    begin();
    OK(waft_broker_accept(broker, 1, 1));
    CHECK(waft_broker_next_timeout(broker) == 1); /* $SYS, at once */
    settle(1, 1);
    CHECK(waft_broker_next_timeout(broker) == 500001 && stats().retained > 5);
    OK(waft_broker_handle_timeout(broker, 2000001));
    settle(2000001, 1);
    CHECK(closed.reason == WAFT_BROKER_CONNECT_TIMEOUT);
    end();
    config.sys_interval = 0;
    begin();
    joins(1, 'a', 0);
    OK(waft_broker_connection_lost(broker, 1, 1));
    OK(waft_broker_handle_timeout(broker, 3000000));
    CHECK(stats().sessions == 1 && waft_broker_next_timeout(broker) == 3000001);
    OK(waft_broker_handle_timeout(broker, 3000001));
    CHECK(stats().sessions == 0);
    end();
}

int main(void) {
    connections_and_sessions();
    identifiers_of_clients();
    sizes_of_packets();
    subscriptions();
    messages_on_their_way();
    retained_messages();
    answers_that_nobody_reads();
    what_waits_for_the_file();
    times();
    puts("test_broker_bounds: ok");
    return 0;
}
