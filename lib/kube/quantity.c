/*
 * Quantities; see quantity.h. Parsing works on strings of decimal digits, so that any number of
 * digits and every suffix is exact before it is rounded to 10^-9: a binary suffix multiplies the
 * string by 1024 as often as needed, a decimal one moves the point.
 */
#include "kube/quantity.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define TEXT_MAX     256 /* longest text that is looked at */
#define DIGITS_MAX   (TEXT_MAX + 24)
#define NANO         1000000000
#define EXPONENT_MAX 1000 /* beyond, the value is capped or rounds to the smallest unit */

static const char *const DECIMAL_SUFFIXES[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
static const char *const BINARY_SUFFIXES[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

static int malformed(struct error *err)
{
    return error_set(err, -EINVAL,
                     "quantities must match the regular expression "
                     "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

struct digits {
    char d[DIGITS_MAX]; /* values 0…9, most significant first */
    size_t count;
    size_t point; /* how many are before the decimal point */
};

/* What a suffix means. */
struct scale {
    int exponent; /* of ten */
    int kilos;    /* of 1024 */
    enum quantity_form form;
};

static int parse_exponent(const char *text, struct scale *ret)
{
    char *end;
    if (text[0] != 'e' && text[0] != 'E')
        return -EINVAL;
    const char *number = text + 1 + (text[1] == '+' || text[1] == '-');
    if (*number < '0' || *number > '9')
        return -EINVAL;
    errno = 0;
    long v = strtol(text + 1, &end, 10);
    if (*end)
        return -EINVAL;
    if (v > EXPONENT_MAX || errno)
        v = text[1] == '-' ? -EXPONENT_MAX : EXPONENT_MAX;
    if (v < -EXPONENT_MAX)
        v = -EXPONENT_MAX;
    ret->exponent = (int)v;
    ret->form = QUANTITY_DECIMAL_EXPONENT;
    return 0;
}

static int parse_suffix(const char *text, struct scale *ret)
{
    *ret = (struct scale){.form = QUANTITY_DECIMAL_SI};
    for (size_t i = 0; i < ARRAY_SIZE(DECIMAL_SUFFIXES); i++)
        if (str_eq(text, DECIMAL_SUFFIXES[i])) {
            ret->exponent = ((int)i - 3) * 3;
            return 0;
        }
    for (size_t i = 1; i < ARRAY_SIZE(BINARY_SUFFIXES); i++)
        if (str_eq(text, BINARY_SUFFIXES[i])) {
            ret->kilos = (int)i;
            ret->form = QUANTITY_BINARY_SI;
            return 0;
        }
    return parse_exponent(text, ret);
}

/* Digits and at most one point; returns what follows. */
static const char *parse_digits(const char *text, struct digits *ret)
{
    bool point = false;
    ret->count = 0;
    for (;; text++) {
        if (*text == '.' && !point) {
            point = true;
            ret->point = ret->count;
        } else if (*text >= '0' && *text <= '9') {
            ret->d[ret->count++] = (char)(*text - '0');
        } else {
            break;
        }
    }
    if (!point)
        ret->point = ret->count;
    return text;
}

static void multiply_1024(struct digits *n)
{
    unsigned carry = 0;
    for (size_t i = n->count; i-- > 0;) {
        unsigned v = (unsigned)n->d[i] * 1024 + carry;
        n->d[i] = (char)(v % 10);
        carry = v / 10;
    }
    while (carry) {
        memmove(n->d + 1, n->d, n->count);
        n->d[0] = (char)(carry % 10);
        carry /= 10;
        n->count++;
        n->point++;
    }
}

/* The digit at position @i relative to the point (-1 is the last integral one). */
static unsigned digit_at(const struct digits *n, long point, long i)
{
    long index = point + i;
    return index >= 0 && (size_t)index < n->count ? (unsigned)n->d[index] : 0;
}

/* Rounds away from zero to 10^-9 and caps; both parts come out positive. */
static void to_parts(const struct digits *n, int exponent, struct quantity *q)
{
    long point = (long)n->point + exponent;
    uint64_t whole = 0;
    bool capped = false;
    for (long i = 0; i < point && !capped; i++) {
        capped = __builtin_mul_overflow(whole, 10u, &whole) ||
                 __builtin_add_overflow(whole, digit_at(n, 0, i), &whole) || whole > INT64_MAX;
    }
    uint32_t nano = 0;
    for (long i = 0; i < 9; i++)
        nano = nano * 10 + digit_at(n, point, i);
    bool rest = false;
    for (size_t i = 0; i < n->count && !rest; i++)
        rest = n->d[i] && (long)i >= point + 9;
    nano += rest;
    if (nano == NANO) {
        nano = 0;
        whole++;
    }
    if (capped || whole > INT64_MAX || (whole == INT64_MAX && nano)) {
        whole = INT64_MAX;
        nano = 0;
    }
    q->whole = (int64_t)whole;
    q->nano = (int32_t)nano;
}

int quantity_parse(const char *text, struct quantity *ret, struct error *err)
{
    if (!text || !*text || strlen(text) > TEXT_MAX)
        return malformed(err);
    bool negative = *text == '-';
    if (*text == '-' || *text == '+')
        text++;
    struct digits n;
    struct scale scale;
    const char *start = text;
    text = parse_digits(text, &n);
    if (text == start && *text)
        return malformed(err);
    if (text[strspn(text, "eEinumkKMGTP+-0123456789")])
        return malformed(err);
    if (parse_suffix(text, &scale) < 0)
        return error_set(err, -EINVAL, "unable to parse quantity's suffix");
    for (int i = 0; i < scale.kilos; i++)
        multiply_1024(&n);
    struct quantity q = {.form = scale.form};
    to_parts(&n, scale.exponent, &q);
    if (q.form == QUANTITY_BINARY_SI && q.whole == 0 && q.nano)
        q.form = QUANTITY_DECIMAL_SI;
    if (negative) {
        q.whole = -q.whole;
        q.nano = -q.nano;
    }
    *ret = q;
    return 0;
}

struct quantity quantity_from_int(int64_t value, enum quantity_form form)
{
    return (struct quantity){.whole = value == INT64_MIN ? -INT64_MAX : value, .form = form};
}

struct quantity quantity_from_milli(int64_t milli, enum quantity_form form)
{
    return (struct quantity){
        .whole = milli / 1000, .nano = (int32_t)(milli % 1000) * 1000000, .form = form};
}

static uint64_t magnitude(int64_t v)
{
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

static char *format_binary(const struct quantity *q, char *buf)
{
    uint64_t v = magnitude(q->whole);
    size_t suffix = 0;
    while (v % 1024 == 0 && suffix + 1 < ARRAY_SIZE(BINARY_SUFFIXES)) {
        v /= 1024;
        suffix++;
    }
    (void)snprintf(buf, QUANTITY_TEXT_MAX, "%s%llu%s", q->whole < 0 ? "-" : "",
                   (unsigned long long)v, BINARY_SUFFIXES[suffix]);
    return buf;
}

/* The digits without trailing zeros, then as many zeros as bring the exponent to a multiple of 3.
 */
static char *format_decimal(const struct quantity *q, char *buf)
{
    char digits[QUANTITY_TEXT_MAX];
    (void)snprintf(digits, sizeof(digits), "%llu%09u", (unsigned long long)magnitude(q->whole),
                   (unsigned)(q->nano < 0 ? -q->nano : q->nano));
    size_t len = strlen(digits);
    int exponent = -9;
    while (digits[len - 1] == '0') {
        len--;
        exponent++;
    }
    for (; exponent % 3; exponent--)
        digits[len++] = '0';
    digits[len] = '\0';
    char suffix[16];
    if (q->form == QUANTITY_DECIMAL_EXPONENT && exponent)
        (void)snprintf(suffix, sizeof(suffix), "e%d", exponent);
    else
        (void)snprintf(suffix, sizeof(suffix), "%s", DECIMAL_SUFFIXES[exponent / 3 + 3]);
    const char *first = digits + strspn(digits, "0");
    (void)snprintf(buf, QUANTITY_TEXT_MAX, "%s%.32s%s", quantity_sign(q) < 0 ? "-" : "", first,
                   suffix);
    return buf;
}

char *quantity_format(const struct quantity *q, char *buf)
{
    if (quantity_sign(q) == 0) {
        (void)snprintf(buf, QUANTITY_TEXT_MAX, "0");
        return buf;
    }
    if (q->form == QUANTITY_BINARY_SI && !q->nano && magnitude(q->whole) >= 1024)
        return format_binary(q, buf);
    return format_decimal(q, buf);
}

int quantity_compare(const struct quantity *a, const struct quantity *b)
{
    if (a->whole != b->whole)
        return a->whole < b->whole ? -1 : 1;
    return (a->nano > b->nano) - (a->nano < b->nano);
}

int quantity_sign(const struct quantity *q)
{
    if (q->whole)
        return q->whole < 0 ? -1 : 1;
    return (q->nano > 0) - (q->nano < 0);
}

static void cap(struct quantity *q, bool negative)
{
    q->whole = negative ? -INT64_MAX : INT64_MAX;
    q->nano = 0;
}

void quantity_add(struct quantity *a, const struct quantity *b)
{
    if (quantity_sign(a) == 0)
        a->form = b->form;
    int64_t whole;
    int32_t nano = a->nano + b->nano;
    int64_t carry = nano / NANO;
    nano %= NANO;
    if (__builtin_add_overflow(a->whole, b->whole, &whole) ||
        __builtin_add_overflow(whole, carry, &whole)) {
        cap(a, b->whole < 0);
        return;
    }
    /* The parts must have one sign. */
    if (whole > 0 && nano < 0) {
        whole--;
        nano += NANO;
    } else if (whole < 0 && nano > 0) {
        whole++;
        nano -= NANO;
    }
    a->whole = whole;
    a->nano = nano;
    if (whole == INT64_MIN || (magnitude(whole) == INT64_MAX && nano))
        cap(a, whole < 0);
}

void quantity_sub(struct quantity *a, const struct quantity *b)
{
    const struct quantity negated = {.whole = -b->whole, .nano = -b->nano, .form = b->form};
    quantity_add(a, &negated);
}

int64_t quantity_value(const struct quantity *q)
{
    return q->whole + (q->nano > 0) - (q->nano < 0);
}

int64_t quantity_milli_value(const struct quantity *q)
{
    int64_t milli;
    int32_t fraction = q->nano / 1000000;
    if (q->nano % 1000000)
        fraction += q->nano < 0 ? -1 : 1;
    if (__builtin_mul_overflow(q->whole, (int64_t)1000, &milli) ||
        __builtin_add_overflow(milli, (int64_t)fraction, &milli))
        return quantity_sign(q) < 0 ? -INT64_MAX : INT64_MAX;
    return milli;
}

bool quantity_is_integer(const struct quantity *q)
{
    return q->nano == 0;
}

int64_t quantity_text_value(const char *text, int64_t fallback)
{
    struct quantity q = {0};
    return quantity_parse(text, &q, NULL) < 0 ? fallback : quantity_value(&q);
}

int64_t quantity_text_milli(const char *text, int64_t fallback)
{
    struct quantity q = {0};
    return quantity_parse(text, &q, NULL) < 0 ? fallback : quantity_milli_value(&q);
}
