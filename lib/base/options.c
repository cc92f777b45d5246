/* Command-line flags by table; see options.h. The table ends with an entry whose name is NULL. */
#include "base/options.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/strbuf.h"

static void list_add(struct option_list *list, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        list->items = mem_grow(list->items, list->count + 2, sizeof(*list->items));
        list->items[list->count++] = str_ndup(text, len);
        list->items[list->count] = NULL;
        text += len + (text[len] == ',');
    }
}

static int set_value(const struct option_def *def, const char *value, struct error *err)
{
    switch (def->kind) {
    case OPTION_STRING:
        *(const char **)def->value = value;
        return 0;
    case OPTION_LIST:
        list_add(def->value, value);
        return 0;
    case OPTION_INT: {
        char *end;
        errno = 0;
        long v = strtol(value, &end, 10);
        if (errno || end == value || *end || v < INT_MIN || v > INT_MAX)
            return error_set(err, -EINVAL, "--%s: \"%s\" is not a number", def->name, value);
        *(int *)def->value = (int)v;
        return 0;
    }
    case OPTION_BOOL:
    case OPTION_BOOL_TEXT:
        if (!str_eq(value, "true") && !str_eq(value, "false"))
            return error_set(err, -EINVAL, "--%s: \"%s\" is neither true nor false", def->name,
                             value);
        if (def->kind == OPTION_BOOL)
            *(bool *)def->value = str_eq(value, "true");
        else
            *(const char **)def->value = str_eq(value, "true") ? "true" : "false";
        return 0;
    case OPTION_FLAG_GROUP:
        break;
    }
    return error_set(err, -EINVAL, "--%s takes no value", def->name);
}

static bool takes_no_value(const struct option_def *def)
{
    return def->kind == OPTION_BOOL || def->kind == OPTION_BOOL_TEXT;
}

static const struct option_def *find(const struct option_def *defs, const char *arg, size_t len)
{
    for (const struct option_def *d = defs; d->name; d++) {
        if (d->kind == OPTION_FLAG_GROUP)
            continue;
        if (arg[1] == '-' && strlen(d->name) == len - 2 && strncmp(d->name, arg + 2, len - 2) == 0)
            return d;
        if (arg[1] != '-' && len == 2 && d->letter == arg[1])
            return d;
    }
    return NULL;
}

int options_parse(const struct option_def *defs, int argc, char **argv, bool stop_at_word,
                  char **words, struct error *err)
{
    int n = 0;
    int i = 1;
    for (; i < argc; i++) {
        char *arg = argv[i];
        if (str_eq(arg, "--")) {
            i++;
            break;
        }
        if (arg[0] != '-' || arg[1] == '\0') {
            if (stop_at_word)
                break;
            words[n++] = arg;
            continue;
        }
        size_t len = strcspn(arg, "=");
        const struct option_def *def = find(defs, arg, len);
        if (!def)
            return error_set(err, -EINVAL, "unknown flag: %.*s", (int)len, arg);
        const char *value = arg[len] == '=' ? arg + len + 1 : NULL;
        if (!value && takes_no_value(def))
            value = "true";
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value)
            return error_set(err, -EINVAL, "flag needs a value: %s", arg);
        int r = set_value(def, value, err);
        if (r < 0)
            return r;
    }
    while (i < argc)
        words[n++] = argv[i++];
    return n;
}

void options_help(const struct option_def *defs, FILE *to)
{
    for (const struct option_def *d = defs; d->name; d++) {
        if (d->kind == OPTION_FLAG_GROUP) {
            (void)fprintf(to, "\n%s:\n", d->name);
            continue;
        }
        char left[80];
        char letter[8] = "    ";
        if (d->letter)
            (void)snprintf(letter, sizeof(letter), "-%c, ", d->letter);
        (void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, d->name,
                       takes_no_value(d) ? "" : "=",
                       takes_no_value(d) ? "" : (d->placeholder ? d->placeholder : "VALUE"));
        (void)fprintf(to, "  %-38s %s\n", left, d->help);
    }
}

void option_list_done(struct option_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct option_list){.items = NULL};
}
