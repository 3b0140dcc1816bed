/* Two endpoints talk: requests, blocks both ways, observations, separate responses, pings; and what is refused. */
#include "test.h"

enum { CLIENT = 1, SERVER = 2, ARENA = 4096 };
static waft_coap_endpoint_t client, server;
static uint64_t memories[2][(WAFT_COAP_MEMORY(4, 4, 8, 4, ARENA) + 7) / 8];
static uint64_t now;
static uint8_t body[5000];
static const waft_bytes_t nothing = {NULL, 0};

/* Takes the next output of `from`; a datagram is handed to `to`, and what that tells is the event. 0: nothing more. */
static uint32_t step(waft_coap_endpoint_t *from, waft_coap_endpoint_t *to, uint32_t peer, waft_coap_event_t *event) {
    static uint8_t buffers[2][1200];
    uint8_t *buffer = buffers[from == &client];
    waft_output_t output;
    OK(waft_coap_endpoint_poll_output(from, now, buffer, sizeof buffers[0], &output, event));
    if (output.kind == WAFT_OUTPUT_TRANSMIT) {
        waft_handled_t handled;
        OK(waft_coap_endpoint_handle_input(to, now, peer, buffer, output.len, &handled, event));
        CHECK(handled.consumed == output.len);
    }
    CHECK(output.kind != WAFT_OUTPUT_BUFFER_TOO_SMALL);
    return output.kind == WAFT_OUTPUT_TIMEOUT ? 0 : output.kind;
}

/* Lets both talk until one of them tells something, and says which; NULL when both are silent. */
static waft_coap_endpoint_t *next(waft_coap_event_t *event) {
    for (;;) {
        uint32_t a = step(&client, &server, CLIENT, event);
        if (event->kind) return a == WAFT_OUTPUT_EVENT ? &client : &server;
        uint32_t b = step(&server, &client, SERVER, event);
        if (event->kind) return b == WAFT_OUTPUT_EVENT ? &server : &client;
        if (!a && !b) return NULL;
    }
}

static waft_coap_event_t expect(waft_coap_endpoint_t *who, uint32_t kind) {
    waft_coap_event_t event;
    CHECK(next(&event) == who);
    CHECK(event.kind == kind);
    return event;
}

static uint32_t ask(const waft_coap_request_t *request) {
    uint32_t exchange;
    OK(waft_coap_endpoint_request(&client, now, SERVER, request, &exchange));
    return exchange;
}

static waft_coap_request_t get(waft_str_t path) {
    waft_coap_request_t request;
    OK(waft_coap_request_defaults(&request));
    request.path = path;
    return request;
}

static waft_coap_reply_t reply_with(uint8_t code, const uint8_t *bytes, size_t len) {
    waft_coap_reply_t reply;
    memset(&reply, 0, sizeof reply);
    reply.code = code;
    reply.body.data = bytes;
    reply.body.len = len;
    return reply;
}

static void setup(void) {
    waft_coap_endpoint_config_t config;
    OK(waft_coap_endpoint_defaults(&config));
    config.seed = 1;
    OK(waft_coap_endpoint_init(&client, sizeof client, &config, (uint8_t *)memories[0], sizeof memories[0]));
    config.seed = 2;
    OK(waft_coap_endpoint_init(&server, sizeof server, &config, (uint8_t *)memories[1], sizeof memories[1]));
}

static void a_request_is_answered_with_options(void) {
    static const uint8_t etag[] = {1, 2, 3};
    const uint8_t format = WAFT_COAP_FORMAT_CBOR;
    const waft_coap_option_t accept = {{&format, 1}, WAFT_COAP_OPTION_ACCEPT};
    waft_coap_request_t request = get(WAFT_STR("/a/b%20c?x=1"));
    request.options = &accept;
    request.option_count = 1;
    uint32_t exchange = ask(&request);

    waft_coap_event_t event = expect(&server, WAFT_COAP_EVENT_REQUEST);
    CHECK(event.peer == CLIENT && event.code == WAFT_COAP_GET && event.wanted_offset == 0 && event.wanted_len == 1024 && !event.observe);
    CHECK(waft_coap_path_is(&event.options, WAFT_STR("/a/b c")) == 1);
    CHECK(waft_coap_path_is(&event.options, WAFT_STR("/a")) == 0);
    waft_coap_option_t option;
    uint32_t value;
    CHECK(waft_coap_options_find(&event.options, WAFT_COAP_OPTION_ACCEPT, &option) == 1);
    OK(waft_coap_option_uint(&option, &value));
    CHECK(value == WAFT_COAP_FORMAT_CBOR);
    CHECK(waft_coap_options_find(&event.options, WAFT_COAP_OPTION_ETAG, &option) == 0);
    static const uint16_t numbers[] = {11, 11, 15, 17};
    size_t n = 0;
    for (waft_coap_options_t left = event.options; waft_coap_options_next(&left, &option) == 1; n++)
        CHECK(n < 4 && option.number == numbers[n]);
    CHECK(n == 4);

    const waft_coap_option_t tag = {{etag, sizeof etag}, WAFT_COAP_OPTION_ETAG};
    waft_coap_reply_t reply = reply_with(WAFT_COAP_CONTENT, body, 10);
    reply.options = &tag;
    reply.option_count = 1;
    OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
    CHECK(waft_coap_endpoint_respond(&server, now, &event.request, &reply) == WAFT_ERROR_UNKNOWN_ID);

    event = expect(&client, WAFT_COAP_EVENT_RESPONSE);
    CHECK(event.exchange == exchange && event.code == WAFT_COAP_CONTENT && event.last && !event.observe);
    CHECK(event.etag_len == 3 && memcmp(event.etag, etag, 3) == 0);
    CHECK(event.has_total && event.total == 10 && event.payload.len == 10);
    CHECK(memcmp(event.payload.data, body, 10) == 0);
    CHECK(waft_coap_endpoint_cancel(&client, now, exchange) == WAFT_ERROR_UNKNOWN_ID);
}

static void a_body_comes_block_by_block(int manual, int part) {
    waft_coap_request_t request = get(WAFT_STR("/image"));
    request.szx = 5;
    request.offset = 512;
    request.manual = (uint8_t)manual;
    uint32_t exchange = ask(&request);
    uint32_t offset = 512;
    for (;;) {
        waft_coap_event_t event = expect(&server, WAFT_COAP_EVENT_REQUEST);
        CHECK(event.wanted_offset == offset && event.wanted_len == 512);
        waft_coap_reply_t reply = reply_with(WAFT_COAP_CONTENT, body, sizeof body);
        if (part) {
            reply.offset = event.wanted_offset;
            reply.total = sizeof body;
            reply.body.data = body + event.wanted_offset;
            reply.body.len = sizeof body - event.wanted_offset < event.wanted_len ? sizeof body - event.wanted_offset : event.wanted_len;
            /* A byte too few. */
            reply.body.len--;
            CHECK(waft_coap_endpoint_respond(&server, now, &event.request, &reply) == WAFT_ERROR_OUT_OF_RANGE);
            reply.body.len++;
        }
        OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
        event = expect(&client, WAFT_COAP_EVENT_RESPONSE);
        CHECK(event.exchange == exchange && event.offset == offset);
        CHECK(memcmp(event.payload.data, body + offset, event.payload.len) == 0);
        offset += (uint32_t)event.payload.len;
        if (event.last) break;
        CHECK(event.payload.len == 512);
        if (manual) {
            CHECK(next(&event) == NULL);
            OK(waft_coap_endpoint_advance(&client, now, exchange));
        }
        CHECK(waft_coap_endpoint_advance(&client, now, exchange) == WAFT_ERROR_WRONG_STATE);
    }
    CHECK(offset == sizeof body);
}

static void blocks_come_side_by_side_and_in_any_order(void) {
    static uint32_t paths[2 * WAFT_COAP_PATH_SIZE / 4];
    setup();
    CHECK(waft_coap_endpoint_measure_paths(&client, WAFT_COAP_POLICY_WINDOWED + 1, (uint8_t *)paths, sizeof paths) ==
          WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_coap_endpoint_measure_paths(&client, WAFT_COAP_POLICY_WINDOWED, NULL, 1) == WAFT_ERROR_NULL_POINTER);
    OK(waft_coap_endpoint_measure_paths(&client, WAFT_COAP_POLICY_WINDOWED, (uint8_t *)paths, sizeof paths));
    waft_coap_request_t request = get(WAFT_STR("/image"));
    request.window = 4;
    request.szx = 4;
    request.until = 2048;
    uint32_t exchange = ask(&request), position = 0;
    waft_coap_event_t event = expect(&server, WAFT_COAP_EVENT_REQUEST), asked[4];
    waft_coap_reply_t reply = reply_with(WAFT_COAP_CONTENT, body, sizeof body);
    OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
    event = expect(&client, WAFT_COAP_EVENT_RESPONSE);
    CHECK(event.offset == 0 && event.payload.len == 256 && !event.last && event.total == sizeof body);
    uint32_t told = 256, unordered = 0;
    for (size_t n = 0, most = 0; told < 2048;) {
        waft_coap_endpoint_t *who = next(&event);
        if (who == &server) {
            CHECK(event.kind == WAFT_COAP_EVENT_REQUEST && event.wanted_len == 256 && event.wanted_offset < 2048 && n < 4);
            asked[n++] = event;
            most = n > most ? n : most;
        } else if (who == &client) {
            CHECK(event.kind == WAFT_COAP_EVENT_RESPONSE && event.exchange == exchange);
            CHECK(memcmp(event.payload.data, body + event.offset, event.payload.len) == 0);
            unordered += event.offset > told;
            told += (uint32_t)event.payload.len;
            CHECK(event.last == (told == 2048));
        } else {
            /* Nothing more comes: the latest is answered first. */
            CHECK(most == 4 && n > 0);
            OK(waft_coap_endpoint_position(&client, exchange, &position));
            CHECK(position == told + n * 256);
            OK(waft_coap_endpoint_respond(&server, now, &asked[--n].request, &reply));
        }
    }
    CHECK(unordered > 0);
    CHECK(waft_coap_endpoint_position(&client, exchange, &position) == WAFT_ERROR_UNKNOWN_ID);

    /* One that was given no room for it asks for one block after the other. */
    setup();
    ask(&request);
    event = expect(&server, WAFT_COAP_EVENT_REQUEST);
    OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
    expect(&client, WAFT_COAP_EVENT_RESPONSE);
    expect(&server, WAFT_COAP_EVENT_REQUEST);
    CHECK(next(&event) == NULL);
    setup();
}

/* A body of 2,000 bytes, 8 blocks. The server answers when nothing more comes; `ordered`, it refuses what comes before its turn. */
static void blocks_of_a_body_go_side_by_side(int streamed, int ordered) {
    static uint32_t paths[2 * WAFT_COAP_PATH_SIZE / 4];
    setup();
    OK(waft_coap_endpoint_measure_paths(&client, WAFT_COAP_POLICY_WINDOWED, (uint8_t *)paths, sizeof paths));
    waft_coap_request_t request = get(WAFT_STR("/log"));
    CHECK(request.random_access == 0);
    request.method = WAFT_COAP_PUT;
    request.window = 4;
    request.szx = 4;
    request.random_access = 1;
    if (streamed) {
        request.streamed = 1;
        request.payload_len = 2000;
    } else {
        request.payload.data = body;
        request.payload.len = 2000;
    }
    uint32_t exchange = ask(&request), taken = 0, refused = 0;
    size_t n = 0, most = 0;
    for (waft_coap_event_t event, asked[4];;) {
        waft_coap_endpoint_t *who = next(&event);
        if (event.kind == WAFT_COAP_EVENT_BODY_WANTED) {
            CHECK(who == &client && streamed && event.exchange == exchange && event.offset + event.len <= 2000);
            OK(waft_coap_endpoint_body(&client, now, exchange, (waft_bytes_t){body + event.offset, event.len}));
        } else if (who == &server) {
            CHECK(event.kind == WAFT_COAP_EVENT_REQUEST && n < 4 && event.more == (event.offset != 1792));
            CHECK(memcmp(event.payload.data, body + event.offset, event.payload.len) == 0);
            if (ordered && event.offset != taken) {
                waft_coap_reply_t reply = reply_with(WAFT_COAP_REQUEST_ENTITY_INCOMPLETE, NULL, 0);
                OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
                refused++;
                continue;
            }
            CHECK(event.more || (n == 0 && taken == 1792));
            asked[n++] = event;
            most = n > most ? n : most;
        } else if (who == &client) {
            CHECK(event.kind == WAFT_COAP_EVENT_RESPONSE && event.exchange == exchange);
            CHECK(event.code == WAFT_COAP_CHANGED && event.last && n == 0 && taken == 2000);
            break;
        } else {
            /* Nothing more comes: the latest is answered first. */
            CHECK(n > 0);
            waft_coap_reply_t reply = reply_with(ordered && asked[n - 1].more ? WAFT_COAP_CONTINUE : WAFT_COAP_CHANGED, NULL, 0);
            OK(waft_coap_endpoint_respond(&server, now, &asked[--n].request, &reply));
            taken += asked[n].more ? 256 : 208;
        }
    }
    CHECK(ordered ? most == 1 : most == 4);
    CHECK((refused != 0) == ordered);
    setup();
}

static void a_body_goes_out_block_by_block(int streamed) {
    waft_coap_request_t request = get(WAFT_STR("/log"));
    request.method = WAFT_COAP_PUT;
    request.szx = 4;
    if (streamed) {
        request.streamed = 1;
        request.payload_len = 1000;
    } else {
        request.payload.data = body;
        request.payload.len = 1000;
    }
    uint32_t exchange = ask(&request), offset = 0;
    for (int more = 1; more;) {
        waft_coap_event_t event;
        if (streamed) {
            event = expect(&client, WAFT_COAP_EVENT_BODY_WANTED);
            CHECK(event.exchange == exchange && event.offset == offset);
            waft_bytes_t bytes = {body + event.offset, event.len - 1};
            CHECK(waft_coap_endpoint_body(&client, now, exchange, bytes) == WAFT_ERROR_OUT_OF_RANGE);
            bytes.len++;
            OK(waft_coap_endpoint_body(&client, now, exchange, bytes));
            CHECK(waft_coap_endpoint_body(&client, now, exchange, bytes) == WAFT_ERROR_WRONG_STATE);
        }
        event = expect(&server, WAFT_COAP_EVENT_REQUEST);
        CHECK(event.code == WAFT_COAP_PUT && event.offset == offset);
        CHECK(memcmp(event.payload.data, body + offset, event.payload.len) == 0);
        offset += (uint32_t)event.payload.len;
        more = event.more;
        waft_coap_reply_t reply = reply_with(more ? WAFT_COAP_CONTINUE : WAFT_COAP_CHANGED, NULL, 0);
        OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
    }
    CHECK(offset == 1000);
    waft_coap_event_t event = expect(&client, WAFT_COAP_EVENT_RESPONSE);
    CHECK(event.exchange == exchange && event.code == WAFT_COAP_CHANGED && event.last);
}

static void an_observer_is_told_of_changes(void) {
    waft_coap_request_t request = get(WAFT_STR("/state"));
    request.observe = 1;
    uint32_t exchange = ask(&request), count = 7;
    waft_coap_event_t event = expect(&server, WAFT_COAP_EVENT_REQUEST);
    CHECK(event.observe);
    waft_coap_reply_t reply = reply_with(WAFT_COAP_CONTENT, body, 3);
    reply.observe = 1;
    reply.resource = 42;
    OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
    event = expect(&client, WAFT_COAP_EVENT_RESPONSE);
    CHECK(event.observe && event.last && event.exchange == exchange);
    uint32_t sequence = event.sequence;
    OK(waft_coap_endpoint_observers(&server, 42, &count));
    CHECK(count == 1);
    OK(waft_coap_endpoint_observers(&server, 43, &count));
    CHECK(count == 0);

    for (uint8_t confirmable = 0; confirmable < 2; confirmable++) {
        reply.confirmable = confirmable;
        reply.body.len++;
        OK(waft_coap_endpoint_notify(&server, now, 42, &reply, &count));
        CHECK(count == 1);
        event = expect(&client, WAFT_COAP_EVENT_RESPONSE);
        CHECK(event.observe && event.sequence > sequence && event.payload.len == reply.body.len);
        sequence = event.sequence;
    }
    CHECK(next(&event) == NULL);

    OK(waft_coap_endpoint_cancel(&client, now, exchange));
    event = expect(&server, WAFT_COAP_EVENT_REQUEST);
    CHECK(!event.observe);
    reply.observe = 0;
    OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
    event = expect(&server, WAFT_COAP_EVENT_OBSERVER_GONE);
    CHECK(event.resource == 42 && event.peer == CLIENT);
    CHECK(next(&event) == NULL);
    OK(waft_coap_endpoint_notify(&server, now, 42, &reply, &count));
    CHECK(count == 0);
}

static void a_response_may_come_later(void) {
    const waft_coap_request_t request = get(WAFT_STR("/slow"));
    uint32_t exchange = ask(&request);
    waft_coap_event_t event = expect(&server, WAFT_COAP_EVENT_REQUEST), nobody;
    const waft_coap_request_id_t id = event.request;
    OK(waft_coap_endpoint_acknowledge(&server, now, &id));
    CHECK(waft_coap_endpoint_acknowledge(&server, now, &id) == WAFT_ERROR_UNKNOWN_ID);
    CHECK(next(&nobody) == NULL);
    now += 5000000;
    waft_coap_reply_t reply = reply_with(WAFT_COAP_NOT_FOUND, NULL, 0);
    OK(waft_coap_endpoint_respond(&server, now, &id, &reply));
    event = expect(&client, WAFT_COAP_EVENT_RESPONSE);
    CHECK(event.exchange == exchange && event.code == WAFT_COAP_NOT_FOUND && event.last);
    CHECK(next(&nobody) == NULL);
}

/* PROBING_RATE: a silent peer is sent a byte a second, and no more. */
static void a_silent_peer_is_left_alone(void) {
    waft_coap_endpoint_config_t config;
    waft_coap_event_t event;
    waft_output_t output;
    uint8_t buffer[1200];
    waft_coap_request_t request;
    uint32_t exchange;
    setup();
    OK(waft_coap_endpoint_defaults(&config));
    CHECK(config.probing_rate == 1);
    request = get(WAFT_STR("/log"));
    request.method = WAFT_COAP_POST;
    request.confirmable = 0;
    request.payload.data = body;
    request.payload.len = 1000;
    OK(waft_coap_endpoint_request(&client, now, 9, &request, &exchange));
    OK(waft_coap_endpoint_poll_output(&client, now, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT);
    uint64_t paid = now + output.len * (uint64_t)1000000;
    OK(waft_coap_endpoint_cancel(&client, now, exchange));
    OK(waft_coap_endpoint_request(&client, now, 9, &request, &exchange));
    OK(waft_coap_endpoint_poll_output(&client, now, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TIMEOUT && output.deadline > paid - 100 && output.deadline < paid + 100);
    OK(waft_coap_endpoint_poll_output(&client, output.deadline, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.peer == 9);
}

/* Sends one datagram to the server as if it came to a multicast address. */
static waft_coap_event_t multicast(const uint8_t *data, size_t len) {
    waft_handled_t handled;
    waft_coap_event_t event;
    OK(waft_coap_endpoint_handle_multicast(&server, now, CLIENT, data, len, &handled, &event));
    CHECK(handled.consumed == len);
    return event;
}

static void a_multicast_request_is_answered_in_its_leisure(void) {
    static const uint8_t con[] = {0x40, 0x01, 0x12, 0x34}, non[] = {0x50, 0x01, 0x12, 0x35};
    waft_coap_event_t event;
    uint8_t buffer[64];
    waft_output_t output;
    setup();
    CHECK(multicast(con, sizeof con).kind == WAFT_COAP_EVENT_NONE);
    event = multicast(non, sizeof non);
    CHECK(event.kind == WAFT_COAP_EVENT_REQUEST && event.multicast == 1 && event.proven == 0);
    waft_coap_reply_t reply = reply_with(WAFT_COAP_CONTENT, (const uint8_t *)"here", 4);
    OK(waft_coap_endpoint_respond(&server, now, &event.request, &reply));
    uint64_t at = waft_coap_endpoint_next_timeout(&server);
    CHECK(at > now && at <= now + 5000000);
    OK(waft_coap_endpoint_poll_output(&server, now, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TIMEOUT);
    OK(waft_coap_endpoint_poll_output(&server, at, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.len == 9);
    CHECK(waft_coap_endpoint_handle_multicast(NULL, now, 0, non, sizeof non, NULL, NULL) == WAFT_ERROR_NULL_POINTER);
}

static void a_group_is_asked_once(void) {
    static const uint8_t here[] = "here";
    waft_coap_request_t request;
    waft_coap_event_t event;
    waft_coap_message_t message;
    waft_output_t output;
    waft_handled_t handled;
    uint8_t buffer[64], answer[64];
    size_t len;
    uint32_t exchange;
    setup();
    request = get(WAFT_STR("/light"));
    CHECK(waft_coap_endpoint_request_group(&client, now, 9, &request, &exchange) == WAFT_ERROR_OUT_OF_RANGE);
    request.confirmable = 0;
    OK(waft_coap_endpoint_request_group(&client, now, 9, &request, &exchange));
    OK(waft_coap_endpoint_poll_output(&client, now, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.peer == 9);
    waft_bytes_t datagram = {buffer, output.len};
    OK(waft_coap_decode(datagram, &message));
    message.code = WAFT_COAP_CONTENT;
    message.payload.data = here;
    message.payload.len = 4;
    OK(waft_coap_encode(&message, NULL, 0, answer, sizeof answer, &len));
    for (uint32_t member = 1; member < 3; member++) {
        OK(waft_coap_endpoint_handle_input(&client, now, member, answer, len, &handled, &event));
        CHECK(event.kind == WAFT_COAP_EVENT_GROUP_RESPONSE && event.peer == member && event.exchange == exchange);
        CHECK(event.code == WAFT_COAP_CONTENT && event.payload.len == 4);
    }
    OK(waft_coap_endpoint_cancel(&client, now, exchange));
}

static void a_client_can_be_asked_to_show_that_it_is_there(void) {
    static const uint8_t post[] = {0x40, 0x02, 0x12, 0x34};
    waft_handled_t handled;
    waft_coap_event_t event;
    waft_coap_message_t message;
    waft_coap_option_t echo;
    uint8_t buffer[64], again[64];
    waft_output_t output;
    size_t len;
    setup();
    OK(waft_coap_endpoint_handle_input(&server, now, CLIENT, post, sizeof post, &handled, &event));
    CHECK(event.kind == WAFT_COAP_EVENT_REQUEST && event.proven == 0);
    OK(waft_coap_endpoint_challenge(&server, now, &event.request));
    CHECK(waft_coap_endpoint_challenge(&server, now, &event.request) == WAFT_ERROR_UNKNOWN_ID);
    OK(waft_coap_endpoint_poll_output(&server, now, buffer, sizeof buffer, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT);
    waft_bytes_t datagram = {buffer, output.len};
    OK(waft_coap_decode(datagram, &message));
    CHECK(message.code == WAFT_COAP_UNAUTHORIZED);
    CHECK(waft_coap_options_find(&message.options, WAFT_COAP_OPTION_ECHO, &echo) == 1);
    message.code = WAFT_COAP_POST;
    message.kind = WAFT_COAP_CON;
    message.id = 0x1235;
    OK(waft_coap_encode(&message, &echo, 1, again, sizeof again, &len));
    OK(waft_coap_endpoint_handle_input(&server, now, CLIENT, again, len, &handled, &event));
    CHECK(event.kind == WAFT_COAP_EVENT_REQUEST && event.proven == 1);
    waft_coap_stats_t stats;
    OK(waft_coap_endpoint_stats(&server, &stats));
    CHECK(stats.challenged == 1);
}

static void conditions_are_read_off_a_request(void) {
    static const uint8_t if_match[] = {0x40, 0x03, 0, 1, 0x11, 'a'}, etag[] = {0x40, 0x01, 0, 1, 0x41, 'a'};
    const waft_bytes_t a = {(const uint8_t *)"a", 1}, put = {if_match, sizeof if_match}, get_ = {etag, sizeof etag};
    waft_coap_message_t m;
    OK(waft_coap_decode(put, &m));
    CHECK(waft_coap_condition(&m.options, WAFT_COAP_PUT, 1, a) == 0);
    CHECK(waft_coap_condition(&m.options, WAFT_COAP_PUT, 1, nothing) == WAFT_COAP_PRECONDITION_FAILED);
    OK(waft_coap_decode(get_, &m));
    CHECK(waft_coap_condition(&m.options, WAFT_COAP_GET, 1, a) == WAFT_COAP_VALID);
    CHECK(waft_coap_condition(NULL, WAFT_COAP_GET, 1, a) == WAFT_ERROR_NULL_POINTER);
}

static void a_ping_is_answered_or_not(void) {
    OK(waft_coap_endpoint_ping(&client, now, SERVER));
    waft_coap_event_t event = expect(&client, WAFT_COAP_EVENT_PONG);
    CHECK(event.peer == SERVER);

    /* A request that nobody answers is sent five times and then fails. */
    const waft_coap_request_t request = get(WAFT_STR("/"));
    uint32_t exchange = ask(&request);
    uint8_t buffer[64];
    waft_output_t output;
    int sent = 0;
    for (;;) {
        OK(waft_coap_endpoint_poll_output(&client, now, buffer, sizeof buffer, &output, &event));
        if (output.kind == WAFT_OUTPUT_EVENT) break;
        if (output.kind == WAFT_OUTPUT_TRANSMIT) {
            sent++;
            continue;
        }
        CHECK(output.kind == WAFT_OUTPUT_TIMEOUT && output.deadline > now && output.deadline != WAFT_NEVER);
        CHECK(output.deadline == waft_coap_endpoint_next_timeout(&client));
        now = output.deadline;
        OK(waft_coap_endpoint_handle_timeout(&client, now));
    }
    CHECK(sent == 5 && event.kind == WAFT_COAP_EVENT_FAILED && event.exchange == exchange);
    CHECK(event.reason == WAFT_COAP_FAILURE_TIMEOUT);
    CHECK(strcmp(waft_coap_failure_name(event.reason), "Timeout") == 0);
    CHECK(strcmp(waft_coap_failure_name(200), "Unknown") == 0);
    waft_coap_stats_t stats;
    OK(waft_coap_endpoint_stats(&client, &stats));
    CHECK(stats.retransmitted == 4 && stats.malformed == 0);
}

static void what_is_too_small_keeps_what_it_was_for(void) {
    const waft_coap_request_t request = get(WAFT_STR("/0123456789"));
    uint32_t exchange = ask(&request);
    uint8_t buffer[64];
    waft_output_t output;
    waft_coap_event_t event;
    OK(waft_coap_endpoint_poll_output(&client, now, NULL, 0, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_BUFFER_TOO_SMALL && output.len == 4 + 4 + 1 + 10);
    size_t needed = output.len;
    OK(waft_coap_endpoint_poll_output(&client, now, buffer, needed - 1, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_BUFFER_TOO_SMALL && output.len == needed);
    OK(waft_coap_endpoint_poll_output(&client, now, buffer, needed, &output, &event));
    CHECK(output.kind == WAFT_OUTPUT_TRANSMIT && output.len == needed);
    OK(waft_coap_endpoint_cancel(&client, now, exchange));

    /* Tables and arena. */
    waft_coap_endpoint_config_t config;
    OK(waft_coap_endpoint_defaults(&config));
    static waft_coap_endpoint_t small;
    static uint64_t memory[(WAFT_COAP_MEMORY(4, 4, 8, 4, 0) + 7) / 8];
    uint8_t *start = (uint8_t *)memory;
    size_t tables = WAFT_COAP_MEMORY(4, 4, 8, 4, 0) - 4;
    CHECK(waft_coap_endpoint_init(&small, sizeof small, &config, start, tables / 2) == WAFT_ERROR_BUFFER);
    CHECK(waft_coap_endpoint_next_timeout(&small) == WAFT_NEVER);
    OK(waft_coap_endpoint_init(&small, sizeof small, &config, start, tables));
    CHECK(waft_coap_endpoint_request(&small, now, SERVER, &request, &exchange) == WAFT_ERROR_ARENA);
    config.transfers = 0;
    OK(waft_coap_endpoint_init(&small, sizeof small, &config, start, tables));
    CHECK(waft_coap_endpoint_request(&small, now, SERVER, &request, &exchange) == WAFT_ERROR_EXCHANGES);
}

static void misuse_is_refused_and_changes_nothing(void) {
    static waft_coap_endpoint_t blank;
    waft_coap_endpoint_config_t config;
    uint32_t number = 77;
    waft_coap_event_t event;
    waft_output_t output;
    waft_handled_t handled;
    waft_coap_stats_t stats;
    waft_coap_request_t request = get(WAFT_STR("/x"));
    waft_coap_reply_t reply = reply_with(WAFT_COAP_CONTENT, NULL, 0);
    waft_coap_request_id_t id;
    memset(&id, 0, sizeof id);
    uint8_t *memory = (uint8_t *)memories[0];

    CHECK(waft_coap_endpoint_defaults(NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_request_defaults(NULL) == WAFT_ERROR_NULL_POINTER);
    OK(waft_coap_endpoint_defaults(&config));
    CHECK(waft_coap_endpoint_init(NULL, sizeof blank, &config, memory, 8) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_init(&blank, sizeof blank - 1, &config, memory, 8) == WAFT_ERROR_BAD_STORAGE);
    CHECK(waft_coap_endpoint_init(&blank, sizeof blank, NULL, memory, 8) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_init(&blank, sizeof blank, &config, NULL, 8) == WAFT_ERROR_NULL_POINTER);
    config.understood_count = 1;
    CHECK(waft_coap_endpoint_init(&blank, sizeof blank, &config, memory, 8) == WAFT_ERROR_NULL_POINTER);

    /* Every function, without a handle and with one that was never initialised. */
    for (int n = 0; n < 2; n++) {
        waft_coap_endpoint_t *bad = n ? &blank : NULL;
        int32_t expected = n ? WAFT_ERROR_BAD_HANDLE : WAFT_ERROR_NULL_POINTER;
        CHECK(waft_coap_endpoint_request(bad, 0, 0, &request, &number) == expected);
        CHECK(waft_coap_endpoint_body(bad, 0, 0, nothing) == expected);
        CHECK(waft_coap_endpoint_advance(bad, 0, 0) == expected);
        CHECK(waft_coap_endpoint_cancel(bad, 0, 0) == expected);
        CHECK(waft_coap_endpoint_measure_paths(bad, WAFT_COAP_POLICY_COCOA, NULL, 0) == expected);
        CHECK(waft_coap_endpoint_ping(bad, 0, 0) == expected);
        CHECK(waft_coap_endpoint_respond(bad, 0, &id, &reply) == expected);
        CHECK(waft_coap_endpoint_acknowledge(bad, 0, &id) == expected);
        CHECK(waft_coap_endpoint_notify(bad, 0, 0, &reply, &number) == expected);
        CHECK(waft_coap_endpoint_observers(bad, 0, &number) == expected);
        CHECK(waft_coap_endpoint_stats(bad, &stats) == expected);
        CHECK(waft_coap_endpoint_handle_input(bad, 0, 0, body, 4, &handled, &event) == expected);
        CHECK(waft_coap_endpoint_handle_timeout(bad, 0) == expected);
        CHECK(waft_coap_endpoint_poll_output(bad, 0, body, 4, &output, &event) == expected);
        CHECK(waft_coap_endpoint_next_timeout(bad) == WAFT_NEVER);
    }

    /* Inputs and outputs that are NULL. */
    CHECK(waft_coap_endpoint_request(&client, now, 0, NULL, &number) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_request(&client, now, 0, &request, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_respond(&client, now, NULL, &reply) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_respond(&client, now, &id, &reply) == WAFT_ERROR_BAD_HANDLE);
    CHECK(waft_coap_endpoint_acknowledge(&client, now, &id) == WAFT_ERROR_BAD_HANDLE);
    CHECK(waft_coap_endpoint_notify(&client, now, 0, NULL, &number) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_notify(&client, now, 0, &reply, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_observers(&client, 0, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_stats(&client, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_handle_input(&client, now, 0, NULL, 1, &handled, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_handle_input(&client, now, 0, body, 1, NULL, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_handle_input(&client, now, 0, body, 1, &handled, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_poll_output(&client, now, NULL, 1, &output, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_poll_output(&client, now, body, 1, NULL, &event) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_endpoint_poll_output(&client, now, body, 1, &output, NULL) == WAFT_ERROR_NULL_POINTER);

    /* Requests that are none. */
    request.path = WAFT_STR("/%zz");
    CHECK(waft_coap_endpoint_request(&client, now, 0, &request, &number) == WAFT_ERROR_INVALID_URI);
    request = get(WAFT_STR("/x"));
    request.method = WAFT_COAP_CONTENT;
    CHECK(waft_coap_endpoint_request(&client, now, 0, &request, &number) == WAFT_ERROR_OUT_OF_RANGE);
    request = get(WAFT_STR("/x"));
    request.offset = 17;
    CHECK(waft_coap_endpoint_request(&client, now, 0, &request, &number) == WAFT_ERROR_OUT_OF_RANGE);
    request = get(WAFT_STR("/x"));
    request.etag.data = body;
    request.etag.len = 9;
    CHECK(waft_coap_endpoint_request(&client, now, 0, &request, &number) == WAFT_ERROR_OUT_OF_RANGE);
    request = get(WAFT_STR("/x"));
    waft_coap_option_t options[WAFT_COAP_OPTIONS + 1];
    for (size_t n = 0; n <= WAFT_COAP_OPTIONS; n++) {
        options[n].number = WAFT_COAP_OPTION_IF_MATCH;
        options[n].value = nothing;
    }
    request.options = options;
    request.option_count = WAFT_COAP_OPTIONS + 1;
    CHECK(waft_coap_endpoint_request(&client, now, 0, &request, &number) == WAFT_ERROR_OUT_OF_RANGE);
    request.option_count = 1;
    options[0].number = WAFT_COAP_OPTION_BLOCK2;
    CHECK(waft_coap_endpoint_request(&client, now, 0, &request, &number) == WAFT_ERROR_INVALID_OPTION);
    CHECK(waft_coap_endpoint_advance(&client, now, 12345) == WAFT_ERROR_UNKNOWN_ID);
    CHECK(waft_coap_endpoint_body(&client, now, 12345, nothing) == WAFT_ERROR_UNKNOWN_ID);
    CHECK(number == 77);

    /* Noise is counted and told to nobody. */
    OK(waft_coap_endpoint_handle_input(&client, now, 0, body, 3, &handled, &event));
    CHECK(handled.consumed == 3 && event.kind == WAFT_COAP_EVENT_NONE);
    OK(waft_coap_endpoint_stats(&client, &stats));
    CHECK(stats.malformed == 1);
}

static void messages_are_decoded_and_encoded(void) {
    /* RFC 7252 appendix A, figure 16. */
    static const uint8_t wire[] = {0x40, 0x01, 0x7d, 0x34, 0xbb, 't', 'e', 'm', 'p', 'e', 'r', 'a', 't', 'u', 'r', 'e'};
    const waft_bytes_t datagram = {wire, sizeof wire};
    waft_coap_message_t message;
    OK(waft_coap_decode(datagram, &message));
    CHECK(message.kind == WAFT_COAP_CON && message.code == WAFT_COAP_GET && message.id == 0x7d34);
    CHECK(message.token_len == 0 && message.payload.len == 0);
    waft_coap_option_t option;
    waft_coap_options_t left = message.options;
    CHECK(waft_coap_options_next(&left, &option) == 1 && option.number == WAFT_COAP_OPTION_URI_PATH);
    CHECK(option.value.data == wire + 5 && option.value.len == 11);
    uint32_t value = 5;
    CHECK(waft_coap_option_uint(&option, &value) == WAFT_ERROR_INVALID_OPTION && value == 5);
    CHECK(waft_coap_options_next(&left, &option) == 0);
    CHECK(waft_coap_options_next(NULL, &option) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_options_next(&left, NULL) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_options_find(NULL, 1, &option) == WAFT_ERROR_NULL_POINTER);
    CHECK(waft_coap_path_is(NULL, WAFT_STR("/")) == WAFT_ERROR_NULL_POINTER);

    uint8_t buffer[sizeof wire];
    size_t len = 0;
    OK(waft_coap_options_next(&message.options, &option));
    CHECK(waft_coap_encode(&message, &option, 1, buffer, sizeof buffer - 1, &len) == WAFT_ERROR_BUFFER && len == 0);
    OK(waft_coap_encode(&message, &option, 1, buffer, sizeof buffer, &len));
    CHECK(len == sizeof wire && memcmp(buffer, wire, len) == 0);
    message.kind = 4;
    CHECK(waft_coap_encode(&message, &option, 1, buffer, sizeof buffer, &len) == WAFT_ERROR_OUT_OF_RANGE);
    message.kind = WAFT_COAP_CON;
    message.token_len = 9;
    CHECK(waft_coap_encode(&message, &option, 1, buffer, sizeof buffer, &len) == WAFT_ERROR_OUT_OF_RANGE);

    const waft_bytes_t cut = {wire, 3};
    CHECK(waft_coap_decode(cut, &message) == WAFT_ERROR_COAP_TRUNCATED);
    CHECK(waft_coap_decode(datagram, NULL) == WAFT_ERROR_NULL_POINTER);
}

int main(void) {
    for (size_t n = 0; n < sizeof body; n++) body[n] = (uint8_t)(n * 7 + n / 251);
    setup();
    a_request_is_answered_with_options();
    a_body_comes_block_by_block(0, 0);
    a_body_comes_block_by_block(1, 1);
    blocks_come_side_by_side_and_in_any_order();
    for (int how = 0; how < 4; how++) blocks_of_a_body_go_side_by_side(how & 1, how >> 1);
    a_body_goes_out_block_by_block(0);
    a_body_goes_out_block_by_block(1);
    an_observer_is_told_of_changes();
    a_response_may_come_later();
    a_silent_peer_is_left_alone();
    a_multicast_request_is_answered_in_its_leisure();
    a_group_is_asked_once();
    a_client_can_be_asked_to_show_that_it_is_there();
    conditions_are_read_off_a_request();
    a_ping_is_answered_or_not();
    setup();
    what_is_too_small_keeps_what_it_was_for();
    setup();
    misuse_is_refused_and_changes_nothing();
    messages_are_decoded_and_encoded();
    puts("test_coap: ok");
    return 0;
}
