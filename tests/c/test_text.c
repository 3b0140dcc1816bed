/* The texts that Rust, C and Python share, tests/vectors/text.json: URIs, link format, topic filters. And each call with what it refuses. */
#include "test.h"
#include <stdarg.h>

typedef struct {
    const char *given;
    size_t lengths[4];
    size_t count;
    const char *says;
} text_t;

#include "text_vectors.h"

static char words[4096];
static size_t used;

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(words + used, sizeof words - used, format, arguments);
    va_end(arguments);
    CHECK(len >= 0 && (size_t)len < sizeof words - used);
    used += (size_t)len;
}

static void say_hex(waft_str_t text) {
    for (size_t n = 0; n < text.len; n++) say("%02x", (uint8_t)text.data[n]);
}

/* Text number `n` of those that go in. */
static waft_str_t text(const text_t *vector, size_t n) {
    const char *start = vector->given;
    CHECK(n < vector->count);
    for (size_t before = 0; before < n; before++) start += vector->lengths[before];
    return (waft_str_t){start, vector->lengths[n]};
}

static void parse(const text_t *vector) {
    waft_coap_uri_t uri;
    int32_t result = waft_coap_uri_parse(text(vector, 0), &uri);
    if (result < 0) {
        say("%s", waft_error_name(result));
        return;
    }
    say(uri.secure ? "coaps " : "coap ");
    say_hex(uri.host);
    say(" %d ", uri.port);
    say_hex(uri.target);
    say(" %d", uri.literal);
}

static void compose(const text_t *vector) {
    uint8_t out[256];
    size_t len = 7, again;
    waft_coap_message_t request;
    waft_str_t datagram = text(vector, 3), port = text(vector, 2);
    waft_coap_uri_t server = {.host = text(vector, 1), .secure = text(vector, 0).len == 5};
    for (size_t n = 0; n < port.len; n++) server.port = (uint16_t)(server.port * 10 + port.data[n] - '0');
    OK(waft_coap_decode((waft_bytes_t){(const uint8_t *)datagram.data, datagram.len}, &request));
    CHECK(waft_coap_uri_compose(&server, &request.options, out, 8, &len) == WAFT_ERROR_BUFFER && len == 7);
    OK(waft_coap_uri_compose(&server, &request.options, out, sizeof out, &len));
    OK(waft_coap_uri_compose(&server, &request.options, out, len, &again));
    CHECK(again == len && waft_coap_uri_compose(&server, &request.options, out, len - 1, &again) == WAFT_ERROR_BUFFER);
    say("%.*s", (int)len, (const char *)out);
}

static void resolve(const text_t *vector) {
    uint8_t out[256];
    size_t len, room = text(vector, 0).len + text(vector, 1).len + 1;
    int32_t result = waft_coap_uri_resolve(text(vector, 0), text(vector, 1), out, room, &len);
    if (result < 0) {
        say("%s", waft_error_name(result));
        return;
    }
    CHECK(waft_coap_uri_resolve(text(vector, 0), text(vector, 1), out, len - 1, &room) == WAFT_ERROR_BUFFER);
    say("%.*s", (int)len, (const char *)out);
}

static void read_links(const text_t *vector) {
    waft_str_t left = text(vector, 0);
    waft_coap_link_t link;
    const char *comma = "";
    int32_t result;
    while ((result = waft_coap_links_next(&left, &link)) == 1) {
        waft_coap_attribute_t attribute;
        say("%s", comma);
        comma = ",";
        say_hex(link.target);
        for (size_t n = 0; waft_coap_link_attribute(&link, n, &attribute) == 1; n++) {
            say(" ");
            say_hex(attribute.name);
            say("=");
            say_hex(attribute.value);
        }
    }
    if (result < 0) say("%s%s", comma, waft_error_name(result));
}

/* All links of the document, for a request with the filters as its Uri-Query options. */
static void filter(const text_t *vector) {
    uint8_t datagram[256], out[256];
    size_t len, written = 0;
    waft_coap_option_t queries[3];
    waft_coap_message_t request = {.code = WAFT_COAP_GET};
    for (size_t n = 1; n < vector->count; n++) {
        waft_str_t query = text(vector, n);
        queries[n - 1] = (waft_coap_option_t){{(const uint8_t *)query.data, query.len}, WAFT_COAP_OPTION_URI_QUERY};
    }
    OK(waft_coap_encode(&request, queries, vector->count - 1, datagram, sizeof datagram, &len));
    OK(waft_coap_decode((waft_bytes_t){datagram, len}, &request));
    waft_str_t left = text(vector, 0);
    waft_coap_link_t link;
    while (waft_coap_links_next(&left, &link) == 1) {
        waft_coap_attribute_t attributes[4];
        size_t count = 0, before = written, exact;
        while (waft_coap_link_attribute(&link, count, &attributes[count]) == 1) count++;
        OK(waft_coap_links_add(link.target, attributes, count, &request.options, out, sizeof out, &written));
        if (written == before) continue;
        /* It takes so much room and no less. */
        exact = before;
        CHECK(waft_coap_links_add(link.target, attributes, count, NULL, out, written - 1, &exact) == WAFT_ERROR_BUFFER && exact == before);
        OK(waft_coap_links_add(link.target, attributes, count, NULL, out, written, &exact));
        CHECK(exact == written);
    }
    say("%.*s", (int)written, (const char *)out);
}

static void match(const text_t *vector) {
    say("%d", (int)waft_mqtt_topic_matches(text(vector, 0), text(vector, 1)));
}

static void compare(const text_t *vectors, size_t count, void (*read)(const text_t *)) {
    for (size_t n = 0; n < count; n++) {
        used = 0;
        words[0] = 0;
        read(&vectors[n]);
        if (strcmp(words, vectors[n].says) != 0) {
            fprintf(stderr, "%s:\n%s\ninstead of\n%s\n", vectors[n].given, words, vectors[n].says);
            exit(1);
        }
    }
}

static void what_is_wrong_is_refused(void) {
    static const char bad[] = "\xff";
    waft_str_t text = WAFT_STR("</a>"), not_utf8 = {bad, 1}, null = {NULL, 1}, document = text;
    waft_coap_uri_t uri;
    waft_coap_link_t link;
    waft_coap_attribute_t attribute = {WAFT_STR("a"), {bad, 1}};
    uint8_t out[16];
    size_t len = 0, too_much = 17;
    CHECK(waft_coap_uri_parse(text, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_uri_parse(null, &uri) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_uri_parse(not_utf8, &uri) == WAFT_ERROR_INVALID_STRING);
    CHECK(waft_coap_uri_compose(NULL, NULL, out, sizeof out, &len) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_uri_resolve(text, text, NULL, 1, &len) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_links_next(NULL, &link) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_links_next(&document, NULL) == WAFT_ERROR_NULL_POINTER && document.len == text.len);
    CHECK(waft_coap_links_next(&not_utf8, &link) == WAFT_ERROR_INVALID_STRING);
    CHECK(waft_coap_link_attribute(NULL, 0, &attribute) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_links_add(text, &attribute, 1, NULL, out, sizeof out, &len) == WAFT_ERROR_INVALID_STRING && len == 0);
    CHECK(waft_coap_links_add(text, NULL, 1, NULL, out, sizeof out, &len) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_links_add(text, NULL, 0, NULL, out, sizeof out, &too_much) == WAFT_ERROR_OUT_OF_RANGE && too_much == 17);
    CHECK(waft_mqtt_topic_matches(null, text) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_mqtt_topic_matches(text, (waft_str_t){bad, 1}) == WAFT_ERROR_INVALID_STRING);
}

#define COMPARE(table, read) compare(table, sizeof(table) / sizeof *(table), read)

int main(void) {
    COMPARE(uris, parse);
    COMPARE(composed, compose);
    COMPARE(resolved, resolve);
    COMPARE(documents, read_links);
    COMPARE(filtered, filter);
    COMPARE(topics, match);
    what_is_wrong_is_refused();
    puts("test_text: ok");
    return 0;
}
