/* What `make install` leaves is of one version, links, and runs. */
#include <stdio.h>
#include "waft.h"

#ifndef WAFT_HOSTED
#error "whoever asks for the installed library has to get the part of the header that is for hosts"
#endif

int main(void) {
    waft_broker_config_t config;
    waft_broker_t *broker = NULL;
    uint32_t version = waft_version();
    if (version != WAFT_VERSION) return 1;
    if (waft_broker_defaults(&config) || waft_broker_new(&config, &broker) || waft_broker_free(broker)) return 1;
    printf("%u.%u.%u\n", (unsigned)(version >> 24), (unsigned)(version >> 16 & 255), (unsigned)(version >> 8 & 255));
    return 0;
}
