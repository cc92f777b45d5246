# What a cluster could leave behind in its namespace and on the host, in a form to compare.
snapshot() {
    echo "# links"; $NET ip -o link | sed 's/^[0-9]*: //; s/qlen.*//; s/state [A-Z]*//'
    echo "# addresses"; $NET ip -o addr | awk '!/fe80/{print $2, $3, $4}'
    echo "# routes"; $NET ip route show table all | grep -v fe80 | sort
    echo "# rules"; $NET ip rule
    echo "# neighbours"; $NET ip neigh show nud permanent
    for flavour in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
        command -v $flavour-save >/dev/null || continue
        # A table of the legacy flavour is there, empty, once anybody has asked for it: only what is in it counts.
        echo "# $flavour"; $NET $flavour-save 2>/dev/null | sed 's/\[[0-9]*:[0-9]*\]//' |
            awk '/^\*/ {table = $0} !/^(#|\*|COMMIT)/ && !/^:[A-Z]+ ACCEPT/ {print table, $0}'
    done
    echo "# nft"; command -v nft >/dev/null && $NET nft list ruleset
    echo "# ipset"; command -v ipset >/dev/null && $NET ipset list -n 2>/dev/null
    echo "# mounts"; awk '{print $5}' /proc/self/mountinfo | grep -F "$T" | sort
    echo "# cgroups"; find /sys/fs/cgroup -maxdepth 3 -type d -name "coracle-test-$$*" | sort
    echo "# sysctls"; $NET sysctl -a 2>/dev/null | grep -E '^net\.(ipv4|ipv6|bridge|netfilter)\.' |
        grep -vE 'nf_conntrack_count|\.(random|flush|stable_secret)|nf_conntrack_max|tcp_fastopen_key|neigh\.(veth|cor)|conf\.(veth|cor)|nf_conntrack_buckets' | sort
    echo "# named namespaces"; find /run/netns -name "*$$*" 2>/dev/null | sort
    echo "# processes"; pgrep -f "$ROOT/" | grep -v "^$$\$" || true
    echo "# files"; find "$ROOT" -mindepth 1 2>/dev/null | grep -vE "^$ROOT/(etc|var|run|var/lib|var/log|etc/kubernetes)(/manifests)?$" | sort
}
