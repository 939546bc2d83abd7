#!/usr/bin/python3
"""NBD clients that misbehave, against a running server: each is dropped or refused, and a well-behaved
client beside them goes on.

Usage: nbd_interop_client.py URI      (nbd+unix:///NAME?socket=PATH or nbd://HOST:PORT/NAME)
"""

import os
import random
import socket
import struct
import sys
import time
import urllib.parse

import nbd

OPTION_MAGIC = b"IHAVEOPT"
OPT_GO, OPT_LIST = 7, 3
READ, WRITE, DISC, FLUSH, WRITE_ZEROES = 0, 1, 2, 3, 6
EINVAL, ENOSPC = 22, 28


class Raw:
    """A client that says exactly what it is told to."""

    def __init__(self, uri):
        parts = urllib.parse.urlparse(uri)
        if parts.scheme == "nbd+unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(20)
            self.socket.connect(urllib.parse.parse_qs(parts.query)["socket"][0])
        else:
            self.socket = socket.create_connection((parts.hostname, parts.port or 10809), 20)
        self.name = parts.path.lstrip("/").encode()

    def receive(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def go(self):
        assert self.receive(18)[:16] == b"NBDMAGICIHAVEOPT"
        data = struct.pack(">I", len(self.name)) + self.name + struct.pack(">H", 0)
        self.socket.sendall(struct.pack(">I", 3) + OPTION_MAGIC +
                            struct.pack(">II", OPT_GO, len(data)) + data)
        while True:
            _, option, kind, length = struct.unpack(">QIII", self.receive(20))
            payload = self.receive(length)
            assert option == OPT_GO
            if kind == 1:
                return self
            assert kind == 3, kind
            if payload[:2] == b"\0\0":
                self.size = struct.unpack(">Q", payload[2:10])[0]
            if payload[:2] == b"\0\3":
                self.minimum = struct.unpack(">I", payload[2:6])[0]

    def send(self, command, offset, length, payload=b"", cookie=1, flags=0, magic=0x25609513):
        self.socket.sendall(struct.pack(">IHHQQI", magic, flags, command, cookie, offset, length) +
                            payload)

    def error(self):
        magic, error, _ = struct.unpack(">IIQ", self.receive(16))
        assert magic == 0x67446698, hex(magic)
        return error

    def dropped(self):
        """True if the server hangs up (within the socket's timeout)."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        return True


def garbage(uri):
    """Random bytes, at every stage."""
    chance = random.Random(4711)
    for _ in range(50):
        client = Raw(uri)
        client.receive(18)
        try:
            client.socket.sendall(b"\0\0\0\3" + chance.randbytes(chance.randrange(16, 5000)))
        except ConnectionError:
            pass
        assert client.dropped()
    for _ in range(50):
        client = Raw(uri).go()
        try:
            client.socket.sendall(chance.randbytes(chance.randrange(4, 5000)))
        except ConnectionError:
            pass
        assert client.dropped()
    client = Raw(uri)
    client.socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.dropped()


def half_way(uri):
    """Hang up in the middle of everything."""
    for cut in range(0, 60, 3):
        client = Raw(uri)
        client.receive(18)
        client.socket.sendall((struct.pack(">I", 3) + OPTION_MAGIC +
                               struct.pack(">II", OPT_LIST, 0) * 3)[:cut])
        client.socket.close()
    for sent in (0, 1, 4096, 1 << 20, (1 << 20) - 1):
        client = Raw(uri).go()
        client.send(WRITE, 0, 1 << 20, b"x" * sent)
        client.socket.close()
    client = Raw(uri).go()
    client.send(READ, client.size, 512)
    client.socket.sendall(struct.pack(">I", 0x25609513))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.error() == EINVAL
    assert client.dropped()


def out_of_bounds(uri):
    client = Raw(uri).go()
    for command, offset, length, error in ((READ, client.size, 512, EINVAL),
                                           (READ, 2**64 - 512, 1024, EINVAL),
                                           (READ, 0, 2**32 - 512, EINVAL),
                                           (WRITE_ZEROES, client.size, 512, ENOSPC),
                                           (77, 0, 512, EINVAL)):
        client.send(command, offset, length)
        assert client.error() == error, (command, offset, length)
    if client.minimum > 1:
        client.send(READ, 1, client.minimum)
        assert client.error() == EINVAL
    client.send(WRITE, client.size - 512, 4096, b"y" * 4096)
    assert client.error() == ENOSPC
    client.send(FLUSH, 0, 0)
    assert client.error() == 0
    client.send(WRITE, 0, 2**31, b"z" * 4096)  # 2 GiB: cannot be skipped
    assert client.dropped()


def never_reads(uri, server_pid):
    """Asks for 6 GB without taking any of it: the server's memory stays bounded."""
    clients = [Raw(uri).go() for _ in range(4)]
    before = resident_mib(server_pid)
    for client in clients:
        client.socket.setblocking(False)
        for number in range(1500):
            try:
                client.send(READ, 0, 1 << 20, cookie=number)
            except BlockingIOError:
                break
    time.sleep(1)
    if server_pid:
        grown = resident_mib(server_pid) - before
        print(f"  memory grew by {grown} MiB for 4 clients")
        assert grown < 4 * 70, grown
    good_client(uri)
    return clients


def resident_mib(pid):
    if not pid:
        return 0
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def good_client(uri):
    handle = nbd.NBD()
    handle.add_meta_context("base:allocation")
    handle.connect_uri(uri)
    data = random.randbytes(1 << 16)
    handle.pwrite(data, 1 << 16)
    handle.flush()
    assert handle.pread(1 << 16, 1 << 16) == data
    if handle.can_meta_context("base:allocation"):
        handle.block_status(1 << 20, 0, lambda *_: 0)
    handle.shutdown()


def multi_conn(uri):
    """What one connection wrote and any flushed, all read."""
    handles = []
    for _ in range(2):
        handle = nbd.NBD()
        handle.connect_uri(uri)
        assert handle.can_multi_conn()
        handles.append(handle)
    for round_number in range(200):
        data = random.randbytes(4096)
        offset = round_number * 4096
        handles[round_number % 2].pwrite(data, offset)
        handles[(round_number + 1) % 2].flush()
        assert handles[(round_number + 1) % 2].pread(4096, offset) == data
    for handle in handles:
        handle.shutdown()


def main():
    uri = sys.argv[1]
    server_pid = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    stuck = never_reads(uri, server_pid)
    for check in (good_client, multi_conn, garbage, half_way, out_of_bounds, good_client):
        print(f"  {check.__name__}")
        check(uri)
    for client in stuck:
        client.socket.close()
    good_client(uri)


if __name__ == "__main__":
    main()
