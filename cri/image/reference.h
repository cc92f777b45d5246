/*
 * Image names, read and completed as Docker's tools do: "nginx" is docker.io/library/nginx:latest.
 * Grammar: the OCI distribution specification's <name>, <reference> and <digest>, and the domain
 * rule everybody follows: the first component is a registry's host when it holds a dot or a colon,
 * or is "localhost".
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define REFERENCE_NAME_MAX 255 /* host and path together */
#define REFERENCE_TAG_MAX  128
#define DIGEST_TEXT_LEN    71 /* "sha256:" and 64 digits */

/* Strings are owned. */
struct image_reference {
    char *host;   /* "docker.io", "localhost:5000", "[::1]:5000" */
    char *path;   /* "library/nginx" */
    char *tag;    /* NULL when a digest alone was given */
    char *digest; /* "sha256:…" or NULL */
};

/* Parses and completes: a name with neither tag nor digest gets "latest". 0, or -EINVAL with what
 * is wrong; *ret is zeroed then. */
int image_reference_parse(const char *text, struct image_reference *ret, struct error *err);
void image_reference_done(struct image_reference *ref); /* harmless on a zeroed one */

/* "docker.io/library/nginx"; "…:tag"; "…@sha256:…" with @digest. The caller frees. */
char *image_reference_name(const struct image_reference *ref);
char *image_reference_tagged(const struct image_reference *ref);
char *image_reference_with_digest(const struct image_reference *ref, const char *digest);
/* By digest when it has one, else by tag: the name under which the store keeps it. */
char *image_reference_text(const struct image_reference *ref);

/* Exactly "sha256:" and 64 lower-case hexadecimal digits. */
bool digest_valid(const char *text);
/* The 64 digits of a valid digest. */
const char *digest_digits(const char *digest);
