/*
 * What those who program iptables through iptables-restore share: reading iptables-save's output,
 * and leaving no trace. Rules are recognised by the chain they stand in or jump to.
 *
 * The nft flavour makes the tables "ip nat", "ip filter" when it is first used. A table that was
 * not there before is journalled, and deleted again once nothing is left in it.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* @saved: the output of iptables-save. @rule: as printed after "-A ". */
bool iptables_saved_has_table(const char *saved, const char *table);
bool iptables_saved_has_chain(const char *saved, const char *table, const char *chain);
bool iptables_saved_has_rule(const char *saved, const char *table, const char *rule);

/* Journals each of @tables (NULL-terminated) that @saved lacks, before it comes into being.
 * @family: AF_INET or AF_INET6. @journal NULL: no journal. 0 or -errno. */
int iptables_journal_tables(const char *journal, int family, const char *saved,
                            const char *const *tables, struct error *err);

/* Removes every chain that @is_ours and every rule that jumps to one, in both flavours and
 * families; then deletes journalled tables that are empty. Waits for the programs: for commands,
 * not for daemons. A flavour that is not installed is passed over. Continues past errors; returns
 * the first. */
int iptables_remove_chains(const char *journal, bool (*is_ours)(const char *chain),
                           struct error *err);
