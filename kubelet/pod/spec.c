/* The tables by which a v1 Pod's JSON becomes the structs of spec.h. */
#include "kubelet/pod/spec.h"

#define STR(T, m, n)      DECODE_FIELD(struct T, m, n, DECODE_STRING)
#define INT(T, m, n)      DECODE_FIELD(struct T, m, n, DECODE_INT)
#define OINT(T, m, n)     DECODE_FIELD(struct T, m, n, DECODE_OPT_INT)
#define BOOL(T, m, n)     DECODE_FIELD(struct T, m, n, DECODE_BOOL)
#define OBOOL(T, m, n)    DECODE_FIELD(struct T, m, n, DECODE_OPT_BOOL)
#define STRS(T, m, n)     DECODE_FIELD(struct T, m, n, DECODE_STRINGS)
#define MAP(T, m, n)      DECODE_FIELD(struct T, m, n, DECODE_MAP)
#define IOS(T, m, n)      DECODE_FIELD(struct T, m, n, DECODE_INT_OR_STRING)
#define RAW(T, m, n)      DECODE_FIELD(struct T, m, n, DECODE_RAW)
#define TIME(T, m, n)     DECODE_FIELD(struct T, m, n, DECODE_TIME)
#define OBJ(T, m, n, t)   DECODE_SUB(struct T, m, n, DECODE_OBJECT, &t)
#define OPT(T, m, n, t)   DECODE_SUB(struct T, m, n, DECODE_OPT_OBJECT, &t)
#define ARR(T, m, n, t)   DECODE_SUB(struct T, m, n, DECODE_ARRAY, &t)
#define TYPE(id, name, T) static const struct decode_type id = {name, sizeof(struct T), id##_fields}
#define FIELDS(id)        static const struct decode_field id##_fields[]

FIELDS(key_selector) = {STR(config_key_selector, name, "name"),
                        STR(config_key_selector, key, "key"),
                        BOOL(config_key_selector, optional, "optional"), DECODE_END};
TYPE(key_selector, "KeySelector", config_key_selector);

FIELDS(field_selector) = {STR(object_field_selector, api_version, "apiVersion"),
                          STR(object_field_selector, field_path, "fieldPath"), DECODE_END};
TYPE(field_selector, "ObjectFieldSelector", object_field_selector);

FIELDS(resource_selector) = {STR(resource_field_selector, container_name, "containerName"),
                             STR(resource_field_selector, resource, "resource"),
                             STR(resource_field_selector, divisor, "divisor"), DECODE_END};
TYPE(resource_selector, "ResourceFieldSelector", resource_field_selector);

FIELDS(env_value) = {OPT(env_var_source, config_map_key_ref, "configMapKeyRef", key_selector),
                     OPT(env_var_source, secret_key_ref, "secretKeyRef", key_selector),
                     OPT(env_var_source, field_ref, "fieldRef", field_selector),
                     OPT(env_var_source, resource_field_ref, "resourceFieldRef", resource_selector),
                     RAW(env_var_source, file_key_ref, "fileKeyRef"),
                     DECODE_END};
TYPE(env_value, "EnvVarSource", env_var_source);

FIELDS(env) = {STR(env_var, name, "name"), STR(env_var, value, "value"),
               OPT(env_var, value_from, "valueFrom", env_value), DECODE_END};
TYPE(env, "EnvVar", env_var);

FIELDS(env_ref) = {STR(env_source_ref, name, "name"), BOOL(env_source_ref, optional, "optional"),
                   DECODE_END};
TYPE(env_ref, "EnvSource", env_source_ref);

FIELDS(env_from) = {STR(env_from_source, prefix, "prefix"),
                    OPT(env_from_source, config_map_ref, "configMapRef", env_ref),
                    OPT(env_from_source, secret_ref, "secretRef", env_ref), DECODE_END};
TYPE(env_from, "EnvFromSource", env_from_source);

FIELDS(exec) = {STRS(exec_action, command, "command"), DECODE_END};
TYPE(exec, "ExecAction", exec_action);

FIELDS(header) = {STR(http_header_pair, name, "name"), STR(http_header_pair, value, "value"),
                  DECODE_END};
TYPE(header, "HTTPHeader", http_header_pair);

FIELDS(http_get) = {STR(http_get_action, path, "path"),
                    STR(http_get_action, host, "host"),
                    STR(http_get_action, scheme, "scheme"),
                    IOS(http_get_action, port, "port"),
                    ARR(http_get_action, headers, "httpHeaders", header),
                    DECODE_END};
TYPE(http_get, "HTTPGetAction", http_get_action);

FIELDS(tcp_socket) = {STR(tcp_socket_action, host, "host"), IOS(tcp_socket_action, port, "port"),
                      DECODE_END};
TYPE(tcp_socket, "TCPSocketAction", tcp_socket_action);

FIELDS(grpc) = {INT(grpc_action, port, "port"), STR(grpc_action, service, "service"), DECODE_END};
TYPE(grpc, "GRPCAction", grpc_action);

FIELDS(sleep_a) = {INT(sleep_action, seconds, "seconds"), DECODE_END};
TYPE(sleep_a, "SleepAction", sleep_action);

FIELDS(probe) = {OPT(probe_spec, exec, "exec", exec),
                 OPT(probe_spec, http_get, "httpGet", http_get),
                 OPT(probe_spec, tcp_socket, "tcpSocket", tcp_socket),
                 OPT(probe_spec, grpc, "grpc", grpc),
                 INT(probe_spec, initial_delay, "initialDelaySeconds"),
                 INT(probe_spec, timeout, "timeoutSeconds"),
                 INT(probe_spec, period, "periodSeconds"),
                 INT(probe_spec, success, "successThreshold"),
                 INT(probe_spec, failure, "failureThreshold"),
                 OINT(probe_spec, termination_grace, "terminationGracePeriodSeconds"),
                 DECODE_END};
TYPE(probe, "Probe", probe_spec);

FIELDS(handler) = {OPT(lifecycle_handler, exec, "exec", exec),
                   OPT(lifecycle_handler, http_get, "httpGet", http_get),
                   OPT(lifecycle_handler, tcp_socket, "tcpSocket", tcp_socket),
                   OPT(lifecycle_handler, sleep, "sleep", sleep_a), DECODE_END};
TYPE(handler, "LifecycleHandler", lifecycle_handler);

FIELDS(lifecycle) = {OPT(lifecycle_spec, post_start, "postStart", handler),
                     OPT(lifecycle_spec, pre_stop, "preStop", handler),
                     STR(lifecycle_spec, stop_signal, "stopSignal"), DECODE_END};
TYPE(lifecycle, "Lifecycle", lifecycle_spec);

FIELDS(port) = {STR(container_port, name, "name"),
                STR(container_port, protocol, "protocol"),
                STR(container_port, host_ip, "hostIP"),
                INT(container_port, container_port, "containerPort"),
                INT(container_port, host_port, "hostPort"),
                DECODE_END};
TYPE(port, "ContainerPort", container_port);

FIELDS(mount) = {STR(volume_mount, name, "name"),
                 STR(volume_mount, mount_path, "mountPath"),
                 STR(volume_mount, sub_path, "subPath"),
                 STR(volume_mount, sub_path_expr, "subPathExpr"),
                 STR(volume_mount, propagation, "mountPropagation"),
                 STR(volume_mount, recursive_read_only, "recursiveReadOnly"),
                 BOOL(volume_mount, read_only, "readOnly"),
                 DECODE_END};
TYPE(mount, "VolumeMount", volume_mount);

/* Quantities may be numbers in hand-written manifests: pod.c turns them into text beforehand. */
FIELDS(resources) = {MAP(resource_requirements, limits, "limits"),
                     MAP(resource_requirements, requests, "requests"), DECODE_END};
TYPE(resources, "ResourceRequirements", resource_requirements);

FIELDS(capabilities) = {STRS(capabilities_spec, add, "add"), STRS(capabilities_spec, drop, "drop"),
                        DECODE_END};
TYPE(capabilities, "Capabilities", capabilities_spec);

FIELDS(profile) = {STR(profile_spec, type, "type"),
                   STR(profile_spec, localhost_profile, "localhostProfile"), DECODE_END};
TYPE(profile, "SeccompProfile", profile_spec);

FIELDS(selinux) = {STR(selinux_spec, user, "user"), STR(selinux_spec, role, "role"),
                   STR(selinux_spec, type, "type"), STR(selinux_spec, level, "level"), DECODE_END};
TYPE(selinux, "SELinuxOptions", selinux_spec);

FIELDS(security) = {OPT(container_security, capabilities, "capabilities", capabilities),
                    OBOOL(container_security, privileged, "privileged"),
                    OBOOL(container_security, run_as_non_root, "runAsNonRoot"),
                    OBOOL(container_security, read_only_root, "readOnlyRootFilesystem"),
                    OBOOL(container_security, allow_escalation, "allowPrivilegeEscalation"),
                    OINT(container_security, run_as_user, "runAsUser"),
                    OINT(container_security, run_as_group, "runAsGroup"),
                    OPT(container_security, seccomp, "seccompProfile", profile),
                    OPT(container_security, apparmor, "appArmorProfile", profile),
                    OPT(container_security, selinux, "seLinuxOptions", selinux),
                    STR(container_security, proc_mount, "procMount"),
                    DECODE_END};
TYPE(security, "SecurityContext", container_security);

FIELDS(codes) = {STR(restart_exit_codes, operator, "operator"),
                 RAW(restart_exit_codes, values, "values"), DECODE_END};
TYPE(codes, "ContainerRestartRuleOnExitCodes", restart_exit_codes);

FIELDS(restart_r) = {STR(restart_rule, action, "action"),
                     OPT(restart_rule, exit_codes, "exitCodes", codes), DECODE_END};
TYPE(restart_r, "ContainerRestartRule", restart_rule);

FIELDS(resize_r) = {STR(resize_rule, resource, "resourceName"),
                    STR(resize_rule, policy, "restartPolicy"), DECODE_END};
TYPE(resize_r, "ContainerResizePolicy", resize_rule);

FIELDS(container) = {STR(container_spec, name, "name"),
                     STR(container_spec, image, "image"),
                     STR(container_spec, working_dir, "workingDir"),
                     STR(container_spec, image_pull_policy, "imagePullPolicy"),
                     STR(container_spec, restart_policy, "restartPolicy"),
                     STR(container_spec, target, "targetContainerName"),
                     ARR(container_spec, restart_rules, "restartPolicyRules", restart_r),
                     ARR(container_spec, resize_rules, "resizePolicy", resize_r),
                     STR(container_spec, termination_path, "terminationMessagePath"),
                     STR(container_spec, termination_policy, "terminationMessagePolicy"),
                     STRS(container_spec, command, "command"),
                     STRS(container_spec, args, "args"),
                     ARR(container_spec, ports, "ports", port),
                     ARR(container_spec, env_from, "envFrom", env_from),
                     ARR(container_spec, env, "env", env),
                     OBJ(container_spec, resources, "resources", resources),
                     ARR(container_spec, volume_mounts, "volumeMounts", mount),
                     RAW(container_spec, volume_devices, "volumeDevices"),
                     OPT(container_spec, liveness, "livenessProbe", probe),
                     OPT(container_spec, readiness, "readinessProbe", probe),
                     OPT(container_spec, startup, "startupProbe", probe),
                     OPT(container_spec, lifecycle, "lifecycle", lifecycle),
                     OBJ(container_spec, security, "securityContext", security),
                     BOOL(container_spec, stdin, "stdin"),
                     BOOL(container_spec, stdin_once, "stdinOnce"),
                     BOOL(container_spec, tty, "tty"),
                     DECODE_END};
TYPE(container, "Container", container_spec);

FIELDS(item) = {STR(key_to_path, key, "key"), STR(key_to_path, path, "path"),
                OINT(key_to_path, mode, "mode"), DECODE_END};
TYPE(item, "KeyToPath", key_to_path);

FIELDS(host_path) = {STR(host_path_source, path, "path"), STR(host_path_source, type, "type"),
                     DECODE_END};
const struct decode_type host_path_source_type = {
    "HostPathVolumeSource", sizeof(struct host_path_source), host_path_fields};

FIELDS(empty_dir) = {STR(empty_dir_source, medium, "medium"),
                     STR(empty_dir_source, size_limit, "sizeLimit"), DECODE_END};
TYPE(empty_dir, "EmptyDirVolumeSource", empty_dir_source);

FIELDS(object) = {STR(object_volume_source, name, "name"),
                  STR(object_volume_source, secret_name, "secretName"),
                  ARR(object_volume_source, items, "items", item),
                  OINT(object_volume_source, default_mode, "defaultMode"),
                  BOOL(object_volume_source, optional, "optional"),
                  DECODE_END};
TYPE(object, "ConfigMapVolumeSource", object_volume_source);

FIELDS(downward_f) = {STR(downward_file, path, "path"),
                      OPT(downward_file, field_ref, "fieldRef", field_selector),
                      OPT(downward_file, resource_ref, "resourceFieldRef", resource_selector),
                      OINT(downward_file, mode, "mode"), DECODE_END};
TYPE(downward_f, "DownwardAPIVolumeFile", downward_file);

FIELDS(downward) = {ARR(downward_source, items, "items", downward_f),
                    OINT(downward_source, default_mode, "defaultMode"), DECODE_END};
TYPE(downward, "DownwardAPIVolumeSource", downward_source);

FIELDS(token) = {STR(token_source, audience, "audience"), STR(token_source, path, "path"),
                 OINT(token_source, expiration, "expirationSeconds"), DECODE_END};
TYPE(token, "ServiceAccountTokenProjection", token_source);

FIELDS(project) = {OPT(projection, config_map, "configMap", object),
                   OPT(projection, secret, "secret", object),
                   OPT(projection, downward, "downwardAPI", downward),
                   OPT(projection, token, "serviceAccountToken", token),
                   RAW(projection, trust_bundle, "clusterTrustBundle"),
                   RAW(projection, certificate, "podCertificate"),
                   DECODE_END};
TYPE(project, "VolumeProjection", projection);

FIELDS(projected) = {ARR(projected_source, sources, "sources", project),
                     OINT(projected_source, default_mode, "defaultMode"), DECODE_END};
TYPE(projected, "ProjectedVolumeSource", projected_source);

FIELDS(nfs) = {STR(nfs_source, server, "server"), STR(nfs_source, path, "path"),
               BOOL(nfs_source, read_only, "readOnly"), DECODE_END};
const struct decode_type nfs_source_type = {"NFSVolumeSource", sizeof(struct nfs_source),
                                            nfs_fields};

FIELDS(claim) = {STR(claim_source, name, "claimName"), BOOL(claim_source, read_only, "readOnly"),
                 DECODE_END};
TYPE(claim, "PersistentVolumeClaimVolumeSource", claim_source);

FIELDS(image_v) = {STR(image_source, reference, "reference"),
                   STR(image_source, pull_policy, "pullPolicy"), DECODE_END};
TYPE(image_v, "ImageVolumeSource", image_source);

FIELDS(volume) = {
    STR(volume_spec, name, "name"),
    OPT(volume_spec, host_path, "hostPath", host_path_source_type),
    OPT(volume_spec, empty_dir, "emptyDir", empty_dir),
    OPT(volume_spec, config_map, "configMap", object),
    OPT(volume_spec, secret, "secret", object),
    OPT(volume_spec, downward, "downwardAPI", downward),
    OPT(volume_spec, projected, "projected", projected),
    OPT(volume_spec, nfs, "nfs", nfs_source_type),
    OPT(volume_spec, claim, "persistentVolumeClaim", claim),
    RAW(volume_spec, ephemeral, "ephemeral"),
    OPT(volume_spec, image, "image", image_v),
    STR(volume_spec, unsupported, "(unsupported)"), /* set by pod.c; here to be freed */
    DECODE_END};
TYPE(volume, "Volume", volume_spec);

FIELDS(sysctl) = {STR(sysctl_spec, name, "name"), STR(sysctl_spec, value, "value"), DECODE_END};
TYPE(sysctl, "Sysctl", sysctl_spec);

FIELDS(pod_sec) = {OINT(pod_security, run_as_user, "runAsUser"),
                   OINT(pod_security, run_as_group, "runAsGroup"),
                   OINT(pod_security, fs_group, "fsGroup"),
                   OBOOL(pod_security, run_as_non_root, "runAsNonRoot"),
                   RAW(pod_security, raw_groups, "supplementalGroups"),
                   STR(pod_security, supplemental_policy, "supplementalGroupsPolicy"),
                   STR(pod_security, fs_group_policy, "fsGroupChangePolicy"),
                   ARR(pod_security, sysctls, "sysctls", sysctl),
                   OPT(pod_security, seccomp, "seccompProfile", profile),
                   OPT(pod_security, apparmor, "appArmorProfile", profile),
                   OPT(pod_security, selinux, "seLinuxOptions", selinux),
                   DECODE_END};
TYPE(pod_sec, "PodSecurityContext", pod_security);

FIELDS(alias) = {STR(host_alias, ip, "ip"), STRS(host_alias, hostnames, "hostnames"), DECODE_END};
TYPE(alias, "HostAlias", host_alias);

FIELDS(dns_opt) = {STR(dns_option, name, "name"), STR(dns_option, value, "value"), DECODE_END};
TYPE(dns_opt, "PodDNSConfigOption", dns_option);

FIELDS(dns) = {STRS(dns_spec, nameservers, "nameservers"), STRS(dns_spec, searches, "searches"),
               ARR(dns_spec, options, "options", dns_opt), DECODE_END};
TYPE(dns, "PodDNSConfig", dns_spec);

FIELDS(secret_ref) = {STR(secret_name, name, "name"), DECODE_END};
TYPE(secret_ref, "LocalObjectReference", secret_name);

FIELDS(gate) = {STR(condition_type, type, "conditionType"), DECODE_END};
TYPE(gate, "PodReadinessGate", condition_type);

FIELDS(tol) = {STR(toleration, key, "key"), STR(toleration, operator, "operator"),
               STR(toleration, value, "value"), STR(toleration, effect, "effect"), DECODE_END};
TYPE(tol, "Toleration", toleration);

FIELDS(spec) = {STR(pod_spec, node_name, "nodeName"),
                STR(pod_spec, restart_policy, "restartPolicy"),
                STR(pod_spec, dns_policy, "dnsPolicy"),
                STR(pod_spec, service_account, "serviceAccountName"),
                STR(pod_spec, hostname, "hostname"),
                STR(pod_spec, subdomain, "subdomain"),
                STR(pod_spec, hostname_override, "hostnameOverride"),
                STR(pod_spec, runtime_class, "runtimeClassName"),
                STR(pod_spec, priority_class, "priorityClassName"),
                STR(pod_spec, scheduler_name, "schedulerName"),
                OINT(pod_spec, grace, "terminationGracePeriodSeconds"),
                OINT(pod_spec, active_deadline, "activeDeadlineSeconds"),
                OINT(pod_spec, priority, "priority"),
                BOOL(pod_spec, host_network, "hostNetwork"),
                BOOL(pod_spec, host_pid, "hostPID"),
                BOOL(pod_spec, host_ipc, "hostIPC"),
                OBOOL(pod_spec, share_pid, "shareProcessNamespace"),
                OBOOL(pod_spec, host_users, "hostUsers"),
                OBOOL(pod_spec, service_links, "enableServiceLinks"),
                OBOOL(pod_spec, hostname_as_fqdn, "setHostnameAsFQDN"),
                OBJ(pod_spec, security, "securityContext", pod_sec),
                ARR(pod_spec, containers, "containers", container),
                ARR(pod_spec, init_containers, "initContainers", container),
                ARR(pod_spec, ephemeral, "ephemeralContainers", container),
                MAP(pod_spec, overhead, "overhead"),
                OPT(pod_spec, resources, "resources", resources),
                ARR(pod_spec, volumes, "volumes", volume),
                ARR(pod_spec, host_aliases, "hostAliases", alias),
                OPT(pod_spec, dns, "dnsConfig", dns),
                ARR(pod_spec, pull_secrets, "imagePullSecrets", secret_ref),
                ARR(pod_spec, readiness_gates, "readinessGates", gate),
                ARR(pod_spec, tolerations, "tolerations", tol),
                DECODE_END};
const struct decode_type pod_spec_type = {"PodSpec", sizeof(struct pod_spec), spec_fields};

FIELDS(meta) = {STR(pod_meta, name, "name"),
                STR(pod_meta, ns, "namespace"),
                STR(pod_meta, uid, "uid"),
                STR(pod_meta, resource_version, "resourceVersion"),
                INT(pod_meta, generation, "generation"),
                TIME(pod_meta, created, "creationTimestamp"),
                TIME(pod_meta, deleted, "deletionTimestamp"),
                OINT(pod_meta, deletion_grace, "deletionGracePeriodSeconds"),
                MAP(pod_meta, labels, "labels"),
                MAP(pod_meta, annotations, "annotations"),
                DECODE_END};
const struct decode_type pod_meta_type = {"ObjectMeta", sizeof(struct pod_meta), meta_fields};
