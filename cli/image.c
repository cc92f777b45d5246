/* `coracle image import|export|pull|list|rm`: images of this node's runtime. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/daemon.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/runtime.h"
#include "net/cri.pb-c.h"

#define PULL_MS 600000

static void print_name(const char *name, const char *id, _unused_ void *arg)
{
    (void)printf("imported %s (%.19s)\n", name, id);
}

static int import(struct runtime *r, int n, char **words, const char *name, struct error *err)
{
    if (n == 0)
        return error_set(err, -EINVAL, "name the archives to import");
    int code = 0;
    for (int i = 0; i < n && code == 0; i++)
        code = runtime_import(r, words[i], name, print_name, NULL, err);
    return code;
}

/* The file appears when it is complete. */
static int export_to_file(struct runtime *r, int n, char **words, const char *file,
                          struct error *err)
{
    _cleanup_free_ char *part = str_printf("%s.part-%d", file, (int)getpid());
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_errno(err, -errno, "%s", part);
    int code = runtime_export(r, words, (size_t)n, fd, err);
    if (close(fd) < 0 && !code)
        code = error_errno(err, -errno, "%s", part);
    if (!code && rename(part, file) < 0)
        code = error_errno(err, -errno, "%s", file);
    if (code)
        (void)unlink(part);
    return code;
}

static int export(struct runtime *r, int n, char **words, const char *file, struct error *err)
{
    if (n == 0)
        return error_set(err, -EINVAL, "name the images to export");
    if (file && !str_eq(file, "-"))
        return export_to_file(r, n, words, file, err);
    if (isatty(STDOUT_FILENO))
        return error_set(err, -EINVAL, "an archive is not for a terminal: use -o FILE");
    return runtime_export(r, words, (size_t)n, STDOUT_FILENO, err);
}

static int pull(struct runtime *r, int n, char **words, struct error *err)
{
    static const struct rpc_method method = {"/runtime.v1.ImageService/PullImage",
                                             &runtime__v1__pull_image_response__descriptor};
    if (n == 0)
        return error_set(err, -EINVAL, "name the images to pull");
    for (int i = 0; i < n; i++) {
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__PullImageRequest request = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
        ProtobufCMessage *message = NULL;
        spec.image = words[i];
        request.image = &spec;
        int code = runtime_call(r, &method, &request.base, PULL_MS, &message, err);
        if (code < 0)
            return error_prefix(err, code, "%s", words[i]);
        (void)printf("pulled %s (%.19s)\n", words[i],
                     ((Runtime__V1__PullImageResponse *)message)->image_ref);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    return 0;
}

static void print_image(const Runtime__V1__Image *image)
{
    const char *id = image->id;
    const char *hex = strchr(id, ':');
    for (size_t i = 0; i < (image->n_repo_tags ? image->n_repo_tags : 1); i++)
        (void)printf("%-56s %-14.12s %8.1f MB\n",
                     image->n_repo_tags      ? image->repo_tags[i]
                     : image->n_repo_digests ? image->repo_digests[0]
                                             : "<none>",
                     hex ? hex + 1 : id, (double)image->size / 1e6);
}

static int list(struct runtime *r, struct error *err)
{
    static const struct rpc_method method = {"/runtime.v1.ImageService/ListImages",
                                             &runtime__v1__list_images_response__descriptor};
    Runtime__V1__ListImagesRequest request = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    int code = runtime_call(r, &method, &request.base, 30000, &message, err);
    if (code < 0)
        return code;
    const Runtime__V1__ListImagesResponse *answer =
        (const Runtime__V1__ListImagesResponse *)message;
    (void)printf("%-56s %-14s %11s\n", "IMAGE", "ID", "SIZE");
    for (size_t i = 0; i < answer->n_images; i++)
        print_image(answer->images[i]);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

static int remove_images(struct runtime *r, int n, char **words, struct error *err)
{
    static const struct rpc_method method = {"/runtime.v1.ImageService/RemoveImage",
                                             &runtime__v1__remove_image_response__descriptor};
    for (int i = 0; i < n; i++) {
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__RemoveImageRequest request = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
        spec.image = words[i];
        request.image = &spec;
        int code = runtime_call(r, &method, &request.base, 30000, NULL, err);
        if (code < 0)
            return error_prefix(err, code, "%s", words[i]);
    }
    return 0;
}

static int dispatch(struct runtime *r, int n, char **words, const char *name, const char *output,
                    struct error *err)
{
    if (str_eq(words[0], "import"))
        return import(r, n - 1, words + 1, name, err);
    if (str_eq(words[0], "export"))
        return export(r, n - 1, words + 1, output, err);
    if (str_eq(words[0], "pull"))
        return pull(r, n - 1, words + 1, err);
    if (str_eq(words[0], "list") || str_eq(words[0], "ls"))
        return list(r, err);
    return remove_images(r, n - 1, words + 1, err);
}

int command_image(int argc, char **argv)
{
    const char *root = "", *name = NULL, *output = NULL;
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"root", 0, OPTION_STRING, &root, "DIR", "prefix of every path"},
        {"name", 0, OPTION_STRING, &name, "NAME", "import: name for an archive that has none"},
        {"output", 'o', OPTION_STRING, &output, "FILE", "export: where to (standard output)"},
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n < 0) {
        (void)fprintf(stderr, "coracle image: %s\n", err.text);
        return 2;
    }
    static const char *const verbs[] = {"import", "export", "pull", "list", "ls", "rm"};
    bool known = false;
    for (size_t i = 0; n > 0 && i < ARRAY_SIZE(verbs); i++)
        known = known || str_eq(words[0], verbs[i]);
    if (!known) {
        (void)fputs(
            "usage: coracle image import FILE... | export [-o FILE] IMAGE... | pull IMAGE... |\n"
            "       list | rm IMAGE...\n\n",
            stderr);
        options_help(options, stderr);
        return 2;
    }
    daemon_init("coracle", 0);
    struct runtime r;
    int code = runtime_open(&r, root, &err);
    if (code == 0) {
        code = dispatch(&r, n, words, name, output, &err);
        runtime_close(&r);
    }
    if (code < 0)
        (void)fprintf(stderr, "coracle image: %s\n", error_text(&err));
    return code < 0;
}
