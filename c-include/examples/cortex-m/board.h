/* What a bare board lends the examples: a console and an exit (semihosting), and how deep the stack has been. */
#ifndef BOARD_H
#define BOARD_H
#include <stddef.h>
#include <stdint.h>

void print(const char *text);
void print_number(uint32_t value);
_Noreturn void exit_with(int status);

/* Fills the unused part of the stack with a pattern. */
void stack_paint(void);
/* Bytes of stack that have been in use at once since stack_paint(). */
uint32_t stack_used(void);

int main(void);
#endif
