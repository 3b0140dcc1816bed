/* The gateway: an endpoint gets what was put and what has to be fetched first, and observes a change. Hosted only. */
#include "test.h"

static waft_gateway_t *gateway;
static waft_coap_endpoint_t client;
static uint8_t memory[WAFT_COAP_ENDPOINT_MEMORY];
static waft_gateway_event_t asked;
static waft_coap_event_t told;

/* Carries datagrams until one of both tells something or both are silent. */
static void carry(void) {
    static uint8_t out[1152], in[1152];
    waft_output_t output;
    waft_handled_t handled;
    asked.kind = told.kind = 0;
    for (int quiet = 0; quiet < 2 && !asked.kind && !told.kind;) {
        quiet = 0;
        OK(waft_coap_endpoint_poll_output(&client, 0, out, sizeof out, &output, &told));
        if (output.kind == WAFT_OUTPUT_TRANSMIT)
            OK(waft_gateway_handle_input(gateway, 0, 9, out, output.len, &handled, &asked));
        else
            quiet++;
        if (asked.kind || told.kind) return;
        OK(waft_gateway_poll_output(gateway, 0, in, sizeof in, &output, &asked));
        if (output.kind == WAFT_OUTPUT_TRANSMIT)
            OK(waft_coap_endpoint_handle_input(&client, 0, 1, in, output.len, &handled, &told));
        else
            quiet++;
    }
}

static void asks(waft_str_t path, uint8_t method, uint8_t observe) {
    waft_coap_request_t request;
    uint32_t exchange;
    OK(waft_coap_request_defaults(&request));
    request.path = path;
    request.method = method;
    request.observe = observe;
    if (method == WAFT_COAP_PUT) {
        request.payload.data = (const uint8_t *)"fine";
        request.payload.len = 4;
    }
    OK(waft_coap_endpoint_request(&client, 0, 1, &request, &exchange));
    carry();
}

static int answered(uint8_t code, const char *body) {
    return told.kind == WAFT_COAP_EVENT_RESPONSE && told.code == code && told.payload.len == strlen(body) &&
           memcmp(told.payload.data, body, told.payload.len) == 0;
}

static waft_bytes_t bytes(const char *text) {
    waft_bytes_t all = {(const uint8_t *)text, strlen(text)};
    return all;
}

int main(void) {
    waft_gateway_config_t config;
    waft_coap_endpoint_config_t endpoint;
    waft_gateway_stats_t stats;
    waft_handled_t handled;
    waft_output_t output;
    uint32_t observers = 7;
    uint8_t buffer[4];
    OK(waft_gateway_defaults(&config));
    config.seed = 1;
    config.max_bytes = 64;
    config.max_mounts = 1;
    OK(waft_gateway_new(&config, &gateway));
    OK(waft_coap_endpoint_defaults(&endpoint));
    OK(waft_coap_endpoint_init(&client, sizeof client, &endpoint, memory, sizeof memory));

    /* Put, got, observed, changed, removed. */
    asks(WAFT_STR("/a"), WAFT_COAP_GET, 0);
    CHECK(answered(WAFT_COAP_NOT_FOUND, ""));
    OK(waft_gateway_put(gateway, 0, WAFT_STR("/a"), WAFT_COAP_FORMAT_TEXT, bytes("one")));
    asks(WAFT_STR("/a"), WAFT_COAP_GET, 1);
    CHECK(answered(WAFT_COAP_CONTENT, "one") && told.observe && told.etag_len == 8);
    OK(waft_gateway_observers(gateway, WAFT_STR("/a"), &observers));
    CHECK(observers == 1);
    OK(waft_gateway_put(gateway, 0, WAFT_STR("/a"), WAFT_COAP_FORMAT_TEXT, bytes("two")));
    carry();
    CHECK(answered(WAFT_COAP_CONTENT, "two") && told.observe);
    OK(waft_gateway_remove(gateway, 0, WAFT_STR("/a")));
    CHECK(waft_gateway_remove(gateway, 0, WAFT_STR("/a")) == WAFT_ERROR_UNKNOWN_ID);
    carry();
    CHECK(answered(WAFT_COAP_NOT_FOUND, ""));

    /* Mounted: fetched once. */
    OK(waft_gateway_mount(gateway, WAFT_STR("/m/"), WAFT_STR("http://p/q/")));
    CHECK(waft_gateway_mount(gateway, WAFT_STR("/n/"), WAFT_STR("http://p/")) == WAFT_ERROR_QUEUE);
    CHECK(waft_gateway_mount(gateway, WAFT_STR("/n"), WAFT_STR("http://p/")) == WAFT_ERROR_INVALID_URI);
    asks(WAFT_STR("/m/x"), WAFT_COAP_GET, 0);
    CHECK(asked.kind == WAFT_GATEWAY_EVENT_FETCH);
    CHECK(asked.path.len == 4 && memcmp(asked.path.data, "/m/x", 4) == 0);
    CHECK(asked.url.len == 12 && memcmp(asked.url.data, "http://p/q/x", 12) == 0);
    OK(waft_gateway_put(gateway, 0, asked.path, WAFT_COAP_FORMAT_OCTET_STREAM, bytes("fetched")));
    carry();
    CHECK(answered(WAFT_COAP_CONTENT, "fetched"));
    asks(WAFT_STR("/m/x"), WAFT_COAP_GET, 0);
    CHECK(answered(WAFT_COAP_CONTENT, "fetched"));
    asks(WAFT_STR("/m/y"), WAFT_COAP_GET, 0);
    CHECK(asked.kind == WAFT_GATEWAY_EVENT_FETCH);
    CHECK(waft_gateway_failed(gateway, 0, asked.path, WAFT_COAP_GET) == WAFT_ERROR_OUT_OF_RANGE);
    OK(waft_gateway_failed(gateway, 0, asked.path, WAFT_COAP_BAD_GATEWAY));
    carry();
    CHECK(answered(WAFT_COAP_BAD_GATEWAY, ""));

    /* A report. */
    asks(WAFT_STR("/class/dev1/report"), WAFT_COAP_PUT, 0);
    CHECK(asked.kind == WAFT_GATEWAY_EVENT_REPORT && asked.peer == 9 && asked.payload.len == 4);
    CHECK(asked.path.len == 18 && memcmp(asked.path.data, "/class/dev1/report", 18) == 0);
    carry();
    CHECK(answered(WAFT_COAP_CHANGED, ""));

    OK(waft_gateway_stats(gateway, &stats));
    CHECK(stats.fetches == 2 && stats.hits == 2 && stats.notifications == 2 && stats.requests == 6);
    OK(waft_gateway_handle_timeout(gateway, 0));

    /* Misuse. */
    char large[65];
    memset(large, 'x', 64);
    large[64] = 0;
    CHECK(waft_gateway_put(gateway, 0, WAFT_STR("/big"), 0, bytes(large)) == WAFT_ERROR_BUFFER);
    CHECK(waft_gateway_put(gateway, 0, WAFT_STR("big"), 0, bytes("")) == WAFT_ERROR_INVALID_URI);
    CHECK(waft_gateway_new(NULL, &gateway) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_gateway_new(&config, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_gateway_defaults(NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_gateway_stats(gateway, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_gateway_observers(gateway, WAFT_STR("/a"), NULL) == WAFT_ERROR_NULL_POINTER);
    OK(waft_gateway_free(NULL));
    static uint64_t words[64];
    for (int n = 0; n < 2; n++) {
        waft_gateway_t *bad = n ? (waft_gateway_t *)words : NULL;
        int32_t expected = n ? WAFT_ERROR_BAD_HANDLE : WAFT_ERROR_NULL_POINTER;
        CHECK(waft_gateway_put(bad, 0, WAFT_STR("/a"), 0, bytes("")) == expected);
        CHECK(waft_gateway_remove(bad, 0, WAFT_STR("/a")) == expected);
        CHECK(waft_gateway_mount(bad, WAFT_STR("/a/"), WAFT_STR("x")) == expected);
        CHECK(waft_gateway_failed(bad, 0, WAFT_STR("/a"), WAFT_COAP_NOT_FOUND) == expected);
        CHECK(waft_gateway_observers(bad, WAFT_STR("/a"), &observers) == expected);
        CHECK(waft_gateway_stats(bad, &stats) == expected);
        CHECK(waft_gateway_handle_input(bad, 0, 0, buffer, 4, &handled, &asked) == expected);
        CHECK(waft_gateway_handle_timeout(bad, 0) == expected);
        CHECK(waft_gateway_poll_output(bad, 0, buffer, 4, &output, &asked) == expected);
        CHECK(waft_gateway_next_timeout(bad) == WAFT_NEVER);
    }
    CHECK(waft_gateway_free((waft_gateway_t *)words) == WAFT_ERROR_BAD_HANDLE);
    CHECK(waft_gateway_handle_input(gateway, 0, 0, NULL, 4, &handled, &asked) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_gateway_handle_input(gateway, 0, 0, buffer, 4, NULL, &asked) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_gateway_poll_output(gateway, 0, NULL, 4, &output, &asked) == WAFT_ERROR_NULL_POINTER);
    OK(waft_gateway_free(gateway));
    puts("test_gateway: ok");
    return 0;
}
