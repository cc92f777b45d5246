/*
 * Who the process is: numbers from the container's own /etc/passwd and /etc/group, files that the
 * image's author wrote and the container may have changed since. They are read once, bounded, and
 * lines that make no sense are passed over.
 */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

#define DATABASE_MAX (4U << 20)

static bool to_id(const char *text, size_t len, uint32_t *ret)
{
    uint64_t v = 0;
    if (len == 0 || len > 10)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *ret = (uint32_t)v;
    return v < UINT32_MAX; /* the last number means "leave" */
}

#define FIELDS 7
struct line {
    const char *at[FIELDS];
    size_t len[FIELDS];
    size_t n;
};

/* Splits the next line at its colons; false at the end. */
static bool next_line(const char **at, struct line *ret)
{
    if (!**at)
        return false;
    const char *p = *at;
    size_t len = strcspn(p, "\n");
    *at = p + len + (p[len] == '\n');
    const char *end = p + len;
    ret->n = 0;
    while (ret->n < FIELDS) {
        const char *colon = memchr(p, ':', (size_t)(end - p));
        ret->at[ret->n] = p;
        ret->len[ret->n++] = (size_t)((colon ? colon : end) - p);
        if (!colon)
            break;
        p = colon + 1;
    }
    return true;
}

static bool field_is(const struct line *l, size_t i, const char *text, size_t len)
{
    return l->n > i && l->len[i] == len && memcmp(l->at[i], text, len) == 0;
}

/* The line whose name, or else whose number (field 2), is this. */
static bool find(const char *database, const char *key, size_t key_len, size_t fields,
                 struct line *ret)
{
    uint32_t id = 0, other = 0;
    bool numeric = to_id(key, key_len, &id);
    for (int by_number = 0; by_number < (numeric ? 2 : 1); by_number++) {
        const char *at = database;
        while (next_line(&at, ret)) {
            if (ret->n < fields || ret->len[0] == 0)
                continue;
            if (by_number ? to_id(ret->at[2], ret->len[2], &other) && other == id
                          : field_is(ret, 0, key, key_len))
                return true;
        }
    }
    return false;
}

static void add_group(struct launch_job *job, gid_t gid)
{
    for (size_t i = 0; i < job->n_groups; i++)
        if (job->groups[i] == gid)
            return;
    if (job->n_groups >= LAUNCH_GROUPS_MAX)
        return;
    job->groups = mem_grow(job->groups, job->n_groups + 1, sizeof(gid_t));
    job->groups[job->n_groups++] = gid;
}

static bool in_list(const char *list, size_t len, const char *name, size_t name_len)
{
    const char *end = list + len;
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        size_t n = (size_t)((comma ? comma : end) - list);
        if (n == name_len && memcmp(list, name, n) == 0)
            return true;
        list += n + 1;
    }
    return false;
}

static void add_memberships(struct launch_job *job, const char *database, const char *name,
                            size_t name_len)
{
    struct line l;
    const char *at = database;
    while (next_line(&at, &l)) {
        uint32_t gid;
        if (l.n >= 4 && to_id(l.at[2], l.len[2], &gid) &&
            in_list(l.at[3], l.len[3], name, name_len))
            add_group(job, gid);
    }
}

static int resolve_group(struct launch_job *job, const char *group, const char *groups,
                         struct error *err)
{
    struct line l;
    uint32_t gid;
    size_t len = strlen(group);
    if (find(groups, group, len, 3, &l) && to_id(l.at[2], l.len[2], &gid)) {
        job->gid = gid;
    } else if (to_id(group, len, &gid)) {
        job->gid = gid;
    } else {
        job->exit_code = 126;
        return error_set(err, -EINVAL, "group \"%.100s\" is not in the image's /etc/group", group);
    }
    return 0;
}

int user_lookup(struct launch_job *job, const char *passwd, const char *groups, struct error *err)
{
    const struct launch_process *p = &job->spec.process;
    char number[24];
    const char *user = p->user;
    size_t len = strcspn(user, ":");
    const char *named = user[len] && user[len + 1] ? user + len + 1 : NULL;
    if (p->uid != LAUNCH_ID_UNSET) {
        (void)snprintf(number, sizeof(number), "%lld", (long long)p->uid);
        job->uid = (uid_t)p->uid;
        user = number;
        len = strlen(number);
    } else if (len == 0) {
        user = "0";
        len = 1;
    }
    struct line l;
    uint32_t id = 0;
    if (find(passwd, user, len, 4, &l)) {
        uint32_t uid = 0;
        if (!to_id(l.at[2], l.len[2], &uid) || !to_id(l.at[3], l.len[3], &id))
            return error_set(err, -EINVAL, "user \"%.*s\": bad line in the image's /etc/passwd",
                             (int)len, user);
        if (p->uid == LAUNCH_ID_UNSET)
            job->uid = uid;
        job->gid = id;
        if (l.n > 5 && l.len[5] > 0 && l.len[5] < LAUNCH_PATH_MAX)
            job->home = str_ndup(l.at[5], l.len[5]);
        if (!p->strict_groups)
            add_memberships(job, groups, l.at[0], l.len[0]);
    } else if (to_id(user, len, &id)) {
        job->uid = id;
        job->gid = 0;
    } else {
        job->exit_code = 126;
        return error_set(err, -EINVAL, "user \"%.*s\" is not in the image's /etc/passwd",
                         len > 100 ? 100 : (int)len, user);
    }
    for (size_t i = 0; i < p->n_groups; i++)
        add_group(job, p->groups[i]);
    int r = 0;
    if (p->gid != LAUNCH_ID_UNSET)
        job->gid = (gid_t)p->gid;
    else if (p->uid == LAUNCH_ID_UNSET && named)
        r = resolve_group(job, named, groups, err);
    /* Among the supplementary ones too: a process that changes its group stays a member, so that
     * what a file's mode refuses to that group stays refused (CVE-2022-2989). */
    if (r == 0)
        add_group(job, job->gid);
    return r;
}

int user_resolve(struct launch_job *job, struct error *err)
{
    _cleanup_strbuf_ struct strbuf passwd = STRBUF_INIT, group = STRBUF_INIT;
    /* Images without these files are common: everybody is a number there. */
    (void)fs_read("/etc/passwd", DATABASE_MAX, &passwd, NULL);
    (void)fs_read("/etc/group", DATABASE_MAX, &group, NULL);
    return user_lookup(job, strbuf_text(&passwd), strbuf_text(&group), err);
}
