/* How deep the stack of an update is, with Ed25519 and without, and how many instructions it takes beside those of the
   hash. QEMU counts: under `-icount shift=0` an instruction is a nanosecond, and SysTick counts 40 of them. */
#include "board.h"
#include <stdbool.h>

typedef struct { const uint8_t *data; size_t len; } bytes_t;
void update_prepare(bool believe, bytes_t public_key);
uint32_t update_run(bytes_t envelope, bytes_t image);
uint32_t update_hash(bytes_t image, uint32_t times);
bool update_verify(bytes_t public_key);

extern const uint8_t public_key[], public_key_end[];
extern const uint8_t small[], small_end[], small_envelope[], small_envelope_end[];
extern const uint8_t large[], large_end[], large_envelope[], large_envelope_end[];
#define BYTES(name) ((bytes_t){name, (size_t)(name##_end - name)})

enum { READY = 7, INSTRUCTIONS = 40, WRAP = 0x1000000, STACK = 7 * 1024 };
#define SYST_CSR (*(volatile uint32_t *)0xE000E010)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018)

static int broken;

static void say(const char *what, uint32_t value) {
    print(what);
    print(" ");
    print_number(value);
    print("\n");
}

static uint32_t ticks(void) {
    return WRAP - 1 - SYST_CVR;
}

static uint32_t update(bytes_t envelope, bytes_t image) {
    uint32_t began = ticks();
    uint32_t state = update_run(envelope, image);
    uint32_t took = (ticks() - began) % WRAP;
    if (state != READY) {
        say("NOT ready, but in state", state);
        broken = 1;
    }
    return took * INSTRUCTIONS;
}

static uint32_t hash(bytes_t image) {
    uint32_t began = ticks();
    update_hash(image, 2);
    return (ticks() - began) % WRAP * INSTRUCTIONS;
}

int main(void) {
    SYST_RVR = WRAP - 1;
    SYST_CVR = 0;
    SYST_CSR = 5;
    stack_paint();
    update_prepare(true, BYTES(public_key));
    say("stack_of_making_it", stack_used());
    stack_paint();
    uint32_t least = update(BYTES(small_envelope), BYTES(small));
    say("stack_without_crypto", stack_used());
    update_prepare(true, BYTES(public_key));
    uint32_t most = update(BYTES(large_envelope), BYTES(large));
    update_prepare(false, BYTES(public_key));
    stack_paint();
    update(BYTES(small_envelope), BYTES(small));
    say("stack", stack_used());
    broken |= stack_used() > STACK;
    /* What does not grow with the image is in both. */
    say("bytes", (uint32_t)((large_end - large) - (small_end - small)));
    say("update", most - least);
    uint32_t twice = hash(BYTES(large)) - hash(BYTES(small));
    say("hash", twice);
    broken |= most - least > twice + twice / 100 * 15;
    uint32_t began = ticks();
    broken |= update_verify(BYTES(public_key));
    say("verify", (ticks() - began) % WRAP * INSTRUCTIONS);
    return broken;
}
