/*
 * Deleting an object: preconditions, grace, finalizers, propagation. What is held back gets a
 * deletionTimestamp and goes when the last finalizer does; pods that run go when their kubelet
 * says so.
 */
#pragma once

#include "apiserver/change.h"

struct delete_options {
    bool has_grace;
    int64_t grace;    /* seconds */
    char propagation; /* 'O'rphan, 'B'ackground, 'F'oreground; 0: not given */
    bool dry_run;
    char *uid, *version; /* preconditions; NULL when none; owned */
};
/* From the query and the body (which may be empty). NULL, or a new Status. */
json_t *delete_options_parse(const struct request *r, struct delete_options *ret);
/* The same from a DeleteOptions inside another body (may be NULL). */
json_t *delete_options_from(const struct request *r, const json_t *body,
                            struct delete_options *ret);
void delete_options_done(struct delete_options *options);

/* A make function's body: what deleting @tree with @options comes to. */
enum verdict removal_decide(const struct route *route, const struct delete_options *options,
                            json_t *tree, json_t **next, json_t **status);
