/* A client connects, subscribes, publishes and receives, with a server that is written out here. */
#include "test.h"

enum { SERVER = 3 };
static waft_mqtt_client_t client;
static uint8_t memory[512];
static uint8_t buffer[128];
static waft_output_t output;
static waft_mqtt_event_t event;

/* The next output is these bytes. */
static void sends(const void *bytes, size_t len) {
    OK(waft_mqtt_client_poll_output(&client, 1, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.peer == SERVER);
    CHECK(output.len == len && memcmp(buffer, bytes, len) == 0);
}

/* These bytes are all consumed. */
static void receives(const void *bytes, size_t len) {
    waft_handled_t handled;
    OK(waft_mqtt_client_handle_input(&client, 1, SERVER, bytes, len, &handled, &event));
    CHECK(handled.consumed == len);
}

/* Power cuts: the session is written to two pages of flash, and a new client goes on with it. */
static void sessions(void) {
    static uint8_t pages[2][256];
    static waft_mqtt_journal_t journal;
    static uint8_t record[256];
    waft_bytes_t newest, note;
    const waft_bytes_t page0 = {pages[0], sizeof pages[0]}, page1 = {pages[1], sizeof pages[1]};
    memset(pages, 0xff, sizeof pages);
    OK(waft_mqtt_journal_open(&journal, sizeof journal, page0, page1, 8, &newest));
    CHECK(newest.len == 0);

    waft_mqtt_client_config_t config;
    OK(waft_mqtt_client_defaults(&config));
    CHECK(config.max_payload == 268435455);
    config.max_payload = 2;
    OK(waft_mqtt_client_init(&client, sizeof client, &config, memory, sizeof memory));
    waft_mqtt_connect_t connect;
    memset(&connect, 0, sizeof connect);
    connect.client_id = WAFT_STR("c");
    OK(waft_mqtt_client_connect(&client, 0, SERVER, &connect));
    OK(waft_mqtt_client_poll_output(&client, 1, buffer, sizeof buffer, &output, &event));
    receives("\x20\x02\0\0", 4);

    /* Larger than wanted: passed over, acknowledged, and the connection stays. */
    receives("\x32\x08\0\x01" "a\0\x09xyz", 7);
    CHECK(event.kind == WAFT_MQTT_EVENT_SKIPPED && event.len == 3);
    receives("xyz", 3);
    CHECK(event.kind == WAFT_MQTT_EVENT_NONE);
    sends("\x40\x02\0\x09", 4);
    receives("\x32\x07\0\x01" "a\0\x08", 7);
    CHECK(event.kind == WAFT_MQTT_EVENT_PUBLISH);
    OK(waft_mqtt_client_refuse(&client, 1));
    receives("xy", 2);
    CHECK(event.kind == WAFT_MQTT_EVENT_NONE);
    sends("\x40\x02\0\x08", 4);
    CHECK(waft_mqtt_client_refuse(&client, 1) == WAFT_ERROR_WRONG_STATE);

    for (uint8_t n = 1; n <= 20; n++) {
        const waft_bytes_t payload = {&n, 1}, mine = {&n, 1};
        uint16_t id;
        if (n % 5 == 1) {
            OK(waft_mqtt_client_publish(&client, 1, WAFT_STR("t"), payload, 2, 0, &id));
        }
        size_t len = waft_mqtt_client_export_len(&client, 1), written;
        waft_mqtt_place_t place;
        OK(waft_mqtt_journal_place(&journal, len, &place));
        CHECK(place.sequence == n && place.offset % 8 == 0 && place.page < 2);
        CHECK(waft_mqtt_client_export(&client, place.sequence, mine, record, len - 1, &written) == WAFT_ERROR_BUFFER);
        OK(waft_mqtt_client_export(&client, place.sequence, mine, record, sizeof record, &written));
        CHECK(written == len && place.offset + len <= sizeof pages[0]);
        if (place.erase) {
            memset(pages[place.page], 0xff, sizeof pages[0]);
        }
        memcpy(pages[place.page] + place.offset, record, len);
        const waft_bytes_t whole = {record, len};
        CHECK(waft_mqtt_client_is_exported_in(&client, whole) == 1);
    }
    const waft_bytes_t nothing = {NULL, 0};
    CHECK(waft_mqtt_client_is_exported_in(&client, nothing) == 0);
    CHECK(waft_mqtt_client_import(&client, nothing, &note) == WAFT_ERROR_WRONG_STATE);

    OK(waft_mqtt_journal_open(&journal, sizeof journal, page0, page1, 8, &newest));
    OK(waft_mqtt_client_init(&client, sizeof client, &config, memory, sizeof memory));
    CHECK(waft_mqtt_client_import(&client, nothing, &note) == WAFT_ERROR_INVALID_SESSION);
    OK(waft_mqtt_client_import(&client, newest, &note));
    CHECK(note.len == 1 && note.data[0] == 20);
    OK(waft_mqtt_client_connect(&client, 0, SERVER, &connect));
    OK(waft_mqtt_client_poll_output(&client, 1, buffer, sizeof buffer, &output, &event));
    receives("\x20\x02\x01\0", 4);
    sends("\x3c\x06\0\x01t\0\x01\x01\x3c\x06\0\x01t\0\x02\x06"
          "\x3c\x06\0\x01t\0\x03\x0b\x3c\x06\0\x01t\0\x04\x10", 32);
}

int main(void) {
    waft_mqtt_client_config_t config;
    OK(waft_mqtt_client_defaults(&config));
    OK(waft_mqtt_client_init(&client, sizeof client, &config, memory, sizeof memory));

    waft_mqtt_connect_t connect;
    memset(&connect, 0, sizeof connect);
    connect.clean_session = 1;
    connect.client_id = WAFT_STR("\xc0\xaf");
    CHECK(waft_mqtt_client_connect(&client, 0, SERVER, &connect) == WAFT_ERROR_INVALID_STRING);
    connect.client_id = WAFT_STR("c");
    connect.will_topic = WAFT_STR("#");
    CHECK(waft_mqtt_client_connect(&client, 0, SERVER, &connect) == WAFT_ERROR_INVALID_TOPIC);
    connect.will_topic.data = NULL;
    connect.will_payload.data = (const uint8_t *)"gone";
    connect.will_payload.len = 4;
    CHECK(waft_mqtt_client_connect(&client, 0, SERVER, &connect) == WAFT_ERROR_INVALID_TOPIC);
    connect.will_topic = WAFT_STR("w");
    connect.will_payload.data = NULL;
    CHECK(waft_mqtt_client_connect(&client, 0, SERVER, &connect) == WAFT_ERROR_NULL_POINTER);
    connect.will_payload.len = 0;
    connect.will_topic.data = NULL;
    connect.password.data = (const uint8_t *)"p";
    connect.password.len = 1;
    CHECK(waft_mqtt_client_connect(&client, 0, SERVER, &connect) == WAFT_ERROR_INVALID_OPTION);
    connect.password.data = NULL;
    OK(waft_mqtt_client_connect(&client, 0, SERVER, &connect));
    sends("\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01" "c", 15);
    receives("\x20\x02\0\0", 4);
    CHECK(event.kind == WAFT_MQTT_EVENT_CONNECTED && !event.session_present);
    CHECK(waft_mqtt_client_is_connected(&client) == 1);

    const waft_mqtt_filter_t filters[] = {{WAFT_STR_INIT("a/+"), 1}};
    uint16_t id;
    /* Text is UTF-8, and what is wrong with it is said by the same name as in Rust. */
    const waft_mqtt_filter_t bad[] = {{WAFT_STR_INIT("a"), 0}, {WAFT_STR_INIT("\xff"), 0}};
    CHECK(waft_mqtt_client_subscribe(&client, 1, bad, 2, &id) == WAFT_ERROR_INVALID_FILTER);
    const waft_mqtt_filter_t qos_3[] = {{WAFT_STR_INIT("a"), 3}};
    CHECK(waft_mqtt_client_subscribe(&client, 1, qos_3, 1, &id) == WAFT_ERROR_OUT_OF_RANGE);
    const waft_bytes_t nothing = {NULL, 0};
    CHECK(waft_mqtt_client_publish(&client, 1, WAFT_STR("\xed\xa0\x80"), nothing, 0, 0, &id) == WAFT_ERROR_INVALID_TOPIC);
    OK(waft_mqtt_client_subscribe(&client, 1, filters, 1, &id));
    const uint8_t subscribe[] = {0x82, 8, 0, (uint8_t)id, 0, 3, 'a', '/', '+', 1};
    sends(subscribe, sizeof subscribe);
    const uint8_t suback[] = {0x90, 3, 0, (uint8_t)id, 1};
    receives(suback, sizeof suback);
    CHECK(event.kind == WAFT_MQTT_EVENT_SUBSCRIBED && event.id == id && event.bytes.len == 1 && event.bytes.data[0] == 1);

    /* A message comes in two pieces; its topic and payload are read where they arrived. */
    const uint8_t message[] = {0x30, 7, 0, 3, 'a', '/', 'b', 'h', 'i'};
    waft_handled_t handled;
    OK(waft_mqtt_client_handle_input(&client, 1, SERVER, message, 3, &handled, &event));
    CHECK(handled.consumed == 0 && handled.needed > 0 && event.kind == WAFT_MQTT_EVENT_NONE);
    OK(waft_mqtt_client_handle_input(&client, 1, SERVER, message, sizeof message, &handled, &event));
    CHECK(event.kind == WAFT_MQTT_EVENT_PUBLISH && event.len == 2);
    CHECK(event.topic.len == 3 && event.topic.data == (const char *)message + 4);
    receives(message + handled.consumed, sizeof message - handled.consumed);
    CHECK(event.kind == WAFT_MQTT_EVENT_PAYLOAD && event.last && memcmp(event.bytes.data, "hi", 2) == 0);

    const waft_bytes_t payload = {(const uint8_t *)"21", 2};
    OK(waft_mqtt_client_publish(&client, 1, WAFT_STR("t"), payload, 1, 0, &id));
    const uint8_t publish[] = {0x32, 7, 0, 1, 't', 0, (uint8_t)id, '2', '1'};
    /* A small buffer takes the packet in pieces. */
    size_t sent = 0;
    while (sent < sizeof publish) {
        OK(waft_mqtt_client_poll_output(&client, 1, buffer, 4, &output, &event));
        CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.len > 0 && output.len <= 4);
        CHECK(memcmp(buffer, publish + sent, output.len) == 0);
        sent += output.len;
    }
    const uint8_t puback[] = {0x40, 2, 0, (uint8_t)id};
    receives(puback, sizeof puback);
    CHECK(event.kind == WAFT_MQTT_EVENT_ACKNOWLEDGED && event.id == id);

    OK(waft_mqtt_client_poll_output(&client, 1, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TIMEOUT && output.deadline == waft_mqtt_client_next_timeout(&client));

    /* What breaks MQTT closes the connection, with a number and a name. */
    int32_t result = waft_mqtt_client_handle_input(&client, 1, SERVER, (const uint8_t *)"\xf0\0", 2, &handled, &event);
    CHECK(result <= -64 && result >= -83 && strcmp(waft_error_name(result), "Unknown") != 0);
    CHECK(waft_mqtt_client_is_connected(&client) == 0);
    sessions();
    puts("test_mqtt: ok");
    return 0;
}
