/* The rules at the top of waft.h: what is NULL, uninitialised, too small or of another kind is refused. */
#include "test.h"

int main(void) {
    static waft_mqtt_client_t client;
    static waft_update_t update;
    static uint8_t memory[512];
    waft_mqtt_client_config_t config;
    uint16_t id = 7;
    const waft_bytes_t nothing = {NULL, 0};

    OK(waft_mqtt_client_defaults(&config));
    CHECK(config.in_flight == 8);
    CHECK(waft_mqtt_client_defaults(NULL) == WAFT_ERROR_NULL_POINTER);

    CHECK(waft_mqtt_client_disconnect(NULL, 0) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_mqtt_client_disconnect(&client, 0) == WAFT_ERROR_BAD_HANDLE);
    CHECK(waft_mqtt_client_next_timeout(&client) == WAFT_NEVER);

    CHECK(waft_mqtt_client_init(&client, sizeof client - 1, &config, memory, sizeof memory) == WAFT_ERROR_BAD_STORAGE);
    CHECK(waft_mqtt_client_init(&client, sizeof client, NULL, memory, sizeof memory) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_mqtt_client_init(&client, sizeof client, &config, NULL, 1) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_mqtt_client_init(&client, sizeof client, &config, memory, 8) == WAFT_ERROR_BUFFER);
    OK(waft_mqtt_client_init(&client, sizeof client, &config, memory + 1, sizeof memory - 1));

    waft_mqtt_connect_t connect;
    memset(&connect, 0, sizeof connect);
    connect.clean_session = 1;
    OK(waft_mqtt_client_connect(&client, 0, 1, &connect));

    /* Outputs are written on success only. */
    CHECK(waft_mqtt_client_publish(&client, 0, WAFT_STR("a/#"), nothing, 1, 0, &id) == WAFT_ERROR_INVALID_TOPIC);
    CHECK(waft_mqtt_client_publish(&client, 0, WAFT_STR("a"), nothing, 3, 0, &id) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(id == 7);
    CHECK(waft_mqtt_client_publish(&client, 0, WAFT_STR("a"), nothing, 1, 0, NULL) == WAFT_ERROR_NULL_POINTER);

    /* A handle of another kind. */
    CHECK(waft_update_done((waft_update_t *)&client, 0) == WAFT_ERROR_BAD_HANDLE);
    CHECK(waft_update_done(&update, 0) == WAFT_ERROR_BAD_HANDLE);

    /* A handle may be moved. */
    waft_mqtt_client_t moved;
    memcpy(&moved, &client, sizeof moved);
    CHECK(waft_mqtt_client_is_connected(&moved) == 0);
    puts("test_handle: ok");
    return 0;
}
