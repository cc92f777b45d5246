#!/usr/bin/env python3
"""What tests/bench/dns needs of the API.

dns-objects.py names SERVICES              lines of a service's name and its cluster IP
dns-objects.py load PKI SERVICES           makes them, with two endpoints each, and one headless service
dns-objects.py change PKI DNS CHANGES      changes its endpoint; prints p50 and p99 until the DNS answers so
"""
import http.client
import json
import socket
import ssl
import struct
import sys
import threading
import time

WORKERS = 4


def address(i):
    return f"10.{97 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}"


def connect(pki):
    context = ssl.create_default_context(cafile=f"{pki}/ca.crt")
    context.load_cert_chain(f"{pki}/admin.crt", f"{pki}/admin.key")
    return http.client.HTTPSConnection("127.0.0.1", 6443, context=context)


def send(api, method, path, body):
    api.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = api.getresponse()
    text = answer.read()
    if answer.status not in (200, 201):
        sys.exit(f"{method} {path}: {answer.status} {text[:300]}")


def service(name, ip):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]}}


def endpoint_slice(name, ips):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-a", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips]}


SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def load(pki, first, count):
    api = connect(pki)
    for i in range(first, count, WORKERS):
        send(api, "POST", SERVICES, service(f"web-{i}", address(i)))
        send(api, "POST", SLICES, endpoint_slice(f"web-{i}", [f"10.{200 + k}.{i // 250 % 250}.{i % 250 + 1}" for k in (0, 1)]))
    if first == 0:
        send(api, "POST", SERVICES, service("pets", "None"))
        send(api, "POST", SLICES, endpoint_slice("pets", ["10.250.0.1"]))


def question(name):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"
    return struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(">HH", 1, 1)


def change(pki, dns, count):
    api = connect(pki)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((dns, 53))
    s.settimeout(5)
    ask, times = question("pets.default.svc.cluster.local"), []
    for n in range(count):
        ip = f"10.251.{n // 250}.{n % 250 + 1}"
        began = time.monotonic()
        send(api, "PUT", f"{SLICES}/pets-a", endpoint_slice("pets", [ip]))
        while True:
            s.send(ask)
            if socket.inet_aton(ip) in s.recv(1500):
                break
        times.append((time.monotonic() - began) * 1000)
    times.sort()
    print(f"{times[count // 2]:.1f} and {times[int(count * 0.99)]:.1f}")


if sys.argv[1] == "names":
    for i in range(int(sys.argv[2])):
        print(f"web-{i}.default.svc.cluster.local", address(i))
elif sys.argv[1] == "load":
    threads = [threading.Thread(target=load, args=(sys.argv[2], i, int(sys.argv[3]))) for i in range(WORKERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
else:
    change(sys.argv[2], sys.argv[3], int(sys.argv[4]))
