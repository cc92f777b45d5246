/*
 * The fields of KubeletConfiguration that this kubelet has, each once: its path in the file, its
 * default, and the flag of upstream's kubelet that sets the same.
 */
#pragma once

#include <stdbool.h>

enum config_kind {
    CONFIG_TEXT,
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_LIST,    /* of strings; a flag may be repeated or hold commas */
    CONFIG_MAP,     /* string → string; a flag has key=value or key<value, separated by commas */
    CONFIG_OBJECTS, /* a list of objects; never a flag */
};

struct config_field {
    const char *path; /* dotted */
    enum config_kind kind;
    const char *fallback; /* JSON; NULL: none, or it depends on more than this file */
    const char *flag;     /* NULL: in the file only */
    const char *placeholder, *help;
};

extern const struct config_field config_fields[]; /* the last one's path is NULL */

/* Fields and flags of upstream's that have no effect here: they are told of, not refused. */
extern const char *const config_unsupported_fields[]; /* NULL-terminated */
struct config_unsupported_flag {
    const char *name;
    bool is_bool; /* its value may be left out */
};
extern const struct config_unsupported_flag config_unsupported_flags[]; /* ends with NULL */
