/* A bootloader of a device with a staging area: what is wanted is brought to where firmware runs, and back, whenever power fails. */
#include "test.h"

enum { BLOCK = 256, SLOT = 3 * BLOCK, UNIT = 8 };
static const waft_boot_layout_t layout = {SLOT, BLOCK, UNIT};

typedef struct {
    uint8_t status[2][BLOCK], primary[SLOT + BLOCK], staging[SLOT];
} flash_t;

static uint8_t *place(flash_t *flash, uint8_t staging, uint32_t offset) {
    CHECK(offset + BLOCK <= (staging ? sizeof flash->staging : sizeof flash->primary));
    return (staging ? flash->staging : flash->primary) + offset;
}

/* Brings `slot` to its place; power fails after `left` pieces of work. Gives how many there were, or -1 where power failed. */
static int bring(flash_t *flash, uint8_t slot, int left) {
    int done = 0;
    for (;;) {
        waft_boot_swap_t step;
        waft_bytes_t pages[2] = {{flash->status[0], BLOCK}, {flash->status[1], BLOCK}};
        OK(waft_boot_swap(&layout, pages[0], pages[1], slot, &step));
        uint8_t *to, *mark;
        const uint8_t *from;
        size_t len;
        static const uint8_t zeros[UNIT];
        switch (step.kind) {
        case WAFT_SWAP_DONE: return done;
        case WAFT_SWAP_BEGIN: to = flash->status[step.page], from = step.header, len = sizeof step.header, mark = NULL; break;
        default:
            CHECK(step.kind == WAFT_SWAP_MOVE);
            to = place(flash, step.to_staging, step.to);
            from = place(flash, step.from_staging, step.from);
            len = BLOCK;
            mark = flash->status[step.page] + step.mark;
        }
        memset(to, 0xff, BLOCK / 2);
        if (done++ == left) return -1;
        memset(to, 0xff, BLOCK);
        for (size_t at = 0; at < len; at += 32) {
            if (done++ == left) return -1;
            memcpy(to + at, from + at, 32);
        }
        if (done++ == left) return -1;
        if (mark) memcpy(mark, zeros, UNIT);
        if (done++ == left) return -1;
    }
}

int main(void) {
    static flash_t flash, old, torn;
    static uint8_t images[2][SLOT];
    for (size_t n = 0; n < SLOT; n++) images[0][n] = (uint8_t)(n * 31), images[1][n] = (uint8_t)(n * 7 + n / 256);
    memset(&flash, 0xff, sizeof flash);
    memcpy(flash.primary, images[0], SLOT);
    memcpy(flash.staging, images[1], SLOT);
    CHECK(waft_boot_status_len(&layout) == 32 + 9 * UNIT);
    CHECK(bring(&flash, 0, -1) == 0);
    static const uint8_t wanted[] = {1, 0, 1};
    for (size_t n = 0; n < sizeof wanted; n++) {
        const uint8_t slot = wanted[n];
        memcpy(&old, &flash, sizeof flash);
        int steps = bring(&flash, slot, -1);
        CHECK(steps > 50);
        CHECK(memcmp(flash.primary, images[slot], SLOT) == 0 && memcmp(flash.staging, images[slot ^ 1], SLOT) == 0);
        for (int cut = 0; cut < steps; cut++) {
            memcpy(&torn, &old, sizeof old);
            CHECK(bring(&torn, slot, cut) == -1);
            CHECK(bring(&torn, slot, -1) >= 0);
            CHECK(memcmp(torn.primary, images[slot], SLOT) == 0 && memcmp(torn.staging, images[slot ^ 1], SLOT) == 0);
        }
    }
    waft_boot_swap_t step;
    waft_bytes_t page = {flash.status[0], BLOCK}, brief = {flash.status[0], 32};
    waft_boot_layout_t odd = {SLOT + 1, BLOCK, UNIT};
    CHECK(waft_boot_swap(&odd, page, page, 0, &step) == WAFT_ERROR_OUT_OF_RANGE && waft_boot_status_len(&odd) == 0);
    CHECK(waft_boot_swap(&layout, page, brief, 0, &step) == WAFT_ERROR_OUT_OF_RANGE);
    CHECK(waft_boot_swap(NULL, page, page, 0, &step) == WAFT_ERROR_NULL_POINTER && waft_boot_status_len(NULL) == 0);
    CHECK(waft_boot_swap(&layout, page, page, 0, NULL) == WAFT_ERROR_NULL_POINTER);
    puts("test_boot: ok");
    return 0;
}
