/* Building protobuf-c messages; see message.h. */
#include "kubelet/runtime/message.h"

#include <string.h>

#include "base/strbuf.h"

void *message_new(const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = mem_zalloc(d->sizeof_message);
    protobuf_c_message_init(d, m);
    return m;
}

void *message_free(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    return NULL;
}

void *message_copy(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    _cleanup_free_ uint8_t *wire = mem_zalloc(len + 1);
    (void)protobuf_c_message_pack(message, wire);
    return protobuf_c_message_unpack(message->descriptor, NULL, len, wire);
}

void message_text(char **field, const char *value)
{
    if (value && *value)
        *field = str_dup(value);
}

void message_append(size_t *n, void *items, void *element)
{
    void **array;
    memcpy(&array, items, sizeof(array));
    array = mem_grow(array, *n + 1, sizeof(*array));
    array[(*n)++] = element;
    memcpy(items, &array, sizeof(array));
}

void message_append_text(size_t *n, char ***items, const char *text)
{
    message_append(n, items, str_dup(text));
}

void message_append_texts(size_t *n, char ***items, const struct string_list *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        message_append_text(n, items, texts->items[i]);
}

void message_map_put(size_t *n, void *items, const ProtobufCMessageDescriptor *entry,
                     const char *key, const char *value)
{
    struct message_entry **array;
    memcpy(&array, items, sizeof(array));
    for (size_t i = 0; i < *n; i++) {
        if (!str_eq(array[i]->key, key))
            continue;
        if (array[i]->value && *array[i]->value)
            free(array[i]->value);
        array[i]->value = str_dup(value ? value : "");
        return;
    }
    struct message_entry *e = message_new(entry);
    e->key = str_dup(key);
    e->value = str_dup(value ? value : "");
    message_append(n, items, e);
}

const char *message_map_get(size_t n, const void *items, const char *key)
{
    struct message_entry *const *array = items;
    for (size_t i = 0; i < n; i++)
        if (str_eq(array[i]->key, key))
            return array[i]->value;
    return NULL;
}
