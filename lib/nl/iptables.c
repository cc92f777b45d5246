/* Reading iptables-save and removing what is ours; see iptables.h. */
#include "nl/iptables.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "nl/nft.h"

static const char *const nft_tables[] = {"filter", "nat", "mangle", "raw"};

/* ---- iptables-save ---- */

/* Calls @line for every line of @table (of all tables when NULL) until it returns true. */
static bool any_line(const char *saved, const char *table,
                     bool (*line)(const char *text, const void *arg), const void *arg)
{
    bool in = !table;
    for (const char *p = saved; *p;) {
        size_t len = strcspn(p, "\n");
        _cleanup_free_ char *text = str_ndup(p, len);
        if (text[0] == '*' && table)
            in = str_eq(text + 1, table);
        if (in && line(text, arg))
            return true;
        p += len + (p[len] == '\n');
    }
    return false;
}

static bool is_table(const char *text, const void *arg)
{
    return text[0] == '*' && str_eq(text + 1, arg);
}

static bool is_chain(const char *text, const void *arg)
{
    size_t len = strlen(arg);
    return text[0] == ':' && strncmp(text + 1, arg, len) == 0 && text[1 + len] == ' ';
}

static bool is_rule(const char *text, const void *arg)
{
    return str_starts(text, "-A ") && str_eq(text + 3, arg);
}

/* A rule, a chain that somebody made, or a policy that drops. */
static bool is_content(const char *text, _unused_ const void *arg)
{
    return str_starts(text, "-A ") || (text[0] == ':' && !strstr(text, " ACCEPT "));
}

bool iptables_saved_has_table(const char *saved, const char *table)
{
    return any_line(saved, NULL, is_table, table);
}

bool iptables_saved_has_chain(const char *saved, const char *table, const char *chain)
{
    return any_line(saved, table, is_chain, chain);
}

bool iptables_saved_has_rule(const char *saved, const char *table, const char *rule)
{
    return any_line(saved, table, is_rule, rule);
}

/* ---- tables that were not there before ---- */

static char *record_path(const char *journal, int family, const char *table)
{
    _cleanup_free_ char *name =
        str_printf("ip%stables-table-%s", family == AF_INET6 ? "6" : "", table);
    return fs_join(journal, name);
}

int iptables_journal_tables(const char *journal, int family, const char *saved,
                            const char *const *tables, struct error *err)
{
    for (; journal && *tables; tables++) {
        if (iptables_saved_has_table(saved, *tables))
            continue;
        _cleanup_free_ char *path = record_path(journal, family, *tables);
        int r = fs_mkdirs(journal, 0700, err);
        if (r == 0 && !fs_exists(path))
            r = fs_write_atomic(path, "", 0, 0600, FS_DURABLE, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int delete_nft_table(int family, const char *table, struct error *err)
{
    struct nft *nft = NULL;
    int r = nft_open(&nft, err);
    if (r < 0)
        return r;
    struct nft_batch *b = nft_batch_new(family, table);
    nft_delete_table(b);
    r = nft_commit(nft, b, err);
    (void)nft_batch_free(b);
    (void)nft_free(nft);
    return r;
}

static int delete_empty_tables(const char *journal, int family, const char *save, struct error *err)
{
    int first = 0;
    for (size_t i = 0; journal && i < ARRAY_SIZE(nft_tables); i++) {
        _cleanup_free_ char *path = record_path(journal, family, nft_tables[i]);
        _cleanup_strbuf_ struct strbuf saved = STRBUF_INIT;
        const char *const argv[] = {save, "-t", nft_tables[i], NULL};
        if (!fs_exists(path))
            continue;
        int r = process_call(argv, &saved, NULL);
        if (r == 0 && iptables_saved_has_table(strbuf_text(&saved), nft_tables[i]) &&
            !any_line(strbuf_text(&saved), nft_tables[i], is_content, NULL))
            r = delete_nft_table(family, nft_tables[i], first ? NULL : err);
        if (r < 0 && r != -ENOENT && !first)
            first = r;
    }
    return first;
}

/* ---- removing chains ---- */

struct removal {
    bool (*is_ours)(const char *chain);
    struct strbuf flush, rules, drop, out;
    bool any;
};

static bool jumps_to_ours(const struct removal *r, const char *rule)
{
    const char *target = strstr(rule, " -j ");
    _cleanup_free_ char *chain = target ? str_dup(target + strlen(" -j ")) : NULL;
    if (!chain)
        return false;
    chain[strcspn(chain, " ")] = '\0';
    return r->is_ours(chain);
}

static void take_line(struct removal *r, char *text)
{
    if (text[0] == '*') {
        strbuf_addf(&r->out, "%s\n", text);
    } else if (text[0] == ':') {
        text[strcspn(text, " ")] = '\0';
        if (r->is_ours(text + 1)) {
            strbuf_addf(&r->flush, ":%s - [0:0]\n", text + 1);
            strbuf_addf(&r->drop, "-X %s\n", text + 1);
            r->any = true;
        }
    } else if (str_starts(text, "-A ")) {
        _cleanup_free_ char *chain = str_ndup(text + 3, strcspn(text + 3, " "));
        if (!r->is_ours(chain) && jumps_to_ours(r, text)) {
            strbuf_addf(&r->rules, "-D %s\n", text + 3);
            r->any = true;
        }
    } else if (str_eq(text, "COMMIT")) {
        strbuf_add(&r->out, r->flush.data, r->flush.len);
        strbuf_add(&r->out, r->rules.data, r->rules.len);
        strbuf_add(&r->out, r->drop.data, r->drop.len);
        strbuf_adds(&r->out, "COMMIT\n");
        strbuf_truncate(&r->flush, 0);
        strbuf_truncate(&r->rules, 0);
        strbuf_truncate(&r->drop, 0);
    }
}

static bool on_line(const char *text, const void *arg)
{
    _cleanup_free_ char *copy = str_dup(text);
    take_line((struct removal *)(uintptr_t)arg, copy);
    return false;
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

static int remove_flavour(const char *save, const char *program, bool (*is_ours)(const char *chain),
                          struct error *err)
{
    _cleanup_strbuf_ struct strbuf saved = STRBUF_INIT;
    struct removal removal = {.is_ours = is_ours};
    const char *const argv[] = {save, NULL};
    int r = process_call(argv, &saved, NULL);
    if (r == -ENOENT)
        return 0;
    if (r == 0) {
        (void)any_line(strbuf_text(&saved), NULL, on_line, &removal);
        if (removal.any)
            r = restore(program, &removal.out, err);
    } else {
        r = error_set(err, r < 0 ? r : -EIO, "%s failed (%d)", save, r);
    }
    strbuf_done(&removal.flush);
    strbuf_done(&removal.rules);
    strbuf_done(&removal.drop);
    strbuf_done(&removal.out);
    return r;
}

/* A kernel without nf_tables has nothing of the nft flavour, whose programs fail there. */
static bool kernel_has_nf_tables(void)
{
    struct nft *nft = NULL;
    char comment[NFT_COMMENT_MAX];
    int r = nft_open(&nft, NULL);
    if (r == 0)
        r = nft_find_table(nft, AF_INET, "filter", comment, NULL);
    (void)nft_free(nft);
    return r != -EPROTONOSUPPORT && r != -EOPNOTSUPP && r != -EINVAL;
}

int iptables_remove_chains(const char *journal, bool (*is_ours)(const char *chain),
                           struct error *err)
{
    static const struct {
        int family;
        const char *nft_save, *nft_restore, *legacy_save, *legacy_restore;
    } programs[] = {{AF_INET, "iptables-nft-save", "iptables-nft-restore", "iptables-legacy-save",
                     "iptables-legacy-restore"},
                    {AF_INET6, "ip6tables-nft-save", "ip6tables-nft-restore",
                     "ip6tables-legacy-save", "ip6tables-legacy-restore"}};
    int first = 0;
    bool has_nft = kernel_has_nf_tables();
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        if (programs[i].family == AF_INET6 && !fs_exists("/proc/net/if_inet6"))
            continue; /* a kernel without IPv6 */
        int r = remove_flavour(programs[i].legacy_save, programs[i].legacy_restore, is_ours,
                               first ? NULL : err);
        first = first ? first : r;
        if (!has_nft)
            continue;
        r = remove_flavour(programs[i].nft_save, programs[i].nft_restore, is_ours,
                           first ? NULL : err);
        first = first ? first : r;
        r = delete_empty_tables(journal, programs[i].family, programs[i].nft_save,
                                first ? NULL : err);
        first = first ? first : r;
    }
    return first;
}
