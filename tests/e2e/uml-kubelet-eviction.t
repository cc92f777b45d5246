#!/usr/bin/env bash
# Eviction for want of memory, as tests/integration/kubelet-eviction.t has it, on cgroup v2 alone.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
command -v linux.uml >/dev/null || { echo "1..0 # SKIP needs user-mode-linux"; exit 0; }
exec "$TOP/tests/lib/uml" -m 1536M -t 850 env SHORT=1 bash "$TOP/tests/integration/kubelet-eviction.t"
