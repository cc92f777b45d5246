/* Signals as images and the CRI name them. */
#pragma once

#include "net/cri.pb-c.h"

/* "SIGTERM", "TERM", "15", "SIGRTMIN+3", any case. The number, or -EINVAL. */
int signal_parse(const char *text);
/* The kernel's number of a CRI signal; 0 for RUNTIME_DEFAULT, -EINVAL for one that is not known. */
int signal_of_cri(Runtime__V1__Signal signal);
/* The other way; RUNTIME_DEFAULT when the CRI has no such signal. */
Runtime__V1__Signal signal_to_cri(int number);
