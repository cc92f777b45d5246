/*
 * Building protobuf-c messages on the heap. A message made here is freed, with all that hangs on
 * it, by message_free().
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/macros.h"
#include "kube/decode.h"

/* A zeroed message of this type, initialised. Never NULL. */
void *message_new(const ProtobufCMessageDescriptor *d);
void *message_free(void *message); /* NULL is harmless; returns NULL */
/* A deep copy, by way of the wire form. */
void *message_copy(const ProtobufCMessage *message);
/* Sets a text field to a copy; NULL stays "". */
void message_text(char **field, const char *value);
/* Appends a pointer to a repeated field (&m->n_x, &m->x). The element is the message's from then.
 */
void message_append(size_t *n, void *items, void *element);
/* Appends a copy of a text to a repeated string. */
void message_append_text(size_t *n, char ***items, const char *text);
void message_append_texts(size_t *n, char ***items, const struct string_list *texts);

/* Entries of a map<string, string>: protobuf-c gives each map its own type, all of this layout. */
struct message_entry {
    ProtobufCMessage base;
    char *key, *value;
};
void message_map_put(size_t *n, void *items, const ProtobufCMessageDescriptor *entry,
                     const char *key, const char *value);
/* The value, NULL when there is none. */
const char *message_map_get(size_t n, const void *items, const char *key);
