#!/usr/bin/env python3
"""Input for proxy-drive: SERVICES services with ENDPOINTS endpoints each, then CHANGES of one endpoint.

proxy-objects.py SERVICES ENDPOINTS CHANGES [POD]

The first, the middle and the last service go to POD, where there is one, and are not changed.
"""
import json
import sys

services, endpoints, changes = (int(a) for a in sys.argv[1:4])
pod = sys.argv[4] if len(sys.argv) > 4 else None
kept = {0, services // 2, services - 1} if pod else set()


def service(i):
    ip = f"10.{96 + i // 65536}.{i // 256 % 256}.{i % 256}"
    return {"kind": "Service",
            "metadata": {"namespace": "default", "name": f"web-{i}", "uid": f"{i}"},
            "spec": {"clusterIP": ip, "clusterIPs": [ip],
                     "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}


def endpoint_slice(i, shift=0):
    return {"kind": "EndpointSlice",
            "metadata": {"namespace": "default", "name": f"web-{i}-a",
                         "labels": {"kubernetes.io/service-name": f"web-{i}"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [pod], "nodeName": "node1", "conditions": {"ready": True}}] if i in kept else [
                          {"addresses": [f"10.{160 + e % 64}.{(i + shift) // 250 % 250}.{(i + shift) % 250 + 1}"],
                           "nodeName": f"node{e % 3 + 1}", "conditions": {"ready": True}}
                          for e in range(endpoints)]}


def put(o):
    print(json.dumps(o, separators=(",", ":")))


for i in range(services):
    put(service(i))
    put(endpoint_slice(i))
print("sync\nmemory")
for c in range(changes):
    i = (c * 7919 + 1) % services
    while i in kept:
        i = (i + 1) % services
    s = endpoint_slice(i)
    s["endpoints"][0]["addresses"] = [f"10.250.{c // 250}.{c % 250 + 1}"]
    put(s)
    print("sync")
print("memory")
