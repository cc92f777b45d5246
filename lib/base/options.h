/*
 * Command-line flags by table, in the form upstream's programs take them: --name=value,
 * --name value, --flag, --flag=false. One table gives parsing and --help.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum option_kind {
    OPTION_STRING,     /* const char ** (borrowed from argv) */
    OPTION_INT,        /* int * */
    OPTION_BOOL,       /* bool * */
    OPTION_BOOL_TEXT,  /* const char **: "true" or "false"; untouched when it is not given */
    OPTION_LIST,       /* struct option_list *: repeated, or separated by commas */
    OPTION_FLAG_GROUP, /* heading in --help; no value */
};

struct option_list {
    char **items; /* NULL-terminated once something was added, owned */
    size_t count;
};

struct option_def {
    const char *name; /* without dashes */
    char letter;      /* one-letter form, 0 when none */
    enum option_kind kind;
    void *value;
    const char *placeholder; /* for --help */
    const char *help;
};

/* Parses argv[1…]; stops at the first word that is no flag when @stop_at_word, else gathers words.
 * Returns the number of words left (moved to the front of @words, which has room for @argc) or
 * -EINVAL naming the flag. "--" ends the flags. */
int options_parse(const struct option_def *defs, int argc, char **argv, bool stop_at_word,
                  char **words, struct error *err);
/* Prints the table. */
void options_help(const struct option_def *defs, FILE *to);
void option_list_done(struct option_list *list);
