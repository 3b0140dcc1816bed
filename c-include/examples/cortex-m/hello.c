/* The smallest program that links waft: says which version it is. */
#include "board.h"
#include "waft.h"

int main(void) {
    stack_paint();
    uint32_t version = waft_version();
    print("waft ");
    print_number(version >> 24);
    print(".");
    print_number(version >> 16 & 0xff);
    print(".");
    print_number(version >> 8 & 0xff);
    print("\nstack ");
    print_number(stack_used());
    print("\n");
    return 0;
}
