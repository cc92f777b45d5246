/* Both ends of the shim's protocol, and the launch specification, as bytes. */
#include "lib/test.h"

#include <errno.h>

#include "base/tlv.h"
#include "cri/launch/launch.h"
#include "cri/launch_wire.h"
#include "cri/shim/shim.h"

static void requests(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct request req;
    tlv_put_u64(&b, SHIM_TYPE, SHIM_EXEC);
    tlv_put_u64(&b, SHIM_REQUEST, 77);
    tlv_put_string(&b, SHIM_CONTAINER, "c1");
    tlv_put_string(&b, SHIM_EXEC_ID, "e1");
    tlv_put_u64(&b, SHIM_FDS, 5); /* stdin and stderr */
    tlv_put_string(&b, 999, "of a later release");
    assert_int_equal(request_decode(b.data, b.len, &req), 0);
    assert_int_equal(req.type, SHIM_EXEC);
    assert_int_equal(req.id, 77);
    assert_string_equal(req.container, "c1");
    assert_string_equal(req.exec_id, "e1");
    assert_int_equal(request_check_fds(&req), -EBADMSG);
    req.n_fds = 3;
    req.fds[0] = 10;
    req.fds[1] = 11;
    req.fds[2] = 12;
    assert_int_equal(request_check_fds(&req), 0);
    int fds[3];
    request_streams(&req, 1, fds);
    assert_int_equal(fds[0], 11);
    assert_int_equal(fds[1], -1);
    assert_int_equal(fds[2], 12);
}

static void bad_requests(_unused_ void **state)
{
    static const struct {
        uint16_t tag;
        uint64_t value;
    } bad[] = {{SHIM_SIGNAL, 65},     {SHIM_ALL, 2},      {SHIM_FDS, 8},
               {SHIM_COLUMNS, 65536}, {SHIM_PID_MODE, 4}, {SHIM_REQUEST, 1ULL << 32}};
    struct request req;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        tlv_put_u64(&b, SHIM_TYPE, SHIM_KILL);
        tlv_put_u64(&b, bad[i].tag, bad[i].value);
        assert_int_equal(request_decode(b.data, b.len, &req), -EBADMSG);
    }
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    tlv_put_u64(&b, SHIM_TYPE, SHIM_HELLO); /* is no request */
    assert_int_equal(request_decode(b.data, b.len, &req), -EBADMSG);
    strbuf_truncate(&b, 0);
    tlv_put_u64(&b, SHIM_TYPE, SHIM_START);
    tlv_put(&b, SHIM_CONTAINER, "open", 4);
    assert_int_equal(request_decode(b.data, b.len, &req), -EBADMSG);
}

static void setup(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct shim_setup s;
    tlv_put_string(&b, SETUP_LIBEXEC, "/libexec");
    tlv_put_u64(&b, SETUP_NAMESPACES, 7);
    tlv_put_string(&b, SETUP_SYSCTL, "net/ipv4/x=1");
    assert_int_equal(setup_decode(b.data, b.len, &s), 0);
    assert_string_equal(s.libexec, "/libexec");
    assert_int_equal(s.n_sysctls, 1);
    size_t good = b.len;
    tlv_put_u64(&b, SETUP_NAMESPACES, 8);
    assert_int_equal(setup_decode(b.data, b.len, &s), -EBADMSG);
    strbuf_truncate(&b, good);
    tlv_put_u64(&b, SETUP_UID_HOST, 65536);
    tlv_put_u64(&b, SETUP_UID_LENGTH, 65536);
    assert_int_equal(setup_decode(b.data, b.len, &s), -EBADMSG); /* users without groups */
    tlv_put_u64(&b, SETUP_GID_HOST, 0);
    tlv_put_u64(&b, SETUP_GID_LENGTH, 65536);
    assert_int_equal(setup_decode(b.data, b.len, &s), -EBADMSG); /* the host's own */
    tlv_put_u64(&b, SETUP_GID_HOST, 131072);
    assert_int_equal(setup_decode(b.data, b.len, &s), 0);
    assert_true(s.uids.host == 65536 && s.gids.host == 131072 && s.gids.length == 65536);
    tlv_put_u64(&b, SETUP_GID_HOST, UINT32_MAX - 65535);
    assert_int_equal(setup_decode(b.data, b.len, &s), -EBADMSG); /* past the end */
}

static const struct launch_spec *full_spec(void)
{
    static const char *const argv[] = {"sh", "-c", "true", NULL}, *const env[] = {"A=b", NULL},
                             *const lower[] = {"/l1", "/l2", NULL}, *const masked[] = {"/m", NULL};
    static const struct launch_mount mounts[] = {
        {.source = "/s", .target = "/t", .propagation = LAUNCH_SLAVE, .readonly = true},
        {.source = "/s2", .target = "/t2", .recursive_readonly = true, .idmapped = true},
        {.layers = lower, .sub_path = "a/b", .target = "/image", .readonly = true}};
    static const struct launch_device devices[] = {{"/dev/x", 'c', 10, 200, 0600, 1, 2}};
    static const struct launch_rlimit limits[] = {{7, 100, 200}};
    static const gid_t groups[] = {5, 6};
    static const uint64_t filter[2];
    static const struct launch_spec spec = {
        .process = {.argv = argv,
                    .env = env,
                    .cwd = "/w",
                    .user = "web",
                    .uid = 33,
                    .gid = LAUNCH_ID_UNSET,
                    .groups = groups,
                    .n_groups = 2,
                    .cap_bounding = 0xfULL << 36,
                    .no_new_privs = true,
                    .seccomp = filter,
                    .seccomp_len = sizeof(filter),
                    .rlimits = limits,
                    .n_rlimits = 1,
                    .oom_score_adj = -997,
                    .tty = true,
                    .tty_columns = 80,
                    .tty_rows = 24},
        .lowerdirs = lower,
        .upperdir = "/u",
        .workdir = "/wk",
        .rootfs_readonly = true,
        .pid_mode = LAUNCH_PID_POD,
        .userns = true,
        .userns_uid = 100000,
        .userns_gid = 200000,
        .shm_path = "/shm",
        .mounts = mounts,
        .n_mounts = 3,
        .devices = devices,
        .n_devices = 1,
        .masked_paths = masked,
    };
    return &spec;
}

static void spec_round_trip(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct error err = ERROR_INIT;
    struct launch_job job;
    assert_int_equal(launch_spec_encode(full_spec(), NULL, &b, &err), 0);
    assert_int_equal(launch_decode(b.data, b.len, &job, &err), 0);
    const struct launch_spec *s = &job.spec;
    const struct launch_process *p = &s->process;
    assert_string_equal(p->argv[2], "true");
    assert_null(p->argv[3]);
    assert_string_equal(p->env[0], "A=b");
    assert_string_equal(p->cwd, "/w");
    assert_true(p->uid == 33 && p->gid == LAUNCH_ID_UNSET && p->n_groups == 2 && p->groups[1] == 6);
    assert_true(p->cap_bounding == 0xfULL << 36 && p->no_new_privs && p->tty);
    assert_true(p->seccomp_len == 16 && p->oom_score_adj == -997 && p->tty_rows == 24);
    assert_true(p->n_rlimits == 1 && p->rlimits[0].hard == 200);
    assert_string_equal(s->lowerdirs[1], "/l2");
    assert_true(s->rootfs_readonly && s->pid_mode == LAUNCH_PID_POD && s->n_mounts == 3);
    assert_true(s->mounts[0].readonly && s->mounts[0].propagation == LAUNCH_SLAVE);
    assert_true(s->mounts[1].readonly && s->mounts[1].recursive_readonly);
    assert_true(!s->mounts[0].idmapped && s->mounts[1].idmapped);
    assert_null(s->mounts[2].source);
    assert_string_equal(s->mounts[2].layers[1], "/l2");
    assert_null(s->mounts[2].layers[2]);
    assert_string_equal(s->mounts[2].sub_path, "a/b");
    assert_true(s->userns && s->userns_uid == 100000 && s->userns_gid == 200000);
    assert_true(s->devices[0].minor == 200 && s->devices[0].gid == 2);
    assert_string_equal(s->masked_paths[0], "/m");
    launch_job_done(&job);
    /* No prefix of it is valid and whole: each is refused, or lacks its last record. */
    for (size_t len = 0; len < 14; len++) {
        assert_int_equal(launch_decode(b.data, len, &job, &err), -EBADMSG);
        launch_job_done(&job);
    }
}

static void spec_refused(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct error err = ERROR_INIT;
    struct launch_spec s = *full_spec();
    s.process.argv = NULL;
    assert_int_equal(launch_spec_encode(&s, NULL, &b, &err), -EINVAL);
    assert_string_equal(err.field, "args");
    s = *full_spec();
    s.process.cwd = "relative";
    assert_int_equal(launch_spec_encode(&s, NULL, &b, &err), -EINVAL);
    assert_string_equal(err.field, "cwd");
    const struct launch_mount relative = {.source = "x", .target = "/t"};
    s = *full_spec();
    s.mounts = &relative;
    s.n_mounts = 1;
    assert_int_equal(launch_spec_encode(&s, NULL, &b, &err), -EINVAL);
    assert_string_equal(err.field, "mounts.host_path");
}

static void spec_bad_bytes(_unused_ void **state)
{
    struct error err = ERROR_INIT;
    struct launch_job job;
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    tlv_put_u64(&b, LT_VERSION, LAUNCH_VERSION);
    size_t start = b.len;
    assert_true(launch_decode(b.data, b.len, &job, &err) < 0); /* no command */
    launch_job_done(&job);
    tlv_put_string(&b, LT_UPPERDIR, "relative");
    assert_true(launch_decode(b.data, b.len, &job, &err) < 0);
    launch_job_done(&job);
    strbuf_truncate(&b, start);
    size_t place = tlv_begin(&b, LT_MOUNT); /* of the host and of an image */
    tlv_put_string(&b, LT_M_TARGET, "/t");
    tlv_put_string(&b, LT_M_SOURCE, "/s");
    tlv_put_string(&b, LT_M_LAYER, "/l");
    tlv_end(&b, place);
    assert_true(launch_decode(b.data, b.len, &job, &err) < 0);
    launch_job_done(&job);
    strbuf_truncate(&b, start);
    tlv_put_u64(&b, LT_UID, UINT32_MAX); /* means "leave" to setresuid() */
    assert_true(launch_decode(b.data, b.len, &job, &err) < 0);
    launch_job_done(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),     cmocka_unit_test(bad_requests),
        cmocka_unit_test(setup),        cmocka_unit_test(spec_round_trip),
        cmocka_unit_test(spec_refused), cmocka_unit_test(spec_bad_bytes),
    };
    return RUN_TESTS(tests);
}
