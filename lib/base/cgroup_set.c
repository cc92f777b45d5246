/*
 * Setting limits: what v1 and v2 have in common. A set of limits is applied file by file; each
 * file's old content is kept until all are written, and goes back when one is refused, so that a
 * failed change leaves the group as it was.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/cgroup_internal.h"
#include "base/fs.h"

static void undo(const struct cgroup_change *ch)
{
    for (size_t i = ch->n; i--;)
        (void)cgroup_file_write(ch->cgs, ch->undo[i].controller, ch->path, ch->undo[i].file,
                                ch->undo[i].old, NULL);
}

static void forget(struct cgroup_change *ch)
{
    for (size_t i = 0; i < ch->n; i++) {
        free(ch->undo[i].file);
        free(ch->undo[i].old);
    }
}

static void remember(struct cgroup_change *ch, enum cgroup_controller c, const char *file,
                     struct strbuf *old)
{
    if (ch->n == ARRAY_SIZE(ch->undo))
        return; /* more files than limits have: unified settings without end */
    strbuf_truncate(old, strcspn(strbuf_text(old), "\n"));
    ch->undo[ch->n++] = (struct cgroup_undo){c, str_dup(file), strbuf_take(old)};
}

int cgroup_put_text(struct cgroup_change *ch, enum cgroup_controller c, const char *file,
                    const char *text, struct error *err)
{
    if (!text || !*text)
        return 0;
    const char *reason;
    if (!cgroups_has(ch->cgs, c, &reason)) {
        cgroup_note(ch->notes, "%s: %s", file, reason);
        return 0;
    }
    _cleanup_strbuf_ struct strbuf old = STRBUF_INIT;
    int r = cgroup_file_read(ch->cgs, c, ch->path, file, &old, NULL);
    /* EOPNOTSUPP: v1's memory.memsw.* of a kernel that does not count swap. */
    if (r != -ENOENT && r != -EOPNOTSUPP)
        r = cgroup_file_write(ch->cgs, c, ch->path, file, text, NULL);
    if (r == -EOPNOTSUPP || (r == -ENOENT && cgroup_exists(ch->cgs, c, ch->path))) {
        cgroup_note(ch->notes, "%s: not in this kernel", file);
        return 0;
    }
    if (r < 0)
        return error_set_field(err, r, file, "%s \"%.200s\" of cgroup %s: %s", file, text, ch->path,
                               strerror(-r));
    remember(ch, c, file, &old);
    return 0;
}

int cgroup_put(struct cgroup_change *ch, enum cgroup_controller c, const char *file, int64_t value,
               struct error *err)
{
    char text[24] = "max";
    if (value == CGROUP_UNSET)
        return 0;
    bool says_max = ch->cgs->mode == CGROUP_V2 || c == CGROUP_PIDS;
    if (value != CGROUP_UNLIMITED || !says_max)
        (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    return cgroup_put_text(ch, c, file, text, err);
}

/* The kernel's names of page sizes: "64KB", "2MB", "1GB". */
static bool is_page_size(const char *s)
{
    size_t digits = strspn(s, "0123456789");
    return digits && digits < 8 && strchr("KMG", s[digits]) && s[digits] &&
           str_eq(s + digits + 1, "B");
}

static int put_hugetlb(struct cgroup_change *ch, const struct cgroup_hugetlb *h, struct error *err)
{
    const char *suffix = ch->cgs->mode == CGROUP_V2 ? "max" : "limit_in_bytes";
    if (!is_page_size(h->page_size))
        return error_set_field(err, -EINVAL, "hugetlb", "hugetlb: \"%.32s\" is no page size",
                               h->page_size);
    _cleanup_free_ char *file = str_printf("hugetlb.%s.%s", h->page_size, suffix);
    _cleanup_free_ char *reserved = str_printf("hugetlb.%s.rsvd.%s", h->page_size, suffix);
    _cleanup_free_ char *text = str_printf("%llu", (unsigned long long)h->limit);
    _cleanup_free_ char *dir = cgroup_dir(ch->cgs, CGROUP_HUGETLB, ch->path);
    _cleanup_free_ char *path = dir ? fs_join(dir, file) : NULL;
    if (cgroups_has(ch->cgs, CGROUP_HUGETLB, NULL) && !fs_exists(path))
        return h->limit
                   ? error_set_field(err, -EINVAL, file,
                                     "hugetlb: pages of %s cannot be limited here: the host has "
                                     "none, or the group's parent does not hand them down",
                                     h->page_size)
                   : 0;
    int r = cgroup_put_text(ch, CGROUP_HUGETLB, file, text, err);
    /* Reservations are what fails with ENOMEM instead of SIGBUS; Linux 5.7 and later. */
    struct strbuf *notes = ch->notes;
    ch->notes = NULL;
    if (r == 0)
        r = cgroup_put_text(ch, CGROUP_HUGETLB, reserved, text, err);
    ch->notes = notes;
    return r;
}

int cgroup_set(const struct cgroups *cgs, const char *path, const struct cgroup_limits *limits,
               struct strbuf *notes, struct error *err)
{
    struct cgroup_change ch = {.cgs = cgs, .path = path, .notes = notes};
    int r = cgs->ops->set(&ch, limits, err);
    for (size_t i = 0; r == 0 && i < limits->n_hugetlb; i++)
        r = put_hugetlb(&ch, &limits->hugetlb[i], err);
    if (r < 0)
        undo(&ch);
    forget(&ch);
    return r;
}

/*
 * Both scales are logarithmic in effect: the curve goes through the ends (2 ↔ 1, 262144 ↔ 10000)
 * and the defaults (1024 ↔ 100), as the current container runtimes have it: weight = ⌈10^((l² + 125
 * l) / 612 − 7/34)⌉ with l = log2(shares).
 */
uint64_t cgroup_shares_to_weight(uint64_t shares)
{
    if (shares <= 2)
        return 1;
    if (shares >= 262144)
        return 10000;
    double l = log2((double)shares);
    return (uint64_t)ceil(pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0));
}

uint64_t cgroup_weight_to_shares(uint64_t weight)
{
    if (weight <= 1)
        return 2;
    if (weight >= 10000)
        return 262144;
    double e = (log10((double)weight) + 7.0 / 34.0) * 612.0;
    double l = (-125 + sqrt(125 * 125 + 4 * e)) / 2;
    return (uint64_t)floor(pow(2, l));
}
