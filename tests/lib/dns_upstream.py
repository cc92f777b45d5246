"""A DNS server that behaves as the first label of a name says: dns_upstream.py ADDRESS LOG [BACK].

Each question is a line in LOG: "udp NAME TYPE" or "tcp NAME TYPE". BACK is whom loop.* is passed on to.
"""
import socket
import struct
import sys
import threading
import time

ADDRESS, LOG = sys.argv[1], open(sys.argv[2], "a", buffering=1)
BACK = sys.argv[3] if len(sys.argv) > 3 else None
A, SOA, TXT, CNAME = 1, 6, 16, 5


def wire(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".") if x) + b"\0"


def rr(name, kind, ttl, data):
    return wire(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def a(name, address, ttl=60):
    return rr(name, A, ttl, socket.inet_aton(address))


def soa():
    return rr("example", SOA, 60, wire("ns.example") + wire("m.example") + struct.pack(">IIIII", 1, 2, 3, 4, 60))


def message(head, question, answers, rcode=0, authority=(), flags=0x8180):
    counts = struct.pack(">HHHH", 1, len(answers), len(authority), 0)
    return head + struct.pack(">H", flags | rcode) + counts + question + b"".join(answers) + b"".join(authority)


def parse(data):
    at, labels = 12, []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += data[at] + 1
    kind = struct.unpack(">H", data[at + 1:at + 3])[0]
    return data[:2], ".".join(labels), kind, data[12:at + 5]


def replies(data, tcp):
    """The messages to send, in order."""
    head, name, kind, question = parse(data)
    print("tcp" if tcp else "udp", name, kind, file=LOG)
    what = name.lower().split(".")[0]
    if what == "silent":
        return []
    if what == "slow":
        time.sleep(0.5)
    if what == "nx":
        return [message(head, question, [], 3, [soa()])]
    if what == "servfail":
        return [message(head, question, [], 2)]
    if what == "loop":
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(3)
        s.sendto(data, (BACK, 53))
        return [s.recv(4096)]
    if what == "big":
        if not tcp:
            return [message(head, question, [], flags=0x8380)]
        return [message(head, question, [a(name, "198.51.100.%d" % i) for i in range(200)])]
    good = [message(head, question, [a(name, "192.0.2.1")])]
    if what == "who":
        return [message(head, question, [a(name, ADDRESS)])]
    if what == "lies":
        other = bytes([head[0] ^ 1, head[1]])
        bad = [a(name, "192.0.2.66")]
        return [b"", b"junk", message(other, question, bad), message(head, wire("x.example") + question[-4:], bad),
                message(head, question, bad, flags=0x0100)] + good
    if what == "evil":
        return [message(head, question, [a("bank.example", "192.0.2.66"), rr(name, CNAME, 60, wire("real.example")),
                                         a("real.example", "192.0.2.1")],
                        0, [a("ns.example", "192.0.2.66")])]
    return good if kind == A else [message(head, question, [], 0, [soa()])]


def udp(s, data, peer):
    for reply in replies(data, False):
        s.sendto(reply, peer)


def tcp(c):
    with c:
        n = struct.unpack(">H", c.recv(2))[0]
        data = c.recv(n)
        for reply in replies(data, True):
            c.sendall(struct.pack(">H", len(reply)) + reply)


def tcp_server(s):
    while True:
        threading.Thread(target=tcp, args=(s.accept()[0],), daemon=True).start()


t = socket.create_server((ADDRESS, 53))
threading.Thread(target=tcp_server, args=(t,), daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind((ADDRESS, 53))
print("ready", file=LOG)
while True:
    message_in, sender = u.recvfrom(4096)
    threading.Thread(target=udp, args=(u, message_in, sender), daemon=True).start()
