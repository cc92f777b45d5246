/*
 * The journal of host changes: what the project changed in the host and what it was before, on
 * disk, so that reset can put it back after any crash. A record is written, synced, before the
 * change is made.
 *
 * Directory: <root>/var/lib/coracle/journal/, one JSON file per record:
 *   {"kind":"sysctl","key":"net.ipv4.ip_forward","old":"0","owner":"cri"}
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Sets a sysctl ("net/ipv4/ip_forward") to @value unless it has it already, journalling the old
 * value first (the first record of a key wins). @dir is the journal's directory; NULL: no journal
 * (tests in their own network namespace). 0 or -errno. */
int journal_sysctl(const char *dir, const char *owner, const char *key, const char *value,
                   struct error *err);
/* Restores every journalled sysctl that still has the value we set and removes the records.
 * @report is called for each (may be NULL). Continues past errors; returns the first. */
int journal_restore(const char *dir, bool dry_run,
                    void (*report)(const char *key, const char *old, void *arg), void *arg,
                    struct error *err);
