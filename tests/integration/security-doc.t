#!/usr/bin/env bash
# docs/security.md and security-images.md name a test for each of their statements: that they exist is tested here.
. "$(dirname "$0")/../lib/tap.sh"
cd "$TOP" || bail "no $TOP"
# Each named file is followed by the names of tests in it, as they stand there.
while IFS=$'\t' read -r file name; do
    if [[ $file == fuzz_* ]]; then path=tests/fuzz/$file.c; else path=${file/#T\//tests/integration/}; fi
    path=${path/#unit\//tests/unit/}
    if [ ! -e "$path" ]; then
        fail "$path"
    elif [ -n "$name" ]; then
        ok "$path: $name" grep -qF -- "$name" "$path"
    else
        pass "$path"
    fi
done < <(grep -h '^|' docs/security.md docs/security-images.md | grep -oE '(T|unit|tests/e2e)/[a-z0-9_-]+\.(t|c)|fuzz_[a-z_]+|"[^"]*"' |
    awk -v OFS='\t' '/^"/ { if (file != "") print file, substr($0, 2, length($0) - 2); next } { file = $0; print file, "" }')
done_testing
