#!/usr/bin/python3
"""A WebSocket client that is not ours (Debian's python3-websocket), for the streaming tests.

ws_client.py [--cert FILE --key FILE] URL PROTOCOL [ACTION…]

Actions, in order: send:CHANNEL:TEXT, end:CHANNEL (v5), wait:BYTES (until the channels have brought
so many), raw:HEX (bytes past the library), close, hold (after the server's Close, keep the
connection until standard input ends). Then everything is read until the connection ends; prints a
line for each channel, "N TEXT" ("|" for newlines, escapes for other control characters), and at last "close CODE", or "end" without a Close.
"""
import argparse
import base64
import ssl
import struct
import sys

import websocket

parser = argparse.ArgumentParser()
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("url")
parser.add_argument("protocol")
parser.add_argument("actions", nargs="*")
args = parser.parse_args()
in_base64 = "base64" in args.protocol
channels = {}
over = None


def receive():
    """Reads one frame into its channel. Sets `over` at the end."""
    global over
    try:
        frame = ws.recv_frame()
    except (websocket.WebSocketException, OSError) as e:
        over = "end" if isinstance(e, (websocket.WebSocketConnectionClosedException, ConnectionResetError)) else f"error {e}"
        return
    if frame.opcode == websocket.ABNF.OPCODE_CLOSE:
        over = f"close {struct.unpack('!H', frame.data[:2])[0] if len(frame.data) >= 2 else 'none'}"
    elif frame.opcode == websocket.ABNF.OPCODE_PING:
        ws.pong(frame.data)
    elif frame.opcode in (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT):
        number = frame.data[0] - (48 if in_base64 else 0)
        data = base64.b64decode(frame.data[1:], validate=True) if in_base64 else frame.data[1:]
        channels.setdefault(number, bytearray()).extend(data)


def send(number, data):
    if in_base64:
        ws.send(str(number) + base64.b64encode(data).decode())
    else:
        ws.send_binary(bytes([number]) + data)


def act(action):
    name, _, rest = action.partition(":")
    if name == "send":
        number, _, text = rest.partition(":")
        send(int(number), text.encode().decode("unicode_escape").encode("latin-1"))
    elif name == "end":
        ws.send_binary(bytes([255, int(rest)]))
    elif name == "wait":
        while over is None and sum(map(len, channels.values())) < int(rest):
            receive()
    elif name == "raw":
        ws.sock.sendall(bytes.fromhex(rest))
    elif name == "close":
        ws.send_close(1000)
    elif name != "hold":
        sys.exit(f"no such action: {action}")


tls = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False, "certfile": args.cert, "keyfile": args.key} if args.cert else None
try:
    ws = websocket.create_connection(
        args.url.replace("http", "ws", 1), timeout=60, sslopt=tls,
        subprotocols=[args.protocol] if args.protocol else None, suppress_origin=True)
except websocket.WebSocketBadStatusException as e:
    print("status", e.status_code)
    sys.exit()
for a in args.actions:
    act(a)
while over is None:
    receive()
if "hold" in args.actions:
    print("held", flush=True)
    sys.stdin.read()
for number in sorted(channels):
    text = channels[number].decode("latin-1").rstrip("\n").replace("\n", "|")
    print(number, text.encode("unicode_escape").decode())
print(over)
