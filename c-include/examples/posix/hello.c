/* Publishes one message and waits until the broker has it: hello [port] */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "waft.h"

int main(int argc, char **argv) {
    struct sockaddr_in broker = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 1883))};
    broker.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(socket_, (struct sockaddr *)&broker, sizeof broker)) { perror("hello"); return 1; }
    static uint8_t memory[512], out[256], rx[256];
    waft_mqtt_client_config_t config;
    waft_mqtt_client_t client;
    waft_mqtt_connect_t hello = {.client_id = {"hello", 5}, .clean_session = 1};
    uint16_t id;
    waft_mqtt_client_defaults(&config);
    waft_mqtt_client_init(&client, sizeof client, &config, memory, sizeof memory);
    waft_mqtt_client_connect(&client, 0, 0, &hello);
    waft_mqtt_client_publish(&client, 0, (waft_str_t){"greeting", 8}, (waft_bytes_t){(const uint8_t *)"hello", 5}, 1, 0, &id);
    for (size_t len = 0;;) {
        waft_output_t output;
        waft_mqtt_event_t event;
        waft_handled_t handled;
        while (waft_mqtt_client_poll_output(&client, 0, out, sizeof out, &output, &event) == 0 &&
               output.kind == WAFT_OUTPUT_TRANSMIT)
            if (write(socket_, out, output.len) < 0) return 1;
        ssize_t n = read(socket_, rx + len, sizeof rx - len);
        if (n <= 0) return 1;
        len += (size_t)n;
        if (waft_mqtt_client_handle_input(&client, 0, 0, rx, len, &handled, &event)) return 1;
        if (event.kind == WAFT_MQTT_EVENT_ACKNOWLEDGED) { puts("the broker has it"); return 0; }
        memmove(rx, rx + handled.consumed, len -= handled.consumed);
    }
}
