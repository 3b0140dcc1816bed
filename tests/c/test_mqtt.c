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

int main(void) {
    waft_mqtt_client_config_t config;
    OK(waft_mqtt_client_defaults(&config));
    OK(waft_mqtt_client_init(&client, sizeof client, &config, memory, sizeof memory));

    waft_mqtt_connect_t connect;
    memset(&connect, 0, sizeof connect);
    connect.client_id = WAFT_STR("c");
    connect.clean_session = 1;
    OK(waft_mqtt_client_connect(&client, 0, SERVER, &connect));
    sends("\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01" "c", 15);
    receives("\x20\x02\0\0", 4);
    CHECK(event.kind == WAFT_MQTT_EVENT_CONNECTED && !event.session_present);
    CHECK(waft_mqtt_client_is_connected(&client) == 1);

    const waft_mqtt_filter_t filters[] = {{WAFT_STR_INIT("a/+"), 1}};
    uint16_t id;
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
    puts("test_mqtt: ok");
    return 0;
}
