/* Wall-clock times in the forms Kubernetes writes, and Go-style durations. */
#pragma once

#include "base/error.h"

#define TIME_TEXT_MAX 36

/* RFC 3339 in UTC: seconds ("2026-01-02T03:04:05Z", metav1.Time), microseconds (MicroTime), or
 * nanoseconds (CRI log lines, "…05.123456789Z"). @buf holds TIME_TEXT_MAX bytes; returned. */
char *time_format(int64_t unix_seconds, char *buf);
char *time_format_micro(int64_t unix_nanoseconds, char *buf);
char *time_format_nano(int64_t unix_nanoseconds, char *buf);

/* Parses RFC 3339 with any fraction and offset into nanoseconds since the epoch. 0 or -EINVAL. */
int time_parse(const char *text, int64_t *ret_unix_nanoseconds);

int64_t time_now(void);      /* seconds since the epoch */
int64_t time_now_nano(void); /* nanoseconds since the epoch */

/* Go's duration syntax ("1h2m3.5s", "300ms"), into milliseconds. 0 or -EINVAL. */
int duration_parse(const char *text, int64_t *ret_ms);
