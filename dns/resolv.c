/* The host's resolvers; see resolv.h. */
#include "dns/resolv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/dirwatch.h"
#include "base/fs.h"
#include "base/log.h"

#define FILE_MAX (64 * 1024)
#define BLANKS   " \t\r"

struct resolv {
    struct loop *loop;
    char *path;
    /* The directory of the path, and that of the file which a link leads to. */
    struct dirwatch *here, *target;
    char *target_dir; /* NULL: as the first */
    void (*changed)(void *arg, const struct ip_addr *servers, size_t n);
    void *arg;
};

void resolv_parse(const char *text, struct ip_addr ret[RESOLV_SERVERS_MAX], size_t *ret_n)
{
    static const char keyword[] = "nameserver";
    *ret_n = 0;
    for (const char *line = text; *line && *ret_n < RESOLV_SERVERS_MAX;) {
        size_t len = strcspn(line, "\n"), skip = strlen(keyword);
        if (len > skip && !strncmp(line, keyword, skip) && strchr(BLANKS, line[skip])) {
            char word[IP_TEXT_MAX];
            skip += strspn(line + skip, BLANKS);
            size_t n = strcspn(line + skip, BLANKS "\n");
            (void)snprintf(word, sizeof(word), "%.*s", (int)n, line + skip);
            if (n < sizeof(word) && ip_addr_parse(word, &ret[*ret_n]) == 0)
                ++*ret_n;
        }
        line += len + (line[len] == '\n');
    }
}

static void on_changed(void *arg);

static char *directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return str_dup(".");
    return slash == path ? str_dup("/") : str_ndup(path, (size_t)(slash - path));
}

/* Follows where the path leads to now. */
static int watch_target(struct resolv *r, struct error *err)
{
    char real[PATH_MAX];
    _cleanup_free_ char *here = directory(r->path);
    _cleanup_free_ char *dir = realpath(r->path, real) ? directory(real) : NULL;
    if (dir && str_eq(dir, here)) {
        free(dir);
        dir = NULL;
    }
    if (!str_eq(dir, r->target_dir)) {
        r->target = dirwatch_free(r->target);
        free(r->target_dir);
        r->target_dir = TAKE_PTR(dir);
        if (r->target_dir)
            r->target = dirwatch_new(r->loop, r->target_dir, on_changed, r, err);
        if (r->target_dir && !r->target)
            return err->code;
    }
    return 0;
}

static void tell(struct resolv *r)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct error err = ERROR_INIT;
    struct ip_addr servers[RESOLV_SERVERS_MAX];
    size_t n;
    if (fs_read(r->path, FILE_MAX, &text, &err) < 0) {
        log_warn("the host's resolvers are not known", "error", err.text, NULL);
        strbuf_truncate(&text, 0);
    }
    resolv_parse(strbuf_text(&text), servers, &n);
    r->changed(r->arg, servers, n);
}

static void on_changed(void *arg)
{
    struct resolv *r = arg;
    struct error err = ERROR_INIT;
    if (watch_target(r, &err) < 0)
        log_warn("changes of the host's resolvers are not seen", "file", r->path, "error", err.text,
                 NULL);
    tell(r);
}

int resolv_new(struct resolv **ret, struct loop *loop, const char *path,
               void (*changed)(void *arg, const struct ip_addr *servers, size_t n), void *arg,
               struct error *err)
{
    struct error local = ERROR_INIT;
    struct resolv *r = mem_zalloc(sizeof(*r));
    _cleanup_free_ char *dir = directory(path);
    *r = (struct resolv){.loop = loop, .path = str_dup(path), .changed = changed, .arg = arg};
    r->here = dirwatch_new(loop, dir, on_changed, r, &local);
    if (!r->here || watch_target(r, &local) < 0) {
        (void)resolv_free(r);
        return error_set(err, local.code, "%s: %s", path, local.text);
    }
    tell(r);
    *ret = r;
    return 0;
}

struct resolv *resolv_free(struct resolv *r)
{
    if (r) {
        (void)dirwatch_free(r->here);
        (void)dirwatch_free(r->target);
        free(r->target_dir);
        free(r->path);
        free(r);
    }
    return NULL;
}
