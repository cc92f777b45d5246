/* Between knowing who sends a request and serving it: impersonation, and whether it may be done. */
#pragma once

#include "apiserver/server.h"

/* NULL when the request (as the user that it is then) may go on; else a new Status. */
json_t *authorize(struct request *r);

/* Acts as the user that the Impersonate-… headers name, if the request's may. NULL or a Status. */
json_t *impersonate(struct request *r);
