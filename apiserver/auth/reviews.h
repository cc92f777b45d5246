/* Questions that are posted and come back with their answer; nothing is stored. */
#pragma once

#include "apiserver/server.h"

struct review {
    struct request *r;
    json_t *body; /* the question, decoded */
    struct authn_call *authn;
};
/* Sends the question back with @status (stolen). */
void review_answer(struct review *review, json_t *status);

/* Each answers, or returns a Status that says what is wrong with the question. */
json_t *review_access(struct review *review);       /* SubjectAccessReview */
json_t *review_local_access(struct review *review); /* LocalSubjectAccessReview */
json_t *review_self_access(struct review *review);  /* SelfSubjectAccessReview */
json_t *review_self_rules(struct review *review);   /* SelfSubjectRulesReview */
