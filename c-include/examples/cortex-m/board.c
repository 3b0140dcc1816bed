/* Start-up of a Cortex-M4 and Arm semihosting (Semihosting for AArch32 and AArch64, 2.0): no library but libc's mem*. */
#include "board.h"

extern uint32_t __data_start[], __data_end[], __data_load[], __bss_start[], __bss_end[], __stack_limit[], __stack_top[];

_Noreturn void reset_handler(void) {
    for (uint32_t *to = __data_start, *from = __data_load; to != __data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = __bss_start; to != __bss_end;) {
        *to++ = 0;
    }
    exit_with(main());
}

static _Noreturn void fault_handler(void) {
    print("fault\n");
    exit_with(99);
}

/* The initial stack pointer, then reset, NMI and the faults. Nothing enables an interrupt. */
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    __stack_top,  (void *)reset_handler, (void *)fault_handler, (void *)fault_handler,
    (void *)fault_handler, (void *)fault_handler, (void *)fault_handler,
};

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, ADP_STOPPED_APPLICATION_EXIT = 0x20026 };

static int semihost(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void print(const char *text) {
    semihost(SYS_WRITE0, text);
}

void print_number(uint32_t value) {
    char text[11];
    char *at = text + sizeof text;
    *--at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    print(at);
}

void exit_with(int status) {
    const uint32_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)status};
    semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

enum { PAINT = 0x5aa5c33c };

__attribute__((noinline)) void stack_paint(void) {
    uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *at = __stack_limit; at < here; at++) {
        *at = PAINT;
    }
}

uint32_t stack_used(void) {
    const uint32_t *at = __stack_limit;
    while (at != __stack_top && *at == PAINT) {
        at++;
    }
    return (uint32_t)(__stack_top - at) * 4;
}
