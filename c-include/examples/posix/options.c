/* The command line. */
#include "device.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: device --name NAME --class-name NAME --vendor UUID --class UUID --key HEX --flash FILE\n"
    "              [--root TOPIC] [--broker HOST:PORT] [--gateway coap://HOST:PORT] [--slot-size BYTES]\n"
    "              [--seed N] [--until confirmed|refused|SECONDS] [--self-test pass|fail|crash]\n"
    "              [--rotation] [--device-id UUID] [--jitter SECONDS] [--backoff SECONDS] [--window HH:MM-HH:MM]\n"
    "              [--battery MWH] [--charge MWH] [--clock] [--installed VERSION] [--step N] [--attempts N] [--trial SECONDS]\n"
    "Takes signed updates over MQTT and CoAP; prints what happens as a JSON object a line.\n"
    "exit status: 0 confirmed, 2 usage, 3 refused, 4 failed\n";

static _Noreturn void wrong(const char *option, const char *value) {
    fprintf(stderr, "device: --%s: cannot be %s\n", option, value);
    exit(EXIT_USAGE);
}

static uint64_t number(const char *option, const char *text) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0') {
        wrong(option, text);
    }
    return value;
}

/* A number, at most `most`. */
static uint32_t number_to(const char *option, const char *text, uint64_t most) {
    uint64_t value = number(option, text);
    if (value > most) {
        wrong(option, text);
    }
    return (uint32_t)value;
}

/* 02:00-04:30, UTC, also over midnight. */
static void window(const char *text, uint32_t *start, uint32_t *len) {
    const uint32_t day = 86400;
    unsigned h1, m1, h2, m2;
    int end = 0;
    if (sscanf(text, "%2u:%2u-%2u:%2u%n", &h1, &m1, &h2, &m2, &end) != 4 || text[end] != '\0' || h1 > 23 || h2 > 23 ||
        m1 > 59 || m2 > 59) {
        wrong("window", text);
    }
    *start = h1 * 3600 + m1 * 60;
    *len = (h2 * 3600 + m2 * 60 + day - *start - 1) % day + 1;
}

/* 1.2.0: numbers with dots between them. */
static uint32_t version(const char *text, int32_t *numbers, uint32_t most) {
    uint32_t count = 0;
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        if (count == most || end == at || errno != 0 || value < 0 || value > INT32_MAX || (*end != '.' && *end != '\0')) {
            wrong("installed", text);
        }
        numbers[count++] = (int32_t)value;
        if (*end == '\0') {
            return count;
        }
        at = end;
    }
}

/* Hexadecimal digits, with dashes anywhere between bytes. */
static void hex(const char *option, const char *text, uint8_t *bytes, size_t len) {
    const char *at = text;
    for (size_t n = 0; n < len; n++) {
        while (*at == '-') {
            at++;
        }
        unsigned value;
        if (strspn(at, "0123456789abcdefABCDEF") < 2 || sscanf(at, "%2x", &value) != 1) {
            wrong(option, text);
        }
        bytes[n] = (uint8_t)value;
        at += 2;
    }
    if (*at != '\0') {
        wrong(option, text);
    }
}

/* host, host:port or [address]:port, after an optional scheme. */
static void address(const char *option, const char *text, uint16_t port, struct address *address) {
    const char *host = strstr(text, "://") ? strstr(text, "://") + 3 : text;
    const char *end, *colon;
    if (*host == '[') {
        host++;
        end = strchr(host, ']');
        colon = end != NULL && end[1] == ':' ? end + 1 : NULL;
    } else {
        colon = strchr(host, ':');
        end = colon != NULL ? colon : host + strcspn(host, "/");
    }
    if (end == NULL || end == host || (size_t)(end - host) >= sizeof address->host) {
        wrong(option, text);
    }
    memcpy(address->host, host, (size_t)(end - host));
    address->host[end - host] = '\0';
    address->port = port;
    if (colon != NULL) {
        int value = atoi(colon + 1);
        if (value < 1 || value > 65535) {
            wrong(option, text);
        }
        address->port = (uint16_t)value;
    }
}

void options_parse(struct options *o, int argc, char **argv) {
    enum { NAME = 1, ROOT, CLASS_NAME, VENDOR, CLASS, KEY, FLASH, SLOT_SIZE, BROKER, GATEWAY, SEED, UNTIL, HELP,
           SELF_TEST, ROTATION, DEVICE_ID, JITTER, WINDOW, BATTERY, CHARGE, CLOCK, INSTALLED, STEP, ATTEMPTS, TRIAL, BACKOFF };
    static const struct option known[] = {
        {"name", 1, NULL, NAME},       {"root", 1, NULL, ROOT},           {"class-name", 1, NULL, CLASS_NAME},
        {"vendor", 1, NULL, VENDOR},   {"class", 1, NULL, CLASS},         {"key", 1, NULL, KEY},
        {"flash", 1, NULL, FLASH},     {"slot-size", 1, NULL, SLOT_SIZE}, {"broker", 1, NULL, BROKER},
        {"gateway", 1, NULL, GATEWAY}, {"seed", 1, NULL, SEED},           {"until", 1, NULL, UNTIL},
        {"help", 0, NULL, HELP},       {"self-test", 1, NULL, SELF_TEST}, {"rotation", 0, NULL, ROTATION},
        {"device-id", 1, NULL, DEVICE_ID}, {"jitter", 1, NULL, JITTER},   {"window", 1, NULL, WINDOW},
        {"battery", 1, NULL, BATTERY}, {"charge", 1, NULL, CHARGE},       {"clock", 0, NULL, CLOCK},
        {"installed", 1, NULL, INSTALLED}, {"step", 1, NULL, STEP},       {"attempts", 1, NULL, ATTEMPTS},
        {"trial", 1, NULL, TRIAL},     {"backoff", 1, NULL, BACKOFF},     {NULL, 0, NULL, 0},
    };
    memset(o, 0, sizeof *o);
    o->root = "waft";
    o->slot_size = 1u << 20;
    o->seed = (uint64_t)getpid();
    o->attempts = 3;
    o->trial = 600000;
    o->backoff = 60000;
    o->step = 1ull << 32;
    o->charge = WAFT_NO_BATTERY;
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", known, &index)) != -1) {
        switch (option) {
        case NAME: o->name = optarg; break;
        case ROOT: o->root = optarg; break;
        case CLASS_NAME: o->class_name = optarg; break;
        case VENDOR: hex("vendor", optarg, o->vendor, sizeof o->vendor); break;
        case CLASS: hex("class", optarg, o->class_id, sizeof o->class_id); break;
        case KEY:
            if (o->key_count == MAX_KEYS) {
                wrong("key", "given more than four times");
            }
            hex("key", optarg, o->keys[o->key_count++].bytes, 32);
            break;
        case FLASH: o->flash = optarg; break;
        case SLOT_SIZE: o->slot_size = (uint32_t)number("slot-size", optarg); break;
        case BROKER: address("broker", optarg, 1883, &o->broker); break;
        case GATEWAY: address("gateway", optarg, 5683, &o->gateway); break;
        case SEED: o->seed = number("seed", optarg); break;
        case UNTIL:
            o->until_refused = strcmp(optarg, "refused") == 0;
            if (!o->until_refused && strcmp(optarg, "confirmed") != 0) {
                o->seconds = number("until", optarg);
            }
            break;
        case SELF_TEST:
            if (strcmp(optarg, "pass") != 0 && strcmp(optarg, "fail") != 0 && strcmp(optarg, "crash") != 0) {
                wrong("self-test", optarg);
            }
            o->self_test = *optarg == 'p' ? SELF_TEST_PASS : *optarg == 'f' ? SELF_TEST_FAIL : SELF_TEST_CRASH;
            break;
        case ROTATION: o->rotation = 1; break;
        case DEVICE_ID: hex("device-id", optarg, o->device_id, sizeof o->device_id); break;
        case JITTER: o->jitter = 1000 * number_to("jitter", optarg, UINT32_MAX / 1000); break;
        case BACKOFF: o->backoff = 1000 * number_to("backoff", optarg, UINT32_MAX / 1000); break;
        case WINDOW: window(optarg, &o->window_start, &o->window_len); break;
        case BATTERY: o->battery = number_to("battery", optarg, UINT32_MAX); break;
        case CHARGE: o->charge = number_to("charge", optarg, WAFT_NO_BATTERY - 1); break;
        case CLOCK: o->clock = 1; break;
        case INSTALLED:
            o->installed = optarg;
            o->version_len = version(optarg, o->version, sizeof o->version / sizeof *o->version);
            break;
        case STEP: o->step = number("step", optarg); break;
        case ATTEMPTS: o->attempts = (uint8_t)number_to("attempts", optarg, UINT8_MAX); break;
        case TRIAL: o->trial = 1000 * number_to("trial", optarg, UINT32_MAX / 1000); break;
        case HELP: fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(EXIT_USAGE);
        }
    }
    if (o->name == NULL || o->class_name == NULL || o->flash == NULL || o->key_count == 0 || optind != argc ||
        (o->broker.host[0] == '\0' && o->gateway.host[0] == '\0')) {
        fprintf(stderr, "device: --name, --class-name, --key, --flash, and --broker or --gateway are needed\n%s", usage);
        exit(EXIT_USAGE);
    }
}
