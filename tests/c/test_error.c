/* Results have names, and the header belongs to the library. */
#include "test.h"

int main(void) {
    CHECK(waft_version() == WAFT_VERSION);
    CHECK(strcmp(waft_error_name(WAFT_OK), "Ok") == 0);
    CHECK(strcmp(waft_error_name(WAFT_ERROR_NULL_POINTER), "NullPointer") == 0);
    CHECK(strcmp(waft_error_message(WAFT_ERROR_NULL_POINTER), "a pointer is NULL") == 0);
    CHECK(strcmp(waft_error_name(INT32_MIN), "Unknown") == 0);
    puts("test_error: ok");
    return 0;
}
