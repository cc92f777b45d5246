/* Names of images as the distribution project writes them: [domain/]path[:tag][@digest]. */
#pragma once

#include "base/error.h"

struct image_name {
    char *domain;     /* "docker.io" when the name has none */
    char *repository; /* domain and path: "docker.io/library/nginx", "host:5000/x" */
};

/* 0, or -EINVAL with upstream's words for what is wrong. */
int image_name_parse(const char *text, struct image_name *ret, struct error *err);
void image_name_done(struct image_name *n);
