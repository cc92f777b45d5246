/*
 * What people add to the names by hand, in the ConfigMap kube-system/coracle-dns:
 *
 *   hosts   lines as in /etc/hosts: an address and its names
 *   zones   lines of a domain and the servers to ask for it and what is below:
 * corp.example 10.0.0.53
 *
 * '#' begins a comment. A line that is wrong is passed over and complained of (the first
 * CUSTOM_COMPLAINTS_MAX of them); the others hold.
 */
#pragma once

#include "base/json.h"
#include "base/map.h"
#include "dns/records.h"
#include "dns/upstream.h"

#define CUSTOM_HOSTS_MAX      10000 /* names, in all */
#define CUSTOM_ZONES_MAX      64
#define CUSTOM_PER_NAME       16 /* addresses of one name */
#define CUSTOM_COMPLAINTS_MAX 10 /* about one ConfigMap */
#define CUSTOM_CONFIG_NS      "kube-system"
#define CUSTOM_CONFIG_NAME    "coracle-dns"

struct custom_host {
    struct ip_addr ips[CUSTOM_PER_NAME];
    size_t count;
};
struct custom_zone {
    char name[NAME_TEXT_MAX];
    struct ip_addr servers[UPSTREAM_SERVERS_MAX];
    size_t n_servers;
};
struct custom {
    struct map hosts;     /* name → struct custom_host */
    struct map addresses; /* address → its first name */
    struct custom_zone *zones;
    size_t n_zones;
    size_t n_wrong; /* lines, or parts of one, that were passed over */
};

/* Called with "hosts: line 3: …". */
typedef void (*custom_complain_fn)(void *arg, const char *text);

/* Reads data.hosts and data.zones of a ConfigMap; NULL: there is none, all is empty. Fills *ret,
 * which custom_done() frees. */
void custom_read(const json_t *config_map, struct custom *ret, custom_complain_fn complain,
                 void *arg);
void custom_done(struct custom *c);
/* The zone that @name is in, the longest of several; NULL: none. */
const struct custom_zone *custom_zone_of(const struct custom *c, const char *name);
