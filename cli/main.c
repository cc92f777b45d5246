/* `coracle`: finds the verb and hands over. One file a verb, one row here. */
#include <stdio.h>

#include "base/strbuf.h"
#include "cli/command.h"

static const struct verb {
    const char *name;
    command_fn *run;
    const char *help;
} verbs[] = {
    {"up", command_up, "start a single-node cluster on this machine"},
    {"down", command_down, "stop it, pods included; state stays"},
    {"reset", command_reset, "stop it and remove everything it put on this machine"},
    {"join", command_join, "make this machine a node of a cluster elsewhere"},
    {"check", command_check, "say what this machine lacks"},
    {"server", command_server, "run the cluster in the foreground (for service managers)"},
    {"agent", command_agent, "run a node that has joined, in the foreground"},
    {"image", command_image, "import, pull, list, rm: images of this node"},
    {"apply", command_apply, "create or change objects from manifests: -f FILE"},
    {"get", command_get, "show objects"},
    {"describe", command_describe, "show one object with its events"},
    {"delete", command_delete, "delete objects"},
    {"logs", command_logs, "print a container's output"},
    {"exec", command_exec, "run a command in a container"},
    {"service", command_service, "what this node has programmed for a service"},
    {"dns", command_dns, "what this node answers for a name, and why"},
    {"token", command_token, "create, list, delete: what new nodes join with"},
    {"version", command_version, "print the version"},
};

static void usage(FILE *to)
{
    (void)fputs("usage: coracle VERB [arguments]\n\n", to);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        (void)fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    (void)fputs("\n`coracle VERB --help` says more.\n", to);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (str_eq(argv[1], verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    if (str_eq(argv[1], "--help") || str_eq(argv[1], "-h") || str_eq(argv[1], "help")) {
        usage(stdout);
        return 0;
    }
    if (str_eq(argv[1], "--version"))
        return command_version(argc - 1, argv + 1);
    (void)fprintf(stderr, "coracle: unknown verb \"%s\"\n\n", argv[1]);
    usage(stderr);
    return 2;
}
