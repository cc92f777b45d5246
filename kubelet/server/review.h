/*
 * Questions to the API server about who somebody is and what he may do (TokenReview,
 * SubjectAccessReview). What it says is remembered for a while.
 */
#pragma once

#include "kube/client.h"

struct reviews;
struct review; /* one question under way */

struct review_kind {
    const char *kind, *api_version, *path;
    const char *yes; /* the field of the status that decides: "authenticated", "allowed" */
};
extern const struct review_kind token_review, access_review;

/* @yes_ms, @no_ms: how long an answer holds, 0: not at all. */
struct reviews *reviews_new(struct kube_client *api, const struct review_kind *kind,
                            uint64_t yes_ms, uint64_t no_ms);
/* Questions under way are dropped without a word. Returns NULL. */
struct reviews *reviews_free(struct reviews *r);

/* @status: what it says, borrowed; NULL: it could not be asked, and @error says why. */
typedef void review_fn(void *arg, const json_t *status, const char *error);
/* Asks. @done is called once: before this returns (NULL is returned then), or later. */
struct review *review_ask(struct reviews *r, const json_t *spec, review_fn *done, void *arg);
struct review *review_cancel(struct review *review); /* no callback; returns NULL */
