/* key=value logging to stderr; see log.h. */
#include "base/log.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/strbuf.h"

/* The one piece of process-wide state: where a line goes does not depend on who logs it. */
static struct {
    enum log_level level;
} logger = {.level = LOG_INFO};

void log_init(_unused_ const char *program, int verbosity)
{
    logger.level = verbosity >= 4 ? LOG_DEBUG : LOG_INFO;
}

bool log_enabled(enum log_level level)
{
    return level <= logger.level;
}

static void add_value(struct strbuf *line, const char *value)
{
    bool plain = *value != '\0';
    for (const unsigned char *c = (const unsigned char *)value; *c && plain; c++)
        plain = !isspace(*c) && *c >= ' ' && *c != '"' && *c != '=' && *c != 0x7f;
    if (plain) {
        strbuf_adds(line, value);
        return;
    }
    strbuf_addc(line, '"');
    for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
        if (*c == '"' || *c == '\\')
            strbuf_addf(line, "\\%c", *c);
        else if (*c == '\n')
            strbuf_adds(line, "\\n");
        else if (*c < ' ' || *c == 0x7f)
            strbuf_addf(line, "\\x%02x", *c);
        else
            strbuf_addc(line, (char)*c);
    }
    strbuf_addc(line, '"');
}

static void begin_line(struct strbuf *line, enum log_level level, const char *msg)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct timespec ts;
    struct tm tm;
    char stamp[32];
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    strbuf_addf(line, "%s.%03dZ %s msg=", stamp, (int)(ts.tv_nsec / 1000000), names[level]);
    add_value(line, msg);
}

static void end_line(struct strbuf *line)
{
    strbuf_addc(line, '\n');
    (void)!write(STDERR_FILENO, line->data, line->len);
}

void log_event(enum log_level level, const char *msg, ...)
{
    if (!log_enabled(level))
        return;
    _cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
    begin_line(&line, level, msg);
    va_list args;
    va_start(args, msg);
    const char *key;
    while ((key = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);
        if (!value)
            continue;
        strbuf_addf(&line, " %s=", key);
        add_value(&line, value);
    }
    va_end(args);
    end_line(&line);
}

void log_printf(enum log_level level, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    _cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    begin_line(&line, level, strbuf_text(&text));
    end_line(&line);
}
