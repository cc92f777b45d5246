/*
 * What is answered and why, for people: GET /names/NAME?type=A of the status address (status.h)
 * answers {"name", "type", "status": "NOERROR", "records": [text], "why": [sentence]}. Other
 * servers are asked where they would be asked for a client. A name that is none or a type that is
 * not known: 400.
 */
#pragma once

#include "dns/elsewhere.h"
#include "dns/zone.h"
#include "net/http_server.h"

/* Ends the exchange, now or when other servers have answered. */
void names_handle(struct zone *zone, struct elsewhere *elsewhere, struct http_exchange *x,
                  const char *name);
