/* Wall-clock times and durations; see times.h. */
#include "base/times.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/strbuf.h"

#define NANO 1000000000LL

static void split(int64_t ns, struct tm *tm, int64_t *fraction)
{
    int64_t s = ns / NANO;
    *fraction = ns % NANO;
    if (*fraction < 0) {
        *fraction += NANO;
        s--;
    }
    time_t t = (time_t)s;
    (void)gmtime_r(&t, tm);
}

char *time_format(int64_t unix_seconds, char *buf)
{
    struct tm tm;
    time_t t = (time_t)unix_seconds;
    (void)gmtime_r(&t, &tm);
    (void)strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return buf;
}

char *time_format_micro(int64_t ns, char *buf)
{
    struct tm tm;
    int64_t fraction;
    split(ns, &tm, &fraction);
    size_t n = strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(buf + n, TIME_TEXT_MAX - n, ".%06dZ", (int)(fraction / 1000));
    return buf;
}

char *time_format_nano(int64_t ns, char *buf)
{
    struct tm tm;
    int64_t fraction;
    split(ns, &tm, &fraction);
    size_t n = strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(buf + n, TIME_TEXT_MAX - n, ".%09dZ", (int)fraction);
    return buf;
}

static int two_digits(const char *s)
{
    if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
        return -EINVAL;
    return (s[0] - '0') * 10 + s[1] - '0';
}

int time_parse(const char *text, int64_t *ret)
{
    struct tm tm = {.tm_isdst = 0};
    const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!p)
        return -EINVAL;
    int64_t fraction = 0;
    if (*p == '.') {
        int64_t unit = NANO / 10;
        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
            fraction += (*p - '0') * unit;
    }
    int64_t offset = 0;
    if (*p == '+' || *p == '-') {
        int hours = two_digits(p + 1), minutes = hours < 0 || p[3] != ':' ? -1 : two_digits(p + 4);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
            return -EINVAL;
        offset = (hours * 60 + minutes) * 60LL * (*p == '-' ? -1 : 1);
        p += 6;
    } else if (*p == 'Z' || *p == 'z') {
        p++;
    } else {
        return -EINVAL;
    }
    if (*p)
        return -EINVAL;
    *ret = ((int64_t)timegm(&tm) - offset) * NANO + fraction;
    return 0;
}

int64_t time_now_nano(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * NANO + ts.tv_nsec;
}

int64_t time_now(void)
{
    return time_now_nano() / NANO;
}

int duration_parse(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};
    double total = 0;
    const char *p = text + (*text == '-');
    if (str_eq(p, "0")) {
        *ret_ms = 0;
        return 0;
    }
    if (!*p)
        return -EINVAL;
    while (*p) {
        if ((*p < '0' || *p > '9') && *p != '.')
            return -EINVAL;
        char *end;
        double v = strtod(p, &end);
        size_t len = strcspn(end, "0123456789.");
        size_t i = 0;
        while (i < ARRAY_SIZE(units) &&
               (strlen(units[i].unit) != len || strncmp(end, units[i].unit, len) != 0))
            i++;
        if (end == p || i == ARRAY_SIZE(units))
            return -EINVAL;
        total += v * units[i].ms;
        p = end + len;
    }
    if (total > 9e15)
        return -EINVAL;
    *ret_ms = (int64_t)(*text == '-' ? -total : total);
    return 0;
}
