/* The broker: two clients, a retained message, a will, a host that publishes; and what is refused. Hosted only. */
#include "test.h"

static waft_broker_t *broker;
static uint8_t buffer[256];
static waft_output_t output;
static waft_broker_event_t event;

static void receives(uint32_t peer, const void *bytes, size_t len) {
    waft_handled_t handled;
    OK(waft_broker_handle_input(broker, 1, peer, bytes, len, &handled));
    CHECK(handled.consumed == len);
}

static void poll(void) {
    OK(waft_broker_poll_output(broker, 1, buffer, sizeof buffer, &output, &event));
}

static void sends(uint32_t peer, const void *bytes, size_t len) {
    poll();
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.peer == peer);
    CHECK(output.len == len && memcmp(buffer, bytes, len) == 0);
}

static void is_silent(void) {
    poll();
    CHECK(output.kind == WAFT_OUTPUT_TIMEOUT && output.deadline == waft_broker_next_timeout(broker));
}

/* A client of that one-letter name, whose will is "gone" on topic "w". */
static void joins(uint32_t peer, char name) {
    uint8_t connect[] = {0x10, 22, 0, 4, 'M', 'Q', 'T', 'T', 4, 6, 0, 0, 0, 1, (uint8_t)name,
                         0,    1,  'w', 0, 4, 'g', 'o', 'n', 'e'};
    OK(waft_broker_accept(broker, 1, peer));
    CHECK(waft_broker_accept(broker, 1, peer) == WAFT_ERROR_WRONG_STATE);
    receives(peer, connect, sizeof connect);
    poll();
    CHECK(output.kind == WAFT_OUTPUT_EVENT && event.kind == WAFT_BROKER_EVENT_CONNECTED && event.peer == peer);
    CHECK(event.client_id.len == 1 && *event.client_id.data == name && !event.session_present);
    sends(peer, "\x20\x02\0\0", 4);
}

static void messages_are_routed(void) {
    size_t sessions = 7;
    waft_str_t topic;
    waft_bytes_t payload = {(const uint8_t *)"21", 2};
    CHECK(waft_broker_publish(broker, 1, WAFT_STR("a/#"), payload, 0, 0, &sessions) == WAFT_ERROR_INVALID_TOPIC);
    CHECK(waft_broker_publish(broker, 1, WAFT_STR("a"), payload, 3, 0, &sessions) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_broker_publish(broker, 1, WAFT_STR("a"), payload, 0, 0, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(sessions == 7);
    OK(waft_broker_publish(broker, 1, WAFT_STR("a"), payload, 1, 1, &sessions));
    CHECK(sessions == 0);

    joins(1, 'x');
    joins(2, 'y');
    /* The retained message, and everything after it. */
    receives(1, "\x82\x06\0\x09\0\x01#\0", 8);
    sends(1, "\x90\x03\0\x09\0\x31\x05\0\x01" "a21", 12);
    receives(2, "\x30\x05\0\x01" "bhi", 7);
    sends(1, "\x30\x05\0\x01" "bhi", 7);
    OK(waft_broker_publish(broker, 1, WAFT_STR("c"), payload, 0, 0, &sessions));
    CHECK(sessions == 1);
    OK(waft_broker_pause(broker, 1));
    is_silent();
    OK(waft_broker_resume(broker, 1));
    sends(1, "\x30\x05\0\x01" "c21", 7);

    OK(waft_broker_retained(broker, WAFT_STR("+"), 0, &topic, &payload));
    CHECK(topic.len == 1 && *topic.data == 'a' && payload.len == 2 && memcmp(payload.data, "21", 2) == 0);
    CHECK(waft_broker_retained(broker, WAFT_STR("+"), 1, &topic, &payload) == WAFT_ERROR_UNKNOWN_ID);

    waft_broker_stats_t stats;
    OK(waft_broker_stats(broker, &stats));
    CHECK(stats.connected == 2 && stats.sessions == 2 && stats.retained == 1 && stats.received == 1 && stats.sent == 3);
}

static void an_offence_ends_only_its_peer(void) {
    waft_handled_t handled = {77, 77};
    CHECK(waft_broker_handle_input(broker, 1, 2, (const uint8_t *)"\xf0\0", 2, &handled) == WAFT_ERROR_MQTT_RESERVED_TYPE);
    CHECK(handled.consumed == 77 && handled.needed == 77);
    int closed = 0;
    for (poll(); output.kind != WAFT_OUTPUT_TIMEOUT; poll()) {
        if (output.kind == WAFT_OUTPUT_TRANSMIT) {
            CHECK(output.peer == 1 && memcmp(buffer, "\x30\x07\0\x01wgone", 9) == 0);
            closed |= 1;
        } else {
            CHECK(event.kind == WAFT_BROKER_EVENT_CLOSE && event.peer == 2 && event.reason == WAFT_BROKER_VIOLATION);
            CHECK(event.code == WAFT_ERROR_MQTT_RESERVED_TYPE);
            closed |= 2;
        }
    }
    CHECK(closed == 3);
    CHECK(waft_broker_disconnect(broker, 1, 2) == WAFT_ERROR_UNKNOWN_ID);
    OK(waft_broker_connection_lost(broker, 1, 2));
    OK(waft_broker_disconnect(broker, 1, 1));
    poll();
    CHECK(event.kind == WAFT_BROKER_EVENT_CLOSE && event.peer == 1 && event.reason == WAFT_BROKER_HOST && event.code == 0);
}

static void a_user_needs_the_password(void) {
    static const waft_broker_user_t users[] = {{WAFT_STR_INIT("u"), {(const uint8_t *)"p", 1}}};
    waft_broker_config_t config;
    OK(waft_broker_defaults(&config));
    config.users = users;
    config.user_count = 1;
    config.max_connections = 1;
    OK(waft_broker_new(&config, &broker));
    OK(waft_broker_accept(broker, 1, 1));
    CHECK(waft_broker_accept(broker, 1, 2) == WAFT_ERROR_PEERS);
    receives(1, "\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x", 15);
    sends(1, "\x20\x02\0\x04", 4);
    poll();
    CHECK(event.kind == WAFT_BROKER_EVENT_CLOSE && event.reason == WAFT_BROKER_REFUSED && event.code == 4);
    OK(waft_broker_accept(broker, 2, 1));
    CHECK(waft_broker_next_timeout(broker) == 10000002);
    OK(waft_broker_handle_timeout(broker, 10000002));
    poll();
    CHECK(event.kind == WAFT_BROKER_EVENT_CLOSE && event.reason == WAFT_BROKER_CONNECT_TIMEOUT);
    OK(waft_broker_free(broker));
}

static void misuse_is_refused(void) {
    waft_broker_config_t config;
    waft_broker_stats_t stats;
    waft_broker_t *none = NULL;
    waft_handled_t handled;
    waft_str_t topic;
    size_t sessions;
    waft_bytes_t payload = {NULL, 0};
    static uint64_t words[64];
    CHECK(waft_broker_defaults(NULL) == WAFT_ERROR_NULL_POINTER);
    OK(waft_broker_defaults(&config));
    CHECK(waft_broker_new(NULL, &none) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_broker_new(&config, NULL) == WAFT_ERROR_NULL_POINTER);
    config.max_qos = 3;
    CHECK(waft_broker_new(&config, &none) == WAFT_ERROR_OUT_OF_RANGE);
    config.max_qos = 2;
    config.user_count = 1;
    CHECK(waft_broker_new(&config, &none) == WAFT_ERROR_NULL_POINTER);
    CHECK(none == NULL);
    OK(waft_broker_free(NULL));
    CHECK(waft_broker_free((waft_broker_t *)words) == WAFT_ERROR_BAD_HANDLE);
    for (int n = 0; n < 2; n++) {
        waft_broker_t *bad = n ? (waft_broker_t *)words : NULL;
        int32_t expected = n ? WAFT_ERROR_BAD_HANDLE : WAFT_ERROR_NULL_POINTER;
        CHECK(waft_broker_accept(bad, 0, 0) == expected);
        CHECK(waft_broker_connection_lost(bad, 0, 0) == expected);
        CHECK(waft_broker_disconnect(bad, 0, 0) == expected);
        CHECK(waft_broker_pause(bad, 0) == expected);
        CHECK(waft_broker_resume(bad, 0) == expected);
        CHECK(waft_broker_publish(bad, 0, WAFT_STR("a"), payload, 0, 0, &sessions) == expected);
        CHECK(waft_broker_retained(bad, WAFT_STR("a"), 0, &topic, &payload) == expected);
        CHECK(waft_broker_stats(bad, &stats) == expected);
        CHECK(waft_broker_handle_input(bad, 0, 0, buffer, 1, &handled) == expected);
        CHECK(waft_broker_handle_timeout(bad, 0) == expected);
        CHECK(waft_broker_poll_output(bad, 0, buffer, 1, &output, &event) == expected);
        CHECK(waft_broker_next_timeout(bad) == WAFT_NEVER);
    }
    CHECK(waft_broker_stats(broker, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_broker_handle_input(broker, 0, 1, NULL, 1, &handled) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_broker_handle_input(broker, 0, 1, buffer, 1, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_broker_handle_input(broker, 0, 99, buffer, 1, &handled) == WAFT_ERROR_UNKNOWN_ID);
    CHECK(waft_broker_poll_output(broker, 0, NULL, 1, &output, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_broker_poll_output(broker, 0, buffer, 1, NULL, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_broker_poll_output(broker, 0, buffer, 1, &output, NULL) == WAFT_ERROR_NULL_POINTER);
    /* A handle of another kind. */
    CHECK(waft_gateway_free((waft_gateway_t *)broker) == WAFT_ERROR_BAD_HANDLE);
}

static void a_buffer_of_any_length_but_none_does(void) {
    joins(5, 'z');
    receives(5, "\xc0\0", 2);
    OK(waft_broker_poll_output(broker, 1, NULL, 0, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_BUFFER_TOO_SMALL && output.len == 1);
    OK(waft_broker_poll_output(broker, 1, buffer, 1, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.len == 1 && buffer[0] == 0xd0);
    OK(waft_broker_poll_output(broker, 1, buffer, 1, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.len == 1 && buffer[0] == 0);
}

static void connects(uint32_t peer, const char *user) {
    /* Client "k", session kept, a user name of three letters and the password "pw". */
    uint8_t connect[] = {0x10, 22, 0, 4, 'M', 'Q', 'T', 'T', 4, 0xc0, 0, 0, 0, 1, 'k', 0, 3, 'a', 'n', 'n', 0, 2, 'p', 'w'};
    memcpy(connect + 17, user, 3);
    OK(waft_broker_accept(broker, 1, peer));
    receives(peer, connect, sizeof connect);
}

static void the_host_answers_who_may_come_in(void) {
    waft_broker_config_t config;
    OK(waft_broker_defaults(&config));
    config.acl = WAFT_STR("allow all");
    CHECK(waft_broker_new(&config, &broker) == WAFT_ERROR_INVALID_OPTION);
    config.acl = WAFT_STR("topic deny #");
    config.ask_host = 1;
    OK(waft_broker_new(&config, &broker));
    connects(1, "ann");
    CHECK(waft_broker_deny(broker, 1, 1, 4) == WAFT_ERROR_WRONG_STATE);
    poll();
    CHECK(output.kind == WAFT_OUTPUT_EVENT && event.kind == WAFT_BROKER_EVENT_AUTHENTICATE && event.peer == 1);
    CHECK(event.username.len == 3 && memcmp(event.username.data, "ann", 3) == 0);
    CHECK(event.password.len == 2 && memcmp(event.password.data, "pw", 2) == 0);
    CHECK(waft_broker_deny(broker, 1, 1, 0) == WAFT_ERROR_OUT_OF_RANGE);
    OK(waft_broker_allow(broker, 1, 1, WAFT_STR("user ann\ntopic a")));
    poll();
    CHECK(event.kind == WAFT_BROKER_EVENT_CONNECTED);
    sends(1, "\x20\x02\0\0", 4);
    receives(1, "\x82\x0a\0\x09\0\x01" "a\0\0\x01" "b\0", 12);
    sends(1, "\x90\x04\0\x09\0\x80", 6);
    connects(2, "bob");
    poll();
    OK(waft_broker_deny(broker, 1, 2, 5));
    sends(2, "\x20\x02\0\x05", 4);
    OK(waft_broker_free(broker));
}

static void what_was_recorded_is_found_again(void) {
    static uint8_t file[4096];
    size_t len = 0, count, torn;
    waft_bytes_t piece;
    waft_broker_config_t config;
    OK(waft_broker_defaults(&config));
    OK(waft_broker_new(&config, &broker));
    CHECK(waft_broker_compact(broker, &count) == WAFT_ERROR_WRONG_STATE);
    OK(waft_broker_free(broker));
    config.persistent = 1;
    OK(waft_broker_new(&config, &broker));
    OK(waft_broker_compact(broker, &count));
    for (size_t i = 0; i < count; i++) {
        OK(waft_broker_piece(broker, i, &piece));
        memcpy(file + len, piece.data, piece.len);
        len += piece.len;
    }
    CHECK(waft_broker_piece(broker, count, &piece) == WAFT_ERROR_UNKNOWN_ID);
    OK(waft_broker_recorded(broker, 1));
    CHECK(waft_broker_recorded(broker, 1) == WAFT_ERROR_WRONG_STATE);
    waft_bytes_t payload = {(const uint8_t *)"21", 2};
    OK(waft_broker_publish(broker, 1, WAFT_STR("a"), payload, 1, 1, &count));
    poll();
    CHECK(output.kind == WAFT_OUTPUT_EVENT && event.kind == WAFT_BROKER_EVENT_RECORD);
    memcpy(file + len, event.bytes.data, event.bytes.len);
    len += event.bytes.len;
    OK(waft_broker_recorded(broker, 1));
    OK(waft_broker_free(broker));

    OK(waft_broker_new(&config, &broker));
    file[len] = 0;
    CHECK(waft_broker_restore(broker, 1, (waft_bytes_t){(const uint8_t *)"not a state", 11}, &torn) == WAFT_ERROR_OUT_OF_RANGE);
    OK(waft_broker_restore(broker, 1, (waft_bytes_t){file, len + 1}, &torn));
    CHECK(torn == 1);
    waft_str_t topic;
    OK(waft_broker_retained(broker, WAFT_STR("a"), 0, &topic, &payload));
    CHECK(payload.len == 2 && memcmp(payload.data, "21", 2) == 0);
    OK(waft_broker_free(broker));
}

int main(void) {
    waft_broker_config_t config;
    OK(waft_broker_defaults(&config));
    OK(waft_broker_new(&config, &broker));
    messages_are_routed();
    an_offence_ends_only_its_peer();
    a_buffer_of_any_length_but_none_does();
    misuse_is_refused();
    OK(waft_broker_free(broker));
    a_user_needs_the_password();
    the_host_answers_who_may_come_in();
    what_was_recorded_is_found_again();
    puts("test_broker: ok");
    return 0;
}
