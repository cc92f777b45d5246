/*
 * resource.Quantity: exact decimal numbers with SI suffixes ("100m", "1.5Gi", "2e3"), parsed,
 * compared, added and written as upstream does. The finest unit is 10^-9, finer parts round up,
 * away from zero; magnitudes are capped at 2^63-1 (upstream keeps some larger ones, such as
 * "10E").
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum quantity_form { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };

struct quantity {
    int64_t whole; /* integral part */
    int32_t nano;  /* fraction in 10^-9, same sign as the value, |nano| < 10^9 */
    enum quantity_form form;
};

#define QUANTITY_TEXT_MAX 48

/* 0, or -EINVAL with upstream's text for what is not a quantity. */
int quantity_parse(const char *text, struct quantity *ret, struct error *err);
struct quantity quantity_from_int(int64_t value, enum quantity_form form);
struct quantity quantity_from_milli(int64_t milli, enum quantity_form form);
/* Canonical form ("1500m" for 1.5, "1Gi" for 1073741824 in binary form). @buf holds
 * QUANTITY_TEXT_MAX bytes; returned. */
char *quantity_format(const struct quantity *q, char *buf);
int quantity_compare(const struct quantity *a, const struct quantity *b); /* <0, 0, >0 */
int quantity_sign(const struct quantity *q);
/* *a += b, *a -= b; the form stays a's unless a is zero. Capped at the range. */
void quantity_add(struct quantity *a, const struct quantity *b);
void quantity_sub(struct quantity *a, const struct quantity *b);
/* Rounded up (away from zero), capped. */
int64_t quantity_value(const struct quantity *q);       /* bytes, counts */
int64_t quantity_milli_value(const struct quantity *q); /* millicores */
bool quantity_is_integer(const struct quantity *q);
/* Shortcuts for text that may be NULL or malformed: then @fallback. */
int64_t quantity_text_value(const char *text, int64_t fallback);
int64_t quantity_text_milli(const char *text, int64_t fallback);
