/* Answers of other servers, as the bytes of their messages, for as long as they may be believed.
 * Bounded in bytes: what was not asked for longest goes first. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dns_cache;

/* @limit: bytes, with what an entry costs beside its message. */
struct dns_cache *dns_cache_new(size_t limit);
struct dns_cache *dns_cache_free(struct dns_cache *c); /* NULL is harmless; returns NULL */
/* Keeps a copy of the message for @ttl seconds from @now (now_ms()); 0 keeps nothing. One that is
 * there under @key is replaced. */
void dns_cache_put(struct dns_cache *c, const char *key, const void *message, size_t len,
                   uint32_t ttl, uint64_t now);
/* The message, NULL when there is none or its time is up. Borrowed until the next call. *ret_age:
 * the whole seconds since it was put there. */
const uint8_t *dns_cache_get(struct dns_cache *c, const char *key, uint64_t now, size_t *ret_len,
                             uint32_t *ret_age);
void dns_cache_clear(struct dns_cache *c);
size_t dns_cache_count(const struct dns_cache *c);
