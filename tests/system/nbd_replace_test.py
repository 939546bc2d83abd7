#!/usr/bin/python3
"""NBD clients while `latte serve --replace` puts another server in the place of theirs.

  nbd_replace_test.py --latte BUILD/latte

What they must see: what the server took is answered, with success; then the connection ends, and the new server
takes them as soon as it listens. Needs python3-libnbd and qemu-io (qemu-utils).
"""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cli_test
from nbd_interop_client import FLUSH, READ, WRITE, Raw

BLOCK = 4096
DEPTH = 8
REPLACEMENTS = 3
RECONNECT_LIMIT_S = 20


class Writer(threading.Thread):
    """Keeps DEPTH writes under way, to a block each; connects again when its connection ends, and then asks again for
    what was not answered."""

    def __init__(self, uri):
        super().__init__()
        self.uri = uri
        self.stopped = threading.Event()
        self.versions = [0] * DEPTH
        self.ends = 0
        self.longest_s = 0.0
        self.refused = []  # replies with an error
        self.failure = None

    def run(self):
        try:
            client = Raw(self.uri).go()
            while client is not None:
                client = self.use(client)
        except Exception as failure:  # for the thread that joins
            self.failure = failure

    def content(self, slot):
        return struct.pack("<QQ", slot, self.versions[slot]) * (BLOCK // 16)

    def ask(self, client, slot):
        client.send(WRITE, slot * BLOCK, BLOCK, self.content(slot), cookie=slot + 1)

    def use(self, client):
        """Until the connection ends, or all is answered after `stopped`. Returns the next one, or None."""
        try:
            waiting = set(range(DEPTH))
            for slot in waiting:
                self.ask(client, slot)
            while waiting:
                _, error, cookie = struct.unpack(">IIQ", client.receive(16))
                slot = cookie - 1
                if error:
                    self.refused.append(error)
                waiting.remove(slot)
                if self.stopped.is_set():
                    continue
                self.versions[slot] += 1
                self.ask(client, slot)
                waiting.add(slot)
            return None
        # A reset: the server had not read all that was sent.
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self.ends += 1
            client.socket.close()
            return self.connect()

    def connect(self):
        begin = time.monotonic()
        while True:
            try:
                client = Raw(self.uri).go()
                self.longest_s = max(self.longest_s, time.monotonic() - begin)
                return client
            except (OSError, EOFError):
                if time.monotonic() - begin > RECONNECT_LIMIT_S:
                    raise
                time.sleep(0.002)


class NbdReplaceTest(cli_test.CliCase):
    def replace(self, server):
        newer = self.serve("--replace")
        self.assertEqual(server.wait(timeout=30), 0)
        return newer

    def test_a_client_under_load_goes_on_with_the_new_server(self):
        self.run_latte("create")
        server = self.serve()
        writer = Writer(self.uri())
        writer.start()
        for _ in range(REPLACEMENTS):
            time.sleep(0.3)
            server = self.replace(server)
        time.sleep(0.3)
        writer.stopped.set()
        writer.join(60)
        self.assertFalse(writer.is_alive())
        self.assertIsNone(writer.failure)
        self.assertEqual(writer.refused, [])
        self.assertEqual(writer.ends, REPLACEMENTS)
        self.assertGreater(sum(writer.versions), DEPTH * REPLACEMENTS)
        data = self.get(DEPTH * BLOCK)
        for slot in range(DEPTH):
            self.assertEqual(data[slot * BLOCK:(slot + 1) * BLOCK], writer.content(slot), f"block {slot}")
        print(f"{sum(writer.versions)} writes, {writer.ends} replacements, at most {writer.longest_s * 1000:.0f} ms "
              "to the next connection")
        self.stop(server)

    def test_a_quiet_client_sees_the_end_and_may_come_back_at_once(self):
        self.run_latte("create")
        server = self.serve()
        client = Raw(self.uri()).go()
        client.send(WRITE, 0, BLOCK, b"\x5a" * BLOCK)
        self.assertEqual(client.error(), 0)
        client.send(FLUSH, 0, 0)
        self.assertEqual(client.error(), 0)
        server = self.replace(server)
        self.assertEqual(client.socket.recv(1), b"")
        client = Raw(self.uri()).go()
        client.send(READ, 0, BLOCK)
        self.assertEqual(client.error(), 0)
        self.assertEqual(client.receive(BLOCK), b"\x5a" * BLOCK)
        self.stop(server)

    def test_qemu_reconnects_by_itself(self):
        self.run_latte("create")
        server = self.serve()
        image = {"driver": "raw", "file": {"driver": "nbd", "reconnect-delay": 10, "export": "db",
                 "server": {"type": "unix", "path": f"{self.dir}/a.db"}}}
        qemu = subprocess.Popen(["qemu-io", "-c", "write -P 0x5a 1M 64k", "-c", "sleep 3000", "-c", "read -P 0x5a 1M 64k",
                                 "-c", "write -P 0x6b 2M 64k", "-c", "flush", "json:" + json.dumps(image)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.end, qemu)
        time.sleep(1)
        server = self.replace(server)
        said = qemu.communicate(timeout=60)[0]
        self.assertEqual(qemu.returncode, 0, said)
        self.assertNotIn("error", said)
        self.assertNotIn("verification failed", said)
        self.assertEqual(self.get((2 << 20) + BLOCK)[2 << 20:], b"\x6b" * BLOCK)
        self.stop(server)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latte", required=True)
    known, rest = parser.parse_known_args()
    cli_test.LATTE = os.path.abspath(known.latte)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2, warnings="ignore")
