/* The ipvs mode's functions that have files of their own. */
#pragma once

#include "proxy/ipvs/model.h"

int ipvs_mode_probe(const struct backend_config *c, struct error *err);
int ipvs_mode_cleanup(const struct backend_config *c, struct error *err);
