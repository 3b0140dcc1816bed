/* The parts of the example: options, a file as flash, and the device's main loop. */
#ifndef DEVICE_H
#define DEVICE_H
#include "waft.h"
#include <stdint.h>

enum { ERASE = 4096, MAX_KEYS = 4 };
enum { EXIT_CONFIRMED = 0, EXIT_USAGE = 2, EXIT_REFUSED = 3, EXIT_FAILED = 4 };

struct address {
    char host[256];
    uint16_t port;
};

struct options {
    const char *name, *root, *class_name, *flash;
    uint8_t vendor[16], class_id[16];
    waft_key_t keys[MAX_KEYS];
    size_t key_count;
    uint32_t slot_size;
    struct address broker, gateway; /* host is empty where there is none */
    uint64_t seed;
    int until_refused;
    uint64_t seconds; /* 0: for as long as it takes */
    enum { SELF_TEST_PASS, SELF_TEST_FAIL, SELF_TEST_CRASH } self_test; /* what a new image finds out about itself */
    /* What the update's part of the agent is told beside: see waft_update_config_t. */
    uint8_t rotation, attempts, device_id[16];
    uint32_t jitter, backoff, trial; /* milliseconds */
    uint32_t window_start, window_len, battery;
    uint64_t step;
    /* What the device knows of itself. */
    int clock; /* this computer's clock can be believed */
    uint32_t charge;
    const char *installed;
    int32_t version[6];
    uint32_t version_len;
};

/* Reads the command line; says what is wrong with it and exits with EXIT_USAGE. */
void options_parse(struct options *options, int argc, char **argv);

/* A file that behaves like NOR flash: two journal pages, then two image slots. 0, or -1 with errno. */
int flash_open(const char *path, uint32_t slot_size);
int flash_read(uint8_t area, uint32_t offset, void *bytes, size_t len);
int flash_write(uint8_t area, uint32_t offset, const void *bytes, size_t len);
int flash_erase(uint8_t area, uint32_t offset, size_t len);
#endif
