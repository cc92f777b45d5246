/*
 * What this process gives up once it has its sockets and keys: root and every capability, new
 * privileges by exec, and the system calls that a name server has no use for but whoever breaks
 * into one does (starting programs, other processes' memory, namespaces, mounts, modules, keys).
 */
#pragma once

#include "base/error.h"

/* Becomes @user with its group, and none besides; NULL: coracle-dns where there is one, else
 * nobody. A process that is not root stays who it is. Every thread that starts later is confined,
 * too. -ENOENT naming the user, -EPERM, … */
int dns_confine(const char *user, struct error *err);
