#!/usr/bin/env bash
# tests/integration/launch.t on Linux 6.1 with cgroup v2 alone.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
command -v linux.uml >/dev/null || { echo "1..0 # SKIP needs user-mode-linux"; exit 0; }
exec "$TOP/tests/lib/uml" -t 900 bash "$TOP/tests/integration/launch.t"
