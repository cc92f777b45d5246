/*
 * AppArmor, where the kernel has it: the runtime's own profile, and which profile a container gets.
 *
 * The default profile (RuntimeDefault, and what a container gets that says nothing) has the effect
 * of the one that the common container runtimes have. It is compiled and loaded by apparmor_parser
 * when the daemon starts. Profiles belong to the whole kernel: a relocated root has one of its own
 * name, so that nodes on one machine do not take each other's away.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "net/cri.pb-c.h"

struct apparmor;

/* What the kernel under @sys ("/sys") has; @root is the runtime's, "" if it is not relocated. Never
 * NULL. */
struct apparmor *apparmor_new(struct loop *loop, const char *root, const char *sys);
/* Stops a parser that is under way (@done is not called). NULL is harmless; returns NULL. */
struct apparmor *apparmor_free(struct apparmor *a);

/* Loads the default profile if the kernel has AppArmor; why it could not is logged, and then told
 * to those who ask for it. True: @done is called when this is over; false: there is nothing to wait
 * for. */
bool apparmor_load(struct apparmor *a, void (*done)(void *arg), void *arg);

/* The profile for a container's processes, borrowed from @a or @sc; NULL: none. @a may be NULL: a
 * kernel without AppArmor. Privileged containers have none unless they name one. -ENOTSUP: a
 * profile was asked for and there is no AppArmor, or no default profile; -ENOENT: the profile is
 * not loaded; -EAGAIN: somebody removed the default profile, which is being loaded again; -EINVAL.
 * The field is named. */
int apparmor_profile(struct apparmor *a, const Runtime__V1__LinuxContainerSecurityContext *sc,
                     const char **ret, struct error *err);

/* Removes the default profile of the runtime at @root from the kernel; that it is not there is no
 * error.
 */
int apparmor_unload(const char *root, const char *sys, struct error *err);

/* The default profile's text under the name @name, to be freed. */
char *apparmor_default_text(const char *name);
