/* The least that a test in C needs. */
#ifndef TEST_H
#define TEST_H
#include "waft.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The call does what it should. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        int32_t result_ = (call);                                                                                      \
        if (result_ < 0) {                                                                                             \
            fprintf(stderr, "%s:%d: %s: %s (%s)\n", __FILE__, __LINE__, #call, waft_error_name(result_),                \
                    waft_error_message(result_));                                                                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#endif
