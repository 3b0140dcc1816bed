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
    "              [--seed N] [--until confirmed|refused|SECONDS]\n"
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
    enum { NAME = 1, ROOT, CLASS_NAME, VENDOR, CLASS, KEY, FLASH, SLOT_SIZE, BROKER, GATEWAY, SEED, UNTIL, HELP };
    static const struct option known[] = {
        {"name", 1, NULL, NAME},       {"root", 1, NULL, ROOT},           {"class-name", 1, NULL, CLASS_NAME},
        {"vendor", 1, NULL, VENDOR},   {"class", 1, NULL, CLASS},         {"key", 1, NULL, KEY},
        {"flash", 1, NULL, FLASH},     {"slot-size", 1, NULL, SLOT_SIZE}, {"broker", 1, NULL, BROKER},
        {"gateway", 1, NULL, GATEWAY}, {"seed", 1, NULL, SEED},           {"until", 1, NULL, UNTIL},
        {"help", 0, NULL, HELP},       {NULL, 0, NULL, 0},
    };
    memset(o, 0, sizeof *o);
    o->root = "waft";
    o->slot_size = 1u << 20;
    o->seed = (uint64_t)getpid();
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
