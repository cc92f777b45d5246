/* Flags that are fields of KubeletConfiguration by another name; a flag wins over the file. */
#pragma once

#include "base/json.h"
#include "base/options.h"

struct config_flags {
    struct option_def *definitions; /* @own and one for each field that has a flag; ends as @own */
    union config_flag_value *values;
    const char **unsupported; /* what was given, in the order of config_unsupported_flags */
};

/* @own: the program's further flags. */
void config_flags_init(struct config_flags *f, const struct option_def *own);
void config_flags_done(struct config_flags *f);
/* Puts what was given into @config; a flag that has no effect here is logged as a warning. -EINVAL
 * names the flag. */
int config_flags_apply(const struct config_flags *f, json_t *config, struct error *err);
