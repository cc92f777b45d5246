#!/usr/bin/env bash
# What a container's system calls answer under the profiles that the CRI knows, and profiles that make no
# sense; AppArmor profiles on a kernel without AppArmor (e2e/uml-apparmor.t has one with).
# unit/test_seccomp.c runs filters in an interpreter; here the kernel does.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
[ "$(uname -m)" = x86_64 ] || skip_all "numbers of system calls are x86-64's"
cri_setup
busybox_root "$T/bb"
install -m 755 "$B/tests/image/inspect" "$T/bb/bin/inspect"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
cri_import "$T/bb.tar" >/dev/null || bail "import"
a=$(cri runp "$(pod a)")
SECCOMP='.linux.security_context.seccomp'
start() { run "$a" "$1" 'exec sleep 1000' "$2"; }
inspect() { cri exec "$1" inspect "${@:2}" 2>&1; }
# localhost NAME PROFILE [JQ]: starts a container with that profile.
localhost() {
    printf '%s\n' "$2" >"$T/$1.json"
    start "$1" "$SECCOMP={profile_type:\"Localhost\",localhost_ref:\"$T/$1.json\"} | ${3:-.}"
}

# ---- RuntimeDefault ----
d=$(start default .)
is "$(inspect "$d" call 272 0x10000000)" EPERM "unshare of a user namespace is denied"
is "$(inspect "$d" call 248)" EPERM "... as are keys"
is "$(inspect "$d" call 435)" ENOSYS "clone3, whose flags a filter cannot see, is said not to exist"
is "$(inspect "$d" call 590)" ENOSYS "a call newer than the profile is said not to exist"
like "$(inspect "$d" int80 20)" '^(ok [0-9]+|none)$' "32-bit calls: getpid"
for nr in 21:EPERM:mount 310:EPERM:unshare 590:ENOSYS:newer; do
    IFS=: read -r nr expected what <<<"$nr"
    like "$(inspect "$d" int80 "$nr" 0x10000000)" "^($expected|none)$" "... $what: $expected"
done
like "$(inspect "$d" x32 165)" EPERM "x32: mount is denied"
is "$(inspect "$d" x32 590)" ENOSYS "... one that is newer is not there"
is "$(cri exec "$d" sh -c 'cat /proc/self/status' | sed -n 's/^Seccomp_filters:\t//p')" $(($(sed -n 's/^Seccomp_filters:\t//p' /proc/self/status) + 1)) "there is one filter, also for what is executed later"
cri rm "$d" || true
u=$(start unconfined "$SECCOMP={profile_type:\"Unconfined\"}")
is "$(cri exec "$u" sed -n 's/^Seccomp:\t//p' /proc/self/status)" "$(sed -n 's/^Seccomp:\t//p' /proc/self/status)" "Unconfined: no filter"
is "$(inspect "$u" call 248)" EFAULT "... the kernel answers itself"

# ---- Localhost ----
FLAGS='"flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"],'
ours || FLAGS= # Debian's runc has none
l=$(localhost ops '{"defaultAction":"SCMP_ACT_ALLOW",'"$FLAGS"'"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls":[
 {"names":["keyctl","no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":95},
 {"names":["dup"],"action":"SCMP_ACT_ERRNO","errnoRet":7,"args":[{"index":0,"value":100,"op":"SCMP_CMP_GT"}]},
 {"names":["lseek"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":100,"op":"SCMP_CMP_GE"},{"index":1,"value":240,"valueTwo":16,"op":"SCMP_CMP_MASKED_EQ"}]},
 {"names":["swapon"],"action":"SCMP_ACT_KILL_PROCESS"}]}')
is "$(inspect "$l" call 250)" EOPNOTSUPP "a number of an error of the rule's own"
is "$(inspect "$l" int80 288 | sed s/none/EOPNOTSUPP/)" EOPNOTSUPP "... also for 32-bit calls"
is "$(inspect "$l" call 32 101) $(inspect "$l" call 32 100)" "E2BIG EBADF" "a condition on an argument"
is "$(inspect "$l" call 8 100 0x1f) $(inspect "$l" call 8 99 0x1f) $(inspect "$l" call 8 100 0x2f)" "EPERM EBADF EBADF" "conditions on two, one of them masked"
cri exec "$l" inspect call 167 0 >/dev/null 2>&1 && rc=0 || rc=$?
is $rc 159 "a call that kills"

# What our way to the program needs, and little more; close_range (436) is the newest of it.
if ours; then
    l=$(localhost strict '{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":13,"syscalls":[{"action":"SCMP_ACT_ALLOW","names":["read","write","writev","open","openat","close","close_range","lseek",
     "stat","lstat","fstat","newfstatat","statfs","fstatfs","poll","mmap","mprotect","munmap","mremap","madvise","brk","rt_sigaction","rt_sigprocmask","rt_sigreturn","ioctl","access","faccessat","pipe","pipe2",
     "dup","dup2","dup3","fcntl","nanosleep","clock_nanosleep","getpid","getppid","gettid","sendto","sendmsg","recvmsg","clone","fork","vfork","execve","exit","exit_group","wait4","kill","uname","getcwd","chdir","fchdir",
     "readlink","readlinkat","umask","getuid","getgid","geteuid","getegid","getgroups","setuid","setgid","setgroups","setresuid","setresgid","setpgid","setsid","getpgrp","capget","capset","prctl","arch_prctl",
     "set_tid_address","set_robust_list","rseq","prlimit64","getrlimit","setrlimit","getrandom","futex","sigaltstack","sched_getaffinity","sched_yield","fchown","time","gettimeofday","clock_gettime","getdents64","tgkill"]}]}')
    is "$(inspect "$l" call 83 0)" EACCES "a default of the profile's own"
    is "$(inspect "$l" call 439 0 0)" ENOSYS "a call that the kernel has and that is newer than all the profile names is not there"
    said=$(inspect "$l" int80 20; echo $?)
    like "$said" $'^(159|none\n0)$' "a 32-bit call dies: the profile is for 64 bits"
fi

# ---- what is refused (containerd leaves it to runc) ----
refused() { # NAME JSON REGEX DESCRIPTION
    printf '%s\n' "$2" >"$T/$1.json"
    like "$(cri create "$a" "$(container "$1" true "$SECCOMP={profile_type:\"Localhost\",localhost_ref:\"$T/$1.json\"}")" 2>&1)" "$3" "$4"
}
RULE='{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["dup"],"action":"SCMP_ACT_ERRNO"'
if ours; then
    refused bad1 '{"defaultAction":"SCMP_ACT_WHAT"}' "INVALID_ARGUMENT.*seccomp profile $T/bad1.json: defaultAction: \"SCMP_ACT_WHAT\"" "a bad profile: the default action"
    refused bad2 "$RULE"'},{"names":["dup"],"action":"SCMP_ACT_NOTIFY"}]}' 'syscalls\[1\].action: "SCMP_ACT_NOTIFY"' "... a rule's"
    refused bad3 "$RULE"',"args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}' 'syscalls\[0\].args\[0\].index' "... an argument"
    refused bad4 "$RULE"'}],"architectures":["PDP11"]}' 'architectures\[0\]: "PDP11"' "... an architecture"
    refused bad5 "$RULE"',"errnoRet":5000}]}' 'syscalls\[0\].errnoRet' "... a number"
    refused bad6 "$RULE"'}' 'seccomp profile .*bad6.json' "... that is no JSON"
    like "$(cri create "$a" "$(container x true "$SECCOMP={profile_type:\"Localhost\",localhost_ref:\"$T/none.json\"}")" 2>&1)" "NOT_FOUND.*$T/none.json" "one that is not there"
    like "$(cri create "$a" "$(container x true "$SECCOMP={profile_type:\"Localhost\",localhost_ref:\"none.json\"}")" 2>&1)" 'INVALID_ARGUMENT.*localhost_ref: "none.json" is not absolute' "a relative path"
fi

# ---- AppArmor where there is none ----
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" != Y ]; then
    for type in RuntimeDefault Localhost; do
        like "$(cri create "$a" "$(container x true '.linux.security_context.apparmor={profile_type:"'$type'",localhost_ref:"'${type/RuntimeDefault/}'"}')" 2>&1)" '(this kernel has no AppArmor|apparmor is not supported)' "AppArmor: $type needs it"
    done
    n=$(start noarmor '.linux.security_context.apparmor={profile_type:"Unconfined"}')
    ok "... Unconfined does not" is_state "$n" RUNNING
fi
cri stopp "$a" >/dev/null && cri rmp "$a"
done_testing
