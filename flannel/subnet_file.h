/*
 * /run/flannel/subnet.env: what container runtimes and CNI plugins read, byte for byte as flanneld
 * writes it.
 */
#pragma once

#include "base/strbuf.h"
#include "flannel/config.h"

/* The file's content. @subnet: this node's, in the families that @c has. */
void subnet_file_format(const struct flannel_config *c, const struct ip_prefix subnet[N_FAMILIES],
                        int mtu, bool ip_masq, struct strbuf *out);
/* Writes it unless it says so already; notes in @record first that the file is ours. */
int subnet_file_write(const char *path, const char *record, const struct strbuf *content,
                      struct error *err);
/* Removes the file that @record names, and the record. */
int subnet_file_cleanup(const char *record, struct error *err);
