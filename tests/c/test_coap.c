/* Two endpoints: one gets a resource of several blocks from the other, and observes it. */
#include "test.h"

static waft_coap_endpoint_t client, server;
static uint8_t memory[2][WAFT_COAP_ENDPOINT_MEMORY];
static uint8_t body[2500], got[2500];
static size_t got_len;
static int finished, notified;

static void serve(const waft_coap_event_t *event) {
    CHECK(event->kind == WAFT_COAP_EVENT_REQUEST && event->code == WAFT_COAP_GET);
    waft_coap_options_t options = event->options;
    waft_coap_option_t option;
    CHECK(waft_coap_options_next(&options, &option) == 1);
    while (option.number != 11) { /* Uri-Path */
        CHECK(waft_coap_options_next(&options, &option) == 1);
    }
    CHECK(option.value.len == 1 && option.value.data[0] == 'r');
    while (waft_coap_options_next(&options, &option) == 1) {
    }
    waft_coap_reply_t reply;
    memset(&reply, 0, sizeof reply);
    reply.code = WAFT_COAP_CONTENT;
    reply.body = (waft_bytes_t){body, sizeof body};
    reply.observe = event->observe;
    reply.resource = 5;
    OK(waft_coap_endpoint_respond(&server, 0, &event->request, &reply));
}

static void take(const waft_coap_event_t *event) {
    CHECK(event->kind == WAFT_COAP_EVENT_RESPONSE && event->code == WAFT_COAP_CONTENT);
    CHECK(event->offset + event->payload.len <= sizeof got);
    memcpy(got + event->offset, event->payload.data, event->payload.len);
    got_len = event->offset + event->payload.len;
    finished = event->last;
    notified += event->observe && event->last;
}

/* Carries datagrams until nobody has anything to say. */
static void carry(uint64_t now) {
    waft_coap_endpoint_t *ends[2] = {&client, &server};
    for (int quiet = 0, from = 0; quiet < 2; from = !from) {
        uint8_t datagram[1152];
        waft_output_t output;
        waft_coap_event_t event;
        waft_handled_t handled;
        OK(waft_coap_endpoint_poll_output(ends[from], now, datagram, sizeof datagram, &output, &event));
        if (output.kind == WAFT_OUTPUT_TIMEOUT) {
            quiet++;
            continue;
        }
        quiet = 0;
        CHECK(output.kind == WAFT_OUTPUT_TRANSMIT);
        OK(waft_coap_endpoint_handle_input(ends[!from], now, 1, datagram, output.len, &handled, &event));
        CHECK(handled.consumed == output.len);
        if (event.kind != WAFT_COAP_EVENT_NONE) {
            (from == 0 ? serve : take)(&event);
        }
    }
}

int main(void) {
    waft_coap_endpoint_config_t config;
    OK(waft_coap_endpoint_defaults(&config));
    OK(waft_coap_endpoint_init(&client, sizeof client, &config, memory[0], sizeof memory[0]));
    config.seed = 1;
    OK(waft_coap_endpoint_init(&server, sizeof server, &config, memory[1], sizeof memory[1]));
    for (size_t n = 0; n < sizeof body; n++) {
        body[n] = (uint8_t)(n * 7);
    }

    waft_coap_request_t request;
    memset(&request, 0, sizeof request);
    request.method = WAFT_COAP_GET;
    request.path = WAFT_STR("/r");
    request.confirmable = 1;
    request.szx = 6;
    request.observe = 1;
    uint32_t exchange, observers;
    OK(waft_coap_endpoint_request(&client, 0, 1, &request, &exchange));
    carry(0);
    CHECK(finished && got_len == sizeof body && memcmp(got, body, sizeof body) == 0);

    waft_coap_reply_t reply;
    memset(&reply, 0, sizeof reply);
    reply.code = WAFT_COAP_CONTENT;
    reply.body = (waft_bytes_t){(const uint8_t *)"new", 3};
    OK(waft_coap_endpoint_notify(&server, 1, 5, &reply, &observers));
    CHECK(observers == 1);
    carry(1);
    CHECK(got_len == 3 && memcmp(got, "new", 3) == 0 && notified >= 1);

    /* Noise is no error. */
    waft_handled_t handled;
    waft_coap_event_t event;
    OK(waft_coap_endpoint_handle_input(&client, 2, 1, (const uint8_t *)"noise", 5, &handled, &event));
    CHECK(handled.consumed == 5 && event.kind == WAFT_COAP_EVENT_NONE);

    /* A request that no event gave. */
    waft_coap_request_id_t none;
    memset(&none, 0, sizeof none);
    CHECK(waft_coap_endpoint_respond(&server, 2, &none, &reply) == WAFT_ERROR_BAD_HANDLE);
    request.path = WAFT_STR("no slash");
    CHECK(waft_coap_endpoint_request(&client, 2, 1, &request, &exchange) == WAFT_ERROR_INVALID_URI);
    puts("test_coap: ok");
    return 0;
}
