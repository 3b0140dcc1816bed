/* An image that holds every function of waft.h: the linker is told to want them all. */
#include "board.h"

int main(void) {
    return 0;
}
