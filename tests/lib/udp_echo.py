#!/usr/bin/env python3
"""UDP for tests: `serve ADDRESS PORT` answers "PORT:<what came>" for a minute; `ask ADDRESS PORT N` asks N
times, each from a socket of its own, and prints the different answers."""
import socket, sys, time

verb, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if verb == 'serve':
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, port))
    s.settimeout(60)
    while True:
        data, peer = s.recvfrom(100)
        s.sendto(b'%d:' % port + data, peer)
answers = set()
for _ in range(int(sys.argv[4])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    s.sendto(b'hi', (address, port))
    answers.add(s.recv(100).decode())
print(' '.join(sorted(answers)))
