/* A file that behaves like NOR flash. */
#include "device.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int file = -1;
static uint32_t slot;

int flash_open(const char *path, uint32_t slot_size) {
    slot = slot_size;
    file = open(path, O_RDWR | O_CREAT, 0644);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) {
        return -1;
    }
    /* New flash is erased flash. */
    uint8_t blank[ERASE];
    memset(blank, 0xff, sizeof blank);
    const off_t size = 4 * (off_t)ERASE + 2 * (off_t)slot;
    for (off_t at = status.st_size; at < size;) {
        size_t len = size - at < (off_t)sizeof blank ? (size_t)(size - at) : sizeof blank;
        if (pwrite(file, blank, len, at) != (ssize_t)len) {
            return -1;
        }
        at += (off_t)len;
    }
    return 0;
}

static off_t place(uint8_t area, uint32_t offset) {
    // The journal, both slots, the key tables.
    const off_t slots = area == WAFT_AREA_KEYS ? 2 : area;
    return (area == WAFT_AREA_JOURNAL ? 0 : 2 * (off_t)ERASE + slots * (off_t)slot) + (off_t)offset;
}

int flash_read(uint8_t area, uint32_t offset, void *bytes, size_t len) {
    return pread(file, bytes, len, place(area, offset)) == (ssize_t)len ? 0 : -1;
}

int flash_write(uint8_t area, uint32_t offset, const void *bytes, size_t len) {
    return pwrite(file, bytes, len, place(area, offset)) == (ssize_t)len ? 0 : -1;
}

int flash_erase(uint8_t area, uint32_t offset, size_t len) {
    uint8_t blank[ERASE];
    memset(blank, 0xff, sizeof blank);
    return len <= sizeof blank ? flash_write(area, offset, blank, len) : -1;
}
