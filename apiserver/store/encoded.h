/*
 * An object as it is served: its JSON text with metadata.resourceVersion in it, made once from the
 * stored value without building a tree, never changed, and shared by reference count between the
 * watch cache, every watcher and every list that is being sent.
 */
#pragma once

#include <jansson.h>

#include "apiserver/store/store.h"
#include "base/error.h"
#include "base/strbuf.h"

struct schema_resource;

struct encoded {
    unsigned refs;
    int64_t revision; /* its resourceVersion */
    json_t *index;    /* what selectors look at; made by encoded_index() */
    char *key;
    size_t len;
    char data[]; /* NUL-terminated */
};

/* From a stored value. NULL and -EBADMSG in @err, naming the key, when it is not the JSON text of
 * an object with metadata, or in a form that we do not read (store_value_check()). */
struct encoded *encoded_new(const char *key, const void *value, size_t len, int64_t revision,
                            struct error *err);
struct encoded *encoded_ref(struct encoded *e);
struct encoded *encoded_unref(struct encoded *e); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct encoded *, encoded_unref);

/* The whole object as a tree. New reference; NULL with @err when the text is not JSON. */
json_t *encoded_tree(const struct encoded *e, struct error *err);

/* The part of the object that selectors can see: labels and the fields that the kind can be
 * selected by. Made at the first call and kept. Borrowed; an empty object when the text is
 * broken. */
const json_t *encoded_index(struct encoded *e, const struct schema_resource *res);

/* Copies the JSON text of a stored object to @out with metadata.resourceVersion set to @revision.
 * -EBADMSG when it is not an object with an object "metadata". */
int encoded_splice(const char *text, size_t len, int64_t revision, struct strbuf *out);

/* Objects with a reference each. */
struct encoded_list {
    struct encoded **items;
    size_t count;
};
void encoded_list_add(struct encoded_list *list, struct encoded *e); /* takes the reference */
void encoded_list_done(struct encoded_list *list);
