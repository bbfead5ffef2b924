#!/usr/bin/env python
"""What the tool of that name begins with: a broker is asked which requests it takes."""

# ApiVersions, version 0: https://kafka.apache.org/protocol#The_Messages_ApiVersions
import socket
import sys

host, _, port = sys.argv[-1].partition(":")
with socket.create_connection((host, int(port)), timeout=5) as connection:
    request = b"\0\x12\0\0" + bytes(4) + b"\0\5assay"
    connection.sendall(len(request).to_bytes(4, "big") + request)
    answer = connection.makefile("rb").read(10)
assert answer[8:10] == b"\0\0", answer
