/* `coracle version`. */
#include <stdio.h>

#include "base/macros.h"
#include "cli/command.h"

int command_version(_unused_ int argc, _unused_ char **argv)
{
    (void)puts("coracle " CORACLE_VERSION);
    return 0;
}
