/* The vectors that Rust, C and Python share: tests/vectors. What is decoded is put into words and compared. */
#include "test.h"
#include <stdarg.h>

typedef struct {
    const char *name;
    const char *wire;
    size_t len;
    uint32_t max;
    const char *says;
} vector_t;

typedef struct {
    const char *name;
    const char *wire;
    size_t len;
    int32_t result;
    const char *result_name;
    uint64_t sequence;
    uint32_t image_size;
    const char *uri, *digest, *image_digest;
} envelope_t;

typedef struct {
    int id;
    const char *key;
    size_t key_len;
    const char *message;
    size_t message_len;
    const char *signature;
    size_t signature_len;
    int valid;
} signature_t;

#include "vectors.h"

static char words[8192];
static size_t used;

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(words + used, sizeof words - used, format, arguments);
    va_end(arguments);
    CHECK(len >= 0 && (size_t)len < sizeof words - used);
    used += (size_t)len;
}

static void say_hex(const void *data, size_t len) {
    for (size_t n = 0; n < len; n++) say("%02x", ((const uint8_t *)data)[n]);
}

static void say_text(const char *name, waft_str_t text) {
    say(" %s=", name);
    say_hex(text.data, text.len);
}

static void say_bytes(const char *name, waft_bytes_t bytes) {
    say(" %s=", name);
    say_hex(bytes.data, bytes.len);
}

static void say_error(int32_t result) {
    say("ERROR %s %d\n", waft_error_name(result), (int)result);
}

static void say_filters(waft_mqtt_filters_t left) {
    waft_mqtt_filter_t filter;
    const char *comma = "";
    say(" filters=");
    while (waft_mqtt_filters_next(&left, &filter) == 1) {
        say("%s", comma);
        say_hex(filter.filter.data, filter.filter.len);
        if (left.with_qos) say(":%d", filter.qos);
        comma = ",";
    }
}

static void say_packet(const waft_mqtt_packet_t *p) {
    static const char *const names[] = {"",          "CONNECT", "CONNACK",     "PUBLISH",  "PUBACK",  "PUBREC",   "PUBREL",    "PUBCOMP",
                                        "SUBSCRIBE", "SUBACK",  "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT"};
    CHECK(p->kind >= 1 && p->kind <= 14);
    say("%s", names[p->kind]);
    switch (p->kind) {
    case WAFT_MQTT_PACKET_CONNECT:
        say_text("client_id", p->connect.client_id);
        say(" clean_session=%d keep_alive=%d", p->connect.clean_session, p->connect.keep_alive);
        if (p->connect.will_topic.data) {
            say_text("will_topic", p->connect.will_topic);
            say_bytes("will_payload_hex", p->connect.will_payload);
            say(" will_qos=%d will_retain=%d", p->connect.will_qos, p->connect.will_retain);
        }
        if (p->connect.username.data) say_text("username", p->connect.username);
        if (p->connect.password.data) say_bytes("password_hex", p->connect.password);
        break;
    case WAFT_MQTT_PACKET_CONNACK:
        say(" session_present=%d code=%d", p->session_present, p->code);
        break;
    case WAFT_MQTT_PACKET_PUBLISH:
        say_text("topic", p->topic);
        say(" qos=%d retain=%d dup=%d", p->qos, p->retain, p->dup);
        if (p->id) say(" id=%d", p->id);
        say(" payload_len=%lu", (unsigned long)p->payload_len);
        break;
    case WAFT_MQTT_PACKET_PINGREQ:
    case WAFT_MQTT_PACKET_PINGRESP:
    case WAFT_MQTT_PACKET_DISCONNECT:
        break;
    default:
        say(" id=%d", p->id);
        if (p->kind == WAFT_MQTT_PACKET_SUBACK) say_bytes("codes_hex", p->codes);
        if (p->kind == WAFT_MQTT_PACKET_SUBSCRIBE || p->kind == WAFT_MQTT_PACKET_UNSUBSCRIBE) say_filters(p->filters);
    }
}

static void read_stream(const vector_t *vector) {
    waft_bytes_t rest = {(const uint8_t *)vector->wire, vector->len};
    while (rest.len > 0) {
        waft_handled_t handled;
        waft_mqtt_packet_t packet;
        int32_t result = waft_mqtt_decode(rest, vector->max, &handled, &packet);
        if (result < 0) {
            say_error(result);
            return;
        }
        if (!packet.kind) {
            CHECK(handled.consumed == 0);
            say("NEEDED %lu\n", (unsigned long)handled.needed);
            return;
        }
        say_packet(&packet);
        CHECK(handled.consumed > 0 && handled.consumed <= rest.len);
        rest.data += handled.consumed;
        rest.len -= handled.consumed;
        if (packet.kind == WAFT_MQTT_PACKET_PUBLISH) {
            waft_bytes_t payload = {rest.data, packet.payload_len < rest.len ? packet.payload_len : rest.len};
            say_bytes("payload_hex", payload);
            rest.data += payload.len;
            rest.len -= payload.len;
        }
        say("\n");
    }
}

static void read_datagram(const vector_t *vector) {
    static const char *const types[] = {"CON", "NON", "ACK", "RST"};
    waft_bytes_t datagram = {(const uint8_t *)vector->wire, vector->len};
    waft_coap_message_t message;
    int32_t result = waft_coap_decode(datagram, &message);
    if (result < 0) {
        say_error(result);
        return;
    }
    CHECK(message.kind < 4);
    say(" type=%s code=%d.%02d id=%d token_hex=", types[message.kind], message.code >> 5, message.code & 31, message.id);
    say_hex(message.token, message.token_len);
    say(" options=");
    waft_coap_options_t left = message.options;
    waft_coap_option_t option;
    const char *comma = "";
    while (waft_coap_options_next(&left, &option) == 1) {
        say("%s%d:", comma, option.number);
        say_hex(option.value.data, option.value.len);
        comma = ",";
    }
    say_bytes("payload_hex", message.payload);
    say("\n");
}

static void compare(const vector_t *vectors, size_t count, void (*read)(const vector_t *)) {
    for (size_t n = 0; n < count; n++) {
        used = 0;
        words[0] = 0;
        read(&vectors[n]);
        if (strcmp(words, vectors[n].says) != 0) {
            fprintf(stderr, "%s:\n%sinstead of\n%s", vectors[n].name, words, vectors[n].says);
            exit(1);
        }
    }
}

#define COUNT(table) (sizeof(table) / sizeof *(table))

static void hex_is(const uint8_t *digest, const char *hex) {
    used = 0;
    say_hex(digest, 32);
    CHECK(strcmp(words, hex) == 0);
}

/* The key of RFC 8032 section 7.1 TEST 1. */
static const uint8_t SEED[32] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
                                 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};

static void judge_envelopes(void) {
    waft_key_t key;
    OK(waft_secret_key_public(SEED, &key));
    for (size_t n = 0; n < COUNT(envelopes); n++) {
        const envelope_t *e = &envelopes[n];
        waft_manifest_t manifest;
        waft_bytes_t bytes = {(const uint8_t *)e->wire, e->len};
        int32_t result = waft_manifest_verify(bytes, &key, 1, &manifest);
        if (result != e->result || strcmp(waft_error_name(result), e->result_name) != 0) {
            fprintf(stderr, "%s: %s instead of %s\n", e->name, waft_error_name(result), e->result_name);
            exit(1);
        }
        if (result) continue;
        CHECK(manifest.sequence == e->sequence && manifest.image_size == e->image_size);
        CHECK(manifest.uri.len == strlen(e->uri) && memcmp(manifest.uri.data, e->uri, manifest.uri.len) == 0);
        hex_is(manifest.digest, e->digest);
        hex_is(manifest.image_digest, e->image_digest);
    }
}

static void judge_signatures(void) {
    int valid = 0;
    for (size_t n = 0; n < COUNT(signatures); n++) {
        const signature_t *s = &signatures[n];
        waft_key_t key;
        waft_bytes_t message = {(const uint8_t *)s->message, s->message_len};
        waft_bytes_t signature = {(const uint8_t *)s->signature, s->signature_len};
        CHECK(s->key_len == sizeof key.bytes);
        memcpy(key.bytes, s->key, sizeof key.bytes);
        int32_t result = waft_ed25519_verify(&key, message, signature);
        if (result != (s->valid ? WAFT_OK : WAFT_ERROR_UPDATE_SIGNATURE)) {
            fprintf(stderr, "wycheproof %d: %s\n", s->id, waft_error_name(result));
            exit(1);
        }
        valid += s->valid;
    }
    CHECK(COUNT(signatures) == 151 && valid == 88);
}

int main(void) {
    compare(mqtt_vectors, COUNT(mqtt_vectors), read_stream);
    compare(coap_vectors, COUNT(coap_vectors), read_datagram);
    judge_envelopes();
    judge_signatures();
    puts("test_vectors: ok");
    return 0;
}
