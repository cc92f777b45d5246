/*
 * Images for containers: what the pull policy asks for, with upstream's reasons and events. The
 * back-off after a failed pull is the caller's (worker/container.c).
 */
#pragma once

#include "kubelet/kubelet.h"
#include "kubelet/runtime/keyring.h"

struct image_request;

struct image_result {
    const char *reason;      /* NULL: the image is there. "ErrImagePull", "InvalidImageName", … */
    const char *message;     /* for people, when there is a reason */
    struct image_info *info; /* the callee may take what is in it */
    bool pull_failed;        /* a pull was tried: back off before the next */
};

/* What is wanted, and by which container, so that events name it. Texts of the pod. */
struct image_want {
    const char *image, *policy, *container;
    const struct keyring *keys; /* of the pod's imagePullSecrets; used before the call returns */
};

/* @cb is called once, later, unless cancelled. */
struct image_request *image_ensure(struct kubelet *k, struct pod *pod,
                                   const struct image_want *want,
                                   void (*cb)(const struct image_result *result, void *arg),
                                   void *arg);
struct image_request *image_cancel(struct image_request *r); /* NULL is harmless; returns NULL */
