/* A forward proxy's rules: what is passed on, what is kept, what is refused. Hosted only. */
#include "test.h"

static waft_coap_proxy_t *proxy;
static const waft_bytes_t nothing = {NULL, 0};
static waft_coap_message_t message;

/* The options of a message that is made for them. */
static const waft_coap_options_t *options(const waft_coap_option_t *list, size_t count) {
    static uint8_t datagram[256];
    size_t len;
    memset(&message, 0, sizeof message);
    message.code = WAFT_COAP_GET;
    OK(waft_coap_encode(&message, list, count, datagram, sizeof datagram, &len));
    waft_bytes_t bytes = {datagram, len};
    OK(waft_coap_decode(bytes, &message));
    return &message.options;
}

static waft_coap_proxy_step_t get(uint64_t now, const char *uri) {
    const waft_coap_option_t to = {{(const uint8_t *)uri, strlen(uri)}, WAFT_COAP_OPTION_PROXY_URI};
    waft_coap_proxy_step_t step;
    OK(waft_coap_proxy_request(proxy, now, WAFT_COAP_GET, options(&to, 1), nothing, &step));
    return step;
}

int main(void) {
    const waft_coap_proxy_config_t config = {16, 4096, 0};
    const uint8_t age = 10, etag = 7;
    const waft_coap_option_t answer[] = {{{&etag, 1}, WAFT_COAP_OPTION_ETAG}, {{&age, 1}, WAFT_COAP_OPTION_MAX_AGE}};
    const waft_bytes_t body = {(const uint8_t *)"21.5", 4};
    waft_coap_proxy_step_t step;
    uint32_t forward;

    CHECK(waft_coap_proxy_new(NULL, &proxy) == WAFT_ERROR_NULL_POINTER);
    OK(waft_coap_proxy_new(&config, &proxy));
    step = get(0, "coap://Host/t");
    forward = step.forward;
    CHECK(forward != 0 && step.uri.len == 13 && memcmp(step.uri.data, "coap://host/t", 13) == 0);
    CHECK(step.option_count == 1 && step.options[0].number == WAFT_COAP_OPTION_HOP_LIMIT);
    CHECK(step.options[0].value.len == 1 && step.options[0].value.data[0] == 16);
    OK(waft_coap_proxy_response(proxy, 0, forward, WAFT_COAP_CONTENT, options(answer, 2), body, &step));
    CHECK(step.forward == 0 && step.code == WAFT_COAP_CONTENT && step.body.len == 4 && step.option_count == 2);
    CHECK(waft_coap_proxy_response(proxy, 0, forward, WAFT_COAP_CONTENT, options(answer, 2), body, &step) ==
          WAFT_ERROR_UNKNOWN_ID);
    /* Kept, and older. */
    step = get(4000000, "coap://host/t");
    CHECK(step.forward == 0 && step.code == WAFT_COAP_CONTENT && memcmp(step.body.data, "21.5", 4) == 0);
    CHECK(step.options[1].number == WAFT_COAP_OPTION_MAX_AGE && step.options[1].value.data[0] == 6);
    /* Stale: asked whether it is still good. The server is silent. */
    step = get(10000000, "coap://host/t");
    CHECK(step.forward != 0 && step.options[0].number == WAFT_COAP_OPTION_ETAG);
    OK(waft_coap_proxy_failed(proxy, step.forward, WAFT_COAP_FAILURE_TIMEOUT, &step));
    CHECK(step.code == WAFT_COAP_GATEWAY_TIMEOUT);
    step = get(0, "http://host/t");
    CHECK(step.forward == 0 && step.code == WAFT_COAP_PROXYING_NOT_SUPPORTED);
    OK(waft_coap_proxy_request(proxy, 0, WAFT_COAP_GET, options(NULL, 0), nothing, &step));
    CHECK(step.code == WAFT_COAP_NOT_FOUND);
    CHECK(waft_coap_proxy_request(proxy, 0, WAFT_COAP_GET, NULL, nothing, &step) == WAFT_ERROR_NULL_POINTER);
    OK(waft_coap_proxy_free(proxy));
    OK(waft_coap_proxy_free(NULL));
    puts("test_proxy: ok");
    return 0;
}
