#!/usr/bin/env bash
# The slice in User Mode Linux: another kernel, pure cgroup v2.
top=$(cd "$(dirname "$0")/../.." && pwd)
command -v linux.uml >/dev/null || { echo "1..0 # SKIP the package user-mode-linux is not installed"; exit 0; }
export TOP=$top
exec "$top/tests/lib/uml" -m 1536M -t 1700 env SLICE_UML=1 "$top/tests/e2e/slice.t"
