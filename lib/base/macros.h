/* Small language helpers: cleanup attributes, ownership transfer, attributes. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_            __attribute__((unused))
#define _noreturn_          __attribute__((noreturn))
#define _warn_unused_       __attribute__((warn_unused_result))

/* Run @f on the address of the variable when it goes out of scope. */
#define _cleanup_(f)     __attribute__((cleanup(f)))
#define _cleanup_free_   _cleanup_(freep)
#define _cleanup_close_  _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

/* Defines static void NAMEp(TYPE **p), a cleanup function that calls @func on *p. */
#define DEFINE_CLEANUP(type, func)               \
    _unused_ static inline void func##p(type *p) \
    {                                            \
        (void)func(*p);                          \
    }                                            \
    struct func##_cleanup_needs_semicolon

/* Hand a pointer or descriptor on: the variable becomes NULL (-1), the value is returned. */
#define TAKE_PTR(ptr)                        \
    __extension__({                          \
        __typeof__(ptr) *take_pp_ = &(ptr);  \
        __typeof__(ptr) take_p_ = *take_pp_; \
        *take_pp_ = NULL;                    \
        take_p_;                             \
    })
#define TAKE_FD(fd)                \
    __extension__({                \
        int *take_fdp_ = &(fd);    \
        int take_fd_ = *take_fdp_; \
        *take_fdp_ = -1;           \
        take_fd_;                  \
    })

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void closep(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void fclosep(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}
