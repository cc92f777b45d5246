/* String formats; see format.h. The lengths are those of RFC 1123, RFC 1035 and RFC 6335. */
#include "kube/format.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

#define LABEL_MAX     63
#define SUBDOMAIN_MAX 253
#define PORT_NAME_MAX 15

static const char LONGER_THAN_63[] = "must be no more than 63 bytes";
static const char LONGER_THAN_253[] = "must be no more than 253 bytes";

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower_alnum(char c)
{
    return is_lower(c) || is_digit(c);
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* Lower-case letters, digits and dashes inside; @len above 0. */
static bool is_label(const char *s, size_t len)
{
    if (len == 0 || !is_lower_alnum(s[0]) || !is_lower_alnum(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_lower_alnum(s[i]) && s[i] != '-')
            return false;
    return true;
}

static bool is_subdomain(const char *s, size_t len)
{
    for (;;) {
        const char *dot = memchr(s, '.', len);
        size_t part = dot ? (size_t)(dot - s) : len;
        if (!is_label(s, part))
            return false;
        if (!dot)
            return true;
        s += part + 1;
        len -= part + 1;
    }
}

static const char *label_problem(const char *s, size_t len)
{
    if (len > LABEL_MAX)
        return LONGER_THAN_63;
    if (is_label(s, len))
        return NULL;
    return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
           "and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
           "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

static const char *subdomain_problem(const char *s, size_t len)
{
    if (len > SUBDOMAIN_MAX)
        return LONGER_THAN_253;
    if (is_subdomain(s, len))
        return NULL;
    return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
           "or '.', and must start and end with an alphanumeric character (e.g. 'example.com', "
           "regex used for validation is "
           "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

static const char *dns1035_problem(const char *s, size_t len)
{
    if (len > LABEL_MAX)
        return LONGER_THAN_63;
    if (is_label(s, len) && is_lower(s[0]))
        return NULL;
    return "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with "
           "an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
           "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
}

/* Letters, digits, '-', '_' and '.', the first and last a letter or digit. */
static bool is_name_part(const char *s, size_t len)
{
    if (len == 0 || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && !strchr("-_.", s[i]))
            return false;
    return true;
}

static const char *qualified_name_problem(const char *s)
{
    const char *slash = strchr(s, '/');
    if (slash && strchr(slash + 1, '/'))
        return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and "
               "must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  "
               "or '123-abc', regex used for validation is "
               "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix "
               "and '/' (e.g. 'example.com/MyName')";
    const char *name = slash ? slash + 1 : s;
    if (slash == s)
        return "prefix part must be non-empty";
    if (slash && subdomain_problem(s, (size_t)(slash - s)))
        return "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
               "characters, '-' or '.', and must start and end with an alphanumeric character "
               "(e.g. 'example.com', regex used for validation is "
               "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    if (!*name)
        return "name part must be non-empty";
    if (strlen(name) > LABEL_MAX)
        return "name part must be no more than 63 bytes";
    if (!is_name_part(name, strlen(name)))
        return "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
               "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
               "'123-abc', regex used for validation is "
               "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    return NULL;
}

static const char *label_value_problem(const char *s, size_t len)
{
    if (len > LABEL_MAX)
        return LONGER_THAN_63;
    if (len == 0 || is_name_part(s, len))
        return NULL;
    return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
           "or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
           "'my_value',  or '12345', regex used for validation is "
           "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

static const char *port_name_problem(const char *s, size_t len)
{
    bool letter = false;
    if (len > PORT_NAME_MAX)
        return "must be no more than 15 characters";
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_alnum(s[i]) && s[i] != '-')
            return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        letter |= is_lower(s[i]);
    }
    if (!letter)
        return "must contain at least one letter (a-z)";
    if (strstr(s, "--"))
        return "must not contain consecutive hyphens";
    if (s[0] == '-' || s[len - 1] == '-')
        return "must not begin or end with a hyphen";
    return NULL;
}

static const char *config_key_problem(const char *s, size_t len)
{
    if (len > SUBDOMAIN_MAX)
        return LONGER_THAN_253;
    bool good = len > 0;
    for (size_t i = 0; i < len; i++)
        good = good && (is_alnum(s[i]) || strchr("-_.", s[i]));
    if (!good)
        return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
               "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
               "'[-._a-zA-Z0-9]+')";
    if (str_eq(s, "."))
        return "must not be '.'";
    if (str_eq(s, ".."))
        return "must not be '..'";
    return str_starts(s, "..") ? "must not start with '..'" : NULL;
}

static const char *env_name_problem(const char *s)
{
    bool good = *s != '\0';
    for (; *s; s++)
        good = good && *s >= ' ' && *s <= '~' && *s != '=';
    return good ? NULL
                : "a valid environment variable name must consist only of printable ASCII "
                  "characters other than '='";
}

int format_ip_family(const char *text)
{
    struct in6_addr address;
    if (inet_pton(AF_INET, text, &address) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, text, &address) == 1 ? AF_INET6 : 0;
}

int format_cidr_family(const char *text)
{
    const char *slash = strchr(text, '/');
    if (!slash || slash - text >= INET6_ADDRSTRLEN || !is_digit(slash[1]) ||
        strlen(slash + 1) > 3 || (slash[1] == '0' && slash[2]))
        return 0;
    char address[INET6_ADDRSTRLEN];
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    char *end;
    long bits = strtol(slash + 1, &end, 10);
    int family = format_ip_family(address);
    return *end || bits > (family == AF_INET ? 32 : 128) ? 0 : family;
}

static const char *local_path_problem(const char *s)
{
    if (*s == '/')
        return "must be a relative path";
    for (const char *part = s; *part; part += strcspn(part, "/")) {
        part += *part == '/';
        if (strcspn(part, "/") == 2 && part[0] == '.' && part[1] == '.')
            return "must not contain '..'";
    }
    return str_starts(s, "..") ? "must not start with '..'" : NULL;
}

static const char *path_segment_problem(const char *s)
{
    if (str_eq(s, "."))
        return "may not be '.'";
    if (str_eq(s, ".."))
        return "may not be '..'";
    if (strchr(s, '/'))
        return "may not contain '/'";
    return strchr(s, '%') ? "may not contain '%'" : NULL;
}

static const char *percent_problem(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n > 0 && n < 10 && str_eq(s + n, "%")
               ? NULL
               : "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
                 "'1%',  or '93%', regex used for validation is '[0-9]+%')";
}

const char *format_problem(enum schema_format format, const char *text)
{
    size_t len = strlen(text);
    switch (format) {
    case FORMAT_NONE:
        return NULL;
    case FORMAT_DNS_LABEL:
        return label_problem(text, len);
    case FORMAT_DNS_SUBDOMAIN:
        return subdomain_problem(text, len);
    case FORMAT_DNS1035_LABEL:
        return dns1035_problem(text, len);
    case FORMAT_QUALIFIED_NAME:
        return qualified_name_problem(text);
    case FORMAT_LABEL_VALUE:
        return label_value_problem(text, len);
    case FORMAT_PORT_NAME:
        return port_name_problem(text, len);
    case FORMAT_CONFIG_KEY:
        return config_key_problem(text, len);
    case FORMAT_ENV_NAME:
        return env_name_problem(text);
    case FORMAT_IP:
        return format_ip_family(text) ? NULL
                                      : "must be a valid IP address, (e.g. 10.9.8.7 or "
                                        "2001:db8::ffff)";
    case FORMAT_CIDR:
        return format_cidr_family(text) ? NULL
                                        : "must be a valid CIDR value, (e.g. 10.9.8.0/24 or "
                                          "2001:db8::/64)";
    case FORMAT_ABSOLUTE_PATH:
        return *text == '/' ? NULL : "must be an absolute path";
    case FORMAT_LOCAL_PATH:
        return local_path_problem(text);
    case FORMAT_PATH_SEGMENT:
        return path_segment_problem(text);
    case FORMAT_PERCENT_OR_COUNT:
        return percent_problem(text);
    }
    return NULL;
}

const char *format_name_prefix_problem(enum schema_format format, const char *text)
{
    size_t len = strlen(text);
    if (len < 2 || text[len - 1] != '-')
        return format_problem(format, text);
    _cleanup_free_ char *name = str_dup(text);
    name[len - 1] = 'a';
    return format_problem(format, name);
}
