/* Flags as fields; see flags.h. */
#include "kubelet/config/flags.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/config/fields.h"

union config_flag_value {
    const char *text;
    struct option_list list;
};

static enum option_kind option_kind(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_BOOL:
        return OPTION_BOOL_TEXT;
    case CONFIG_LIST:
    case CONFIG_MAP:
        return OPTION_LIST;
    case CONFIG_TEXT:
    case CONFIG_INT:
    case CONFIG_OBJECTS:
        break;
    }
    return OPTION_STRING;
}

void config_flags_init(struct config_flags *f, const struct option_def *own)
{
    size_t n = 0, fields = 0, without = 0;
    while (own[n].name)
        n++;
    while (config_fields[fields].path)
        fields++;
    while (config_unsupported_flags[without].name)
        without++;
    f->definitions = mem_zalloc((n + fields + without + 3) * sizeof(*f->definitions));
    f->values = mem_zalloc(fields * sizeof(*f->values));
    f->unsupported = mem_zalloc(without * sizeof(*f->unsupported));
    for (size_t i = 0; i < n; i++)
        f->definitions[i] = own[i];
    f->definitions[n++] = (struct option_def){
        .name = "Fields of the configuration", .kind = OPTION_FLAG_GROUP, .help = ""};
    for (size_t i = 0; i < fields; i++) {
        const struct config_field *field = &config_fields[i];
        if (field->flag)
            f->definitions[n++] = (struct option_def){.name = field->flag,
                                                      .kind = option_kind(field->kind),
                                                      .value = &f->values[i],
                                                      .placeholder = field->placeholder,
                                                      .help = field->help};
    }
    f->definitions[n++] = (struct option_def){.name = "Of upstream's kubelet, without effect here",
                                              .kind = OPTION_FLAG_GROUP,
                                              .help = ""};
    for (size_t i = 0; i < without; i++)
        f->definitions[n++] = (struct option_def){
            .name = config_unsupported_flags[i].name,
            .kind = config_unsupported_flags[i].is_bool ? OPTION_BOOL_TEXT : OPTION_STRING,
            .value = &f->unsupported[i],
            .help = ""};
}

void config_flags_done(struct config_flags *f)
{
    for (size_t i = 0; f->values && config_fields[i].path; i++)
        if (option_kind(config_fields[i].kind) == OPTION_LIST)
            option_list_done(&f->values[i].list);
    free(f->definitions);
    free(f->values);
    free(f->unsupported);
    *f = (struct config_flags){.values = NULL};
}

static json_t *list_value(const struct option_list *list)
{
    json_t *j = json_array();
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(j, json_text(list->items[i]));
    return j;
}

static json_t *map_value(const struct config_field *field, const struct option_list *list,
                         struct error *err)
{
    _cleanup_json_ json_t *j = json_object();
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->items[i];
        size_t len = strcspn(text, "=<");
        if (!len || !text[len]) {
            (void)error_set(err, -EINVAL, "--%s: \"%.60s\" is not of the form key=value",
                            field->flag, text);
            return NULL;
        }
        _cleanup_free_ char *key = str_ndup(text, len);
        (void)json_object_set_new(j, key, json_text(text + len + 1));
    }
    return json_incref(j);
}

/* NULL and @err unset: it was not given. */
static json_t *given(const struct config_field *field, const union config_flag_value *v,
                     struct error *err)
{
    char *end;
    long long number;
    switch (field->kind) {
    case CONFIG_LIST:
        return v->list.count ? list_value(&v->list) : NULL;
    case CONFIG_MAP:
        return v->list.count ? map_value(field, &v->list, err) : NULL;
    case CONFIG_BOOL:
        return v->text ? json_boolean(str_eq(v->text, "true")) : NULL;
    case CONFIG_TEXT:
        return v->text ? json_text(v->text) : NULL;
    case CONFIG_OBJECTS:
        return NULL;
    case CONFIG_INT:
        break;
    }
    if (!v->text)
        return NULL;
    errno = 0;
    number = strtoll(v->text, &end, 10);
    if (!errno && end != v->text && !*end)
        return json_integer(number);
    (void)error_set(err, -EINVAL, "--%s: \"%.60s\" is not a number", field->flag, v->text);
    return NULL;
}

int config_flags_apply(const struct config_flags *f, json_t *config, struct error *err)
{
    for (size_t i = 0; config_unsupported_flags[i].name; i++)
        if (f->unsupported[i])
            log_warn("flag is not supported: it has no effect", "flag",
                     config_unsupported_flags[i].name, NULL);
    for (size_t i = 0; config_fields[i].path; i++) {
        struct error bad = ERROR_INIT;
        json_t *value = given(&config_fields[i], &f->values[i], &bad);
        if (bad.code)
            return error_set(err, bad.code, "%s", error_text(&bad));
        if (value && json_path_set(config, config_fields[i].path, value) < 0)
            return error_set(err, -EINVAL, "%s: what is above it is not an object",
                             config_fields[i].path);
    }
    return 0;
}
