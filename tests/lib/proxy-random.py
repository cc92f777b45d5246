#!/usr/bin/env python3
"""Random operations on services and endpoints, for proxy-drive.

proxy-random.py SEED OPERATIONS BATCH DIRECTORY

Writes DIRECTORY/N.changes, the lines of each batch, and DIRECTORY/N.all, every object as it is then. Names
and addresses are few, so that services meet in addresses and node ports, go and come again.
"""
import json
import os
import random
import sys

seed, operations, batch, directory = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rng = random.Random(seed)
NAMES = 40
objects = {}


def chance(p):
    return rng.random() < p


def service(i):
    v4, v6 = f"10.96.1.{i}", f"fd96::1:{i:x}"
    ips = rng.choice([[v4], [v6], [v4, v6], [v6, v4]])
    kind = rng.choice(["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"])
    spec = {"type": kind, "clusterIP": ips[0], "clusterIPs": ips, "ports": []}
    status = {}
    for p in range(rng.randint(1, 3)):
        port = {"name": f"p{p}", "port": rng.choice([80, 81, 443, 53]),
                "protocol": rng.choice(["TCP", "TCP", "UDP", "SCTP"])}
        if kind != "ClusterIP":
            port["nodePort"] = 30000 + rng.randint(0, 60)
        spec["ports"].append(port)
    if chance(0.2):
        spec["externalIPs"] = rng.sample(["203.0.113.5", "203.0.113.6", "fd03::5"], rng.randint(1, 2))
    if chance(0.3):
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": rng.choice([10, 10800])}}
    if chance(0.2):
        spec["internalTrafficPolicy"] = "Local"
    if kind != "ClusterIP" and chance(0.4):
        spec["externalTrafficPolicy"] = "Local"
    if kind == "LoadBalancer":
        status = {"loadBalancer": {"ingress": [{"ip": f"203.0.113.{100 + i}"}, {"ip": f"fd03::{100 + i:x}"}]}}
        if chance(0.5):
            spec["loadBalancerSourceRanges"] = rng.sample(["192.0.2.0/24", "10.77.0.0/24", "fd77::/64"], 2)
    return {"kind": "Service", "spec": spec, "status": status,
            "metadata": {"namespace": "default", "name": f"s{i}", "uid": f"u{i}",
                         "creationTimestamp": f"2026-01-01T00:00:{i % 60:02}Z"}}


def endpoint_slice(i, family):
    endpoints = []
    for e in rng.sample(range(1, 30), rng.choice([0, 1, 2, 2, 3, 5, 9])):
        address = f"10.244.{e % 3 + 1}.{e}" if family == "IPv4" else f"fd44:{e % 3 + 1}::{e:x}"
        endpoint = {"addresses": [address], "nodeName": f"node{e % 3 + 1}",
                    "conditions": rng.choice([{"ready": True}] * 5 + [{"ready": False}] + [
                        {"ready": False, "serving": True, "terminating": True}])}
        if chance(0.2):
            endpoint["hints"] = {"forZones": [{"name": rng.choice(["a", "b"])}]}
        endpoints.append(endpoint)
    return {"kind": "EndpointSlice", "addressType": family, "endpoints": endpoints,
            "ports": [{"name": f"p{p}", "port": 8000 + p, "protocol": t}
                      for p in range(3) for t in ["TCP", "UDP", "SCTP"]],
            "metadata": {"namespace": "default", "name": f"s{i}-{family.lower()}",
                         "labels": {"kubernetes.io/service-name": f"s{i}"}}}


def operation(out):
    i = rng.randint(1, NAMES)
    o = service(i) if chance(0.4) else endpoint_slice(i, rng.choice(["IPv4", "IPv6"]))
    key = (o["kind"], o["metadata"]["name"])
    if key in objects and chance(0.3):
        out.write(json.dumps({"delete": {"kind": o["kind"], "metadata": o["metadata"]}}) + "\n")
        del objects[key]
        return
    out.write(json.dumps(o) + "\n")
    objects[key] = o


NODE = json.dumps({"kind": "Node", "metadata": {"name": "node1", "labels": {"topology.kubernetes.io/zone": "a"}},
                   "status": {"addresses": [{"type": "InternalIP", "address": "10.77.0.2"},
                                            {"type": "InternalIP", "address": "fd77::2"}]}})
for n in range(operations // batch):
    with open(os.path.join(directory, f"{n}.changes"), "w") as changes:
        if n == 0:
            changes.write(NODE + "\n")
        for _ in range(batch):
            operation(changes)
    with open(os.path.join(directory, f"{n}.all"), "w") as everything:
        everything.write(NODE + "\n")
        values = list(objects.values())
        rng.shuffle(values)  # the order must not matter
        for o in values:
            everything.write(json.dumps(o) + "\n")
        everything.write("sync\n")
