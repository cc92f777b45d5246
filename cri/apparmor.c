/* The kernel's AppArmor; see apparmor.h. */
#include "cri/apparmor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"

#define FIELD         "linux.security_context.apparmor"
#define REF           FIELD ".localhost_ref"
#define NAME_MAX_LEN  255
#define PROFILES_MAX  (4U << 20) /* of the list of loaded profiles */
#define PARSER_MS     30000
#define PARSER_OUTPUT 4096
#define LIST          "kernel/security/apparmor/profiles"
#define REMOVE        "kernel/security/apparmor/.remove"

struct apparmor {
    struct loop *loop;
    char *sys;
    char *name;    /* the default profile's */
    bool enabled;  /* the kernel has AppArmor and uses it */
    char *problem; /* why there is no default profile; NULL: there is */
    struct process_run *parser;
    void (*done)(void *arg);
    void *arg;
};

static char *default_name(const char *root)
{
    char hex[SHA256_HEX_LEN + 1];
    if (!root || !*root)
        return str_dup("coracle-default");
    sha256_hex(root, strlen(root), hex);
    return str_printf("coracle-default-%.12s", hex);
}

struct apparmor *apparmor_new(struct loop *loop, const char *root, const char *sys)
{
    struct apparmor *a = mem_zalloc(sizeof(*a));
    _cleanup_free_ char *path = fs_join(sys, "module/apparmor/parameters/enabled");
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    *a = (struct apparmor){.loop = loop, .sys = str_dup(sys), .name = default_name(root)};
    a->enabled = fs_read(path, 16, &text, NULL) == 0 && strbuf_text(&text)[0] == 'Y';
    return a;
}

struct apparmor *apparmor_free(struct apparmor *a)
{
    if (!a)
        return NULL;
    process_run_cancel(a->parser);
    free(a->sys);
    free(a->name);
    free(a->problem);
    free(a);
    return NULL;
}

static void loaded(struct apparmor *a, const char *problem)
{
    void (*done)(void *arg) = a->done;
    free(a->problem);
    a->problem = problem ? str_dup(problem) : NULL;
    a->done = NULL;
    if (problem)
        log_warn("no default AppArmor profile", "profile", a->name, "reason", problem, NULL);
    if (done)
        done(a->arg);
}

static void on_parsed(const struct process_result *result, void *arg)
{
    struct apparmor *a = arg;
    struct error err = ERROR_INIT;
    a->parser = NULL;
    loaded(a, process_result_error(result, "apparmor_parser", &err) < 0 ? error_text(&err) : NULL);
}

/* 0: it runs. */
static int start_parser(struct apparmor *a, struct error *err)
{
    static const char *const argv[] = {"apparmor_parser", "--replace", "--skip-cache", NULL};
    _cleanup_free_ char *text = apparmor_default_text(a->name);
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    return process_run(a->loop, &spec, text, strlen(text), PARSER_OUTPUT, PARSER_MS, on_parsed, a,
                       &a->parser, err);
}

bool apparmor_load(struct apparmor *a, void (*done)(void *arg), void *arg)
{
    struct error err = ERROR_INIT;
    if (!a->enabled || a->parser)
        return false;
    if (start_parser(a, &err) < 0) {
        loaded(a, error_text(&err));
        return false;
    }
    a->done = done;
    a->arg = arg;
    return true;
}

/* Whether "NAME (mode)" is a line of the kernel's list; -errno when that cannot be read. */
static int is_loaded(const struct apparmor *a, const char *name)
{
    _cleanup_free_ char *path = fs_join(a->sys, LIST);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, PROFILES_MAX, &text, NULL);
    size_t len = strlen(name);
    if (r < 0)
        return r;
    for (const char *p = strbuf_text(&text); *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (strncmp(p, name, len) == 0 && p[len] == ' ' && p[len + 1] == '(')
            return 1;
    return 0;
}

/* One that is loaded is good, also when this daemon could not load it again. */
static int default_profile(struct apparmor *a, bool asked, const char **ret, struct error *err)
{
    bool there = is_loaded(a, a->name) != 0;
    *ret = there ? a->name : NULL;
    if (there)
        return 0;
    if (a->problem)
        return asked
                   ? error_set_field(err, -ENOTSUP, FIELD,
                                     FIELD ": there is no default AppArmor profile: %s", a->problem)
                   : 0;
    (void)apparmor_load(a, NULL, NULL);
    return error_set_field(err, -EAGAIN, FIELD,
                           FIELD
                           ": somebody removed the AppArmor profile %s from the kernel; it is "
                           "being loaded again",
                           a->name);
}

static int named_profile(struct apparmor *a, const char *name, const char **ret, struct error *err)
{
    if (str_starts(name, "localhost/"))
        name += strlen("localhost/");
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_LEN || strpbrk(name, "\n\r"))
        return error_set_field(err, -EINVAL, REF, REF ": \"%.60s\" is no name of a profile", name);
    if (is_loaded(a, name) == 0)
        return error_set_field(err, -ENOENT, REF, REF ": AppArmor profile \"%s\" is not loaded",
                               name);
    *ret = name;
    return 0;
}

/* What is asked for, also in the field that kubelets before 1.30 filled. *given: anything. @p:
 * initialised. */
static int requested(const Runtime__V1__LinuxContainerSecurityContext *sc, bool *given,
                     Runtime__V1__SecurityProfile *p, struct error *err)
{
    const char *old = sc->apparmor_profile;
    *given = sc->apparmor || (old && *old);
    if (sc->apparmor)
        *p = *sc->apparmor;
    else if (*given && str_eq(old, "unconfined"))
        p->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
    else if (*given && str_starts(old, "localhost/")) {
        p->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        p->localhost_ref = sc->apparmor_profile;
    } else if (*given && !str_eq(old, "runtime/default"))
        return error_set_field(err, -EINVAL, "linux.security_context.apparmor_profile",
                               "linux.security_context.apparmor_profile: \"%s\" is no profile",
                               old);
    if (p->profile_type != RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost &&
        p->localhost_ref && *p->localhost_ref)
        return error_set_field(err, -EINVAL, REF, REF ": only for the type Localhost");
    return 0;
}

int apparmor_profile(struct apparmor *a, const Runtime__V1__LinuxContainerSecurityContext *sc,
                     const char **ret, struct error *err)
{
    Runtime__V1__SecurityProfile p = RUNTIME__V1__SECURITY_PROFILE__INIT;
    bool given;
    *ret = NULL;
    int r = requested(sc, &given, &p, err);
    if (r < 0 || p.profile_type == RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined)
        return r;
    if (!a || !a->enabled)
        return given ? error_set_field(err, -ENOTSUP, FIELD,
                                       FIELD
                                       ": a profile was asked for, and this kernel has no AppArmor")
                     : 0;
    switch (p.profile_type) {
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault:
        return sc->privileged ? 0 : default_profile(a, given, ret, err);
    case RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost:
        return named_profile(a, p.localhost_ref, ret, err);
    default:
        return error_set_field(err, -EINVAL, FIELD ".profile_type",
                               FIELD ".profile_type: no such type");
    }
}

int apparmor_unload(const char *root, const char *sys, struct error *err)
{
    _cleanup_free_ char *name = default_name(root);
    _cleanup_free_ char *path = fs_join(sys, REMOVE);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; /* no AppArmor */
    if (fd < 0)
        return error_errno(err, -errno, "%s", path);
    if (write(fd, name, strlen(name)) < 0 && errno != ENOENT)
        return error_errno(err, -errno, "remove the AppArmor profile %s", name);
    return 0;
}
