/* Signals as images and the CRI name them; see signals.h. */
#include "cri/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>
#include <string.h>

#include "base/macros.h"

static const struct {
    const char *name;
    int number;
} names[] = {
    {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"BUS", SIGBUS},       {"CHLD", SIGCHLD},
    {"CLD", SIGCHLD},  {"CONT", SIGCONT}, {"FPE", SIGFPE},       {"HUP", SIGHUP},
    {"ILL", SIGILL},   {"INT", SIGINT},   {"IO", SIGIO},         {"IOT", SIGIOT},
    {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"POLL", SIGPOLL},     {"PROF", SIGPROF},
    {"PWR", SIGPWR},   {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV},     {"STKFLT", SIGSTKFLT},
    {"STOP", SIGSTOP}, {"SYS", SIGSYS},   {"TERM", SIGTERM},     {"TRAP", SIGTRAP},
    {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},
    {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"VTALRM", SIGVTALRM}, {"WINCH", SIGWINCH},
    {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
};

/* "RTMIN+3", "RTMINPLUS3", "RTMAX-1", "RTMAXMINUS1". */
static int parse_realtime(const char *s)
{
    bool max = strncasecmp(s, "RTMAX", 5) == 0;
    if (!max && strncasecmp(s, "RTMIN", 5) != 0)
        return -EINVAL;
    const char *rest = s + 5;
    const char *word = max ? "MINUS" : "PLUS";
    int base = max ? SIGRTMAX : SIGRTMIN;
    if (!*rest)
        return base;
    if (*rest == (max ? '-' : '+'))
        rest++;
    else if (strncasecmp(rest, word, strlen(word)) == 0)
        rest += strlen(word);
    else
        return -EINVAL;
    size_t digits = strspn(rest, "0123456789");
    if (digits == 0 || digits > 2 || rest[digits])
        return -EINVAL;
    int n = (int)strtol(rest, NULL, 10);
    int number = max ? base - n : base + n;
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : -EINVAL;
}

int signal_parse(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits && digits <= 2 && !text[digits]) {
        int n = (int)strtol(text, NULL, 10);
        return n >= 1 && n <= SIGRTMAX ? n : -EINVAL;
    }
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcasecmp(text, names[i].name) == 0)
            return names[i].number;
    return parse_realtime(text);
}

int signal_of_cri(Runtime__V1__Signal s)
{
    if (s == RUNTIME__V1__SIGNAL__RUNTIME_DEFAULT)
        return 0;
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&runtime__v1__signal__descriptor, (int)s);
    return v ? signal_parse(v->name) : -EINVAL;
}

Runtime__V1__Signal signal_to_cri(int number)
{
    const ProtobufCEnumDescriptor *d = &runtime__v1__signal__descriptor;
    for (unsigned i = 0; i < d->n_values; i++)
        if (d->values[i].value && signal_parse(d->values[i].name) == number)
            return (Runtime__V1__Signal)d->values[i].value;
    return RUNTIME__V1__SIGNAL__RUNTIME_DEFAULT;
}
