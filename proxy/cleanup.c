/* Removing every chain and jump of ours, in both flavours of iptables; see iptables.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "proxy/iptables.h"

/* Whether a saved rule jumps to a chain of ours. */
static bool jumps_to_ours(const char *line)
{
    const char *target = strstr(line, " -j ");
    _cleanup_free_ char *chain = target ? str_dup(target + strlen(" -j ")) : NULL;
    if (!chain)
        return false;
    chain[strcspn(chain, " \n")] = '\0';
    return rules_is_ours(chain);
}

/* From iptables-save's output to what removes ours. Returns whether there is anything. */
static bool make_removal(const char *saved, struct strbuf *out)
{
    struct strbuf flush = STRBUF_INIT, rules = STRBUF_INIT, drop = STRBUF_INIT;
    bool any = false;
    for (const char *line = saved; *line;) {
        size_t len = strcspn(line, "\n");
        _cleanup_free_ char *l = str_ndup(line, len);
        if (l[0] == '*') {
            strbuf_addf(out, "%s\n", l);
        } else if (l[0] == ':') {
            l[strcspn(l, " ")] = '\0';
            if (rules_is_ours(l + 1)) {
                strbuf_addf(&flush, ":%s - [0:0]\n", l + 1);
                strbuf_addf(&drop, "-X %s\n", l + 1);
                any = true;
            }
        } else if (str_starts(l, "-A ")) {
            size_t chain = strcspn(l + 3, " ");
            _cleanup_free_ char *name = str_ndup(l + 3, chain);
            if (!rules_is_ours(name) && jumps_to_ours(l)) {
                strbuf_addf(&rules, "-D %s\n", l + 3);
                any = true;
            }
        } else if (str_eq(l, "COMMIT")) {
            strbuf_add(out, flush.data, flush.len);
            strbuf_add(out, rules.data, rules.len);
            strbuf_add(out, drop.data, drop.len);
            strbuf_adds(out, "COMMIT\n");
            strbuf_truncate(&flush, 0);
            strbuf_truncate(&rules, 0);
            strbuf_truncate(&drop, 0);
        }
        line += len + (line[len] == '\n');
    }
    strbuf_done(&flush);
    strbuf_done(&rules);
    strbuf_done(&drop);
    return any;
}

static int restore(const char *program, const struct strbuf *text, struct error *err)
{
    char path[] = "/tmp/coracle-cleanup-XXXXXX";
    _cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "%s", path);
    int r = write(fd, text->data, text->len) == (ssize_t)text->len ? 0 : -EIO;
    const char *const argv[] = {program, "--noflush", "--wait", "5", path, NULL};
    int status = r == 0 ? process_call(argv, NULL, err) : r;
    (void)unlink(path);
    return status > 0 ? error_set(err, -EIO, "%s: exit status %d", program, status) : status;
}

int iptables_cleanup(struct error *err)
{
    static const struct {
        const char *save, *restore;
    } flavours[] = {{"iptables-nft-save", "iptables-nft-restore"},
                    {"iptables-legacy-save", "iptables-legacy-restore"}};
    int first = 0;
    for (size_t i = 0; i < ARRAY_SIZE(flavours); i++) {
        _cleanup_strbuf_ struct strbuf saved = STRBUF_INIT;
        _cleanup_strbuf_ struct strbuf removal = STRBUF_INIT;
        const char *const argv[] = {flavours[i].save, NULL};
        int r = process_call(argv, &saved, NULL);
        if (r == -ENOENT)
            continue;
        if (r == 0 && make_removal(strbuf_text(&saved), &removal))
            r = restore(flavours[i].restore, &removal, first ? NULL : err);
        else if (r > 0)
            r = error_set(first ? NULL : err, -EIO, "%s: exit status %d", flavours[i].save, r);
        if (r < 0 && !first)
            first = r;
    }
    return first;
}
