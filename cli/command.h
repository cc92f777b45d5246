/* The verbs of `coracle`: one file each, cli/<verb>.c, one row each in main.c. */
#pragma once

/* Gets the command line from the verb on (argv[0] is the verb). Returns the exit status: 0, 1 when
 * it failed, 2 when it was called wrongly. */
typedef int command_fn(int argc, char **argv);

command_fn command_server, command_up, command_down, command_reset, command_check;
command_fn command_join, command_agent;
command_fn command_image, command_apply, command_get, command_delete, command_logs, command_exec;
command_fn command_describe, command_service, command_dns, command_token, command_version;
