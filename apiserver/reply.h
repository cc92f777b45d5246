/*
 * Answers. Each of these ends the exchange of a request and frees the request; nothing of it may
 * be touched afterwards. The shape (object, Table, metadata only) follows what was negotiated.
 */
#pragma once

#include "apiserver/server.h"

/* @status is stolen. Its code is the HTTP status. */
void reply_status(struct request *r, json_t *status);
/* @tree is stolen; as it is, whatever was negotiated. */
void reply_json(struct request *r, int code, json_t *tree);
/* One object of the request's kind. Borrowed. */
void reply_object(struct request *r, int code, const struct encoded *e);
/* The same for a value that has just been stored at @revision. */
void reply_stored(struct request *r, int code, const char *key, const void *value, size_t len,
                  int64_t revision);
/* A tree of the request's kind that was not stored (dry run). Borrowed. */
void reply_tree(struct request *r, int code, const json_t *tree);
/* A list of the request's kind at @revision. @continue_token may be NULL; @remaining -1: not known.
 * The list is the caller's; objects are referenced while they are being sent. */
void reply_list(struct request *r, const struct encoded_list *list, int64_t revision,
                const char *continue_token, int64_t remaining);
/* 500, 503 or 504 for a negative code of the store; @code is not 0 and not positive. A read may be
 * tried again by the client at once, a write's outcome may be unknown. */
void reply_store_error(struct request *r, int code, const struct error *err);
/* 504 for a state that the store has not reached: clients ask again. New reference. */
json_t *status_version_too_large(int64_t wanted, int64_t current);
/* 404 for the object that the request names. */
void reply_not_found(struct request *r);

/* An object in the shape negotiated, for watch events and lists: a Table of one row, or the
 * metadata alone. New reference; NULL when the text is broken. @columns: with their definitions. */
json_t *shape_tree(const struct request *r, const json_t *tree, bool columns);
