#!/usr/bin/python3
"""Local disks as other tools see them: configuration, create, serve, resize, latte volume, status, check.

  local_disk_test.py --latte BUILD/latte

Needs nbdinfo and nbdcopy (libnbd-bin).
"""

import argparse
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cli_test

MIB = 1 << 20
CONFIG = """
[pool]
path = "pool.img"
size = "12MiB"
volumes = "64MiB"
{hybrid}
[[disk]]
name = "fast"
kind = "local"
size = "16MiB"
nbd = "unix:{dir}/a.fast"
[[disk]]
name = "thin"
kind = "local"
size = "200MiB"
thin = true
nbd = "unix:{dir}/a.thin"
[control]
socket = "{dir}/a.ctl"
http = "127.0.0.1:{port}"
"""
HYBRID = """
[[disk]]
name = "db"
size = "16MiB"
cloud = "file:cloud/db"
cloud_log_size = "64MiB"
nbd = "unix:{dir}/a.db"
"""


class LocalDiskCase(cli_test.CliCase):
    hybrid = ""

    def write_config(self, name, pool, sock):
        path = self.dir / name
        path.write_text(CONFIG.format(dir=self.dir, port=self.port, hybrid=self.hybrid.format(dir=self.dir)))
        return path

    def volume(self, action, *more, expect=0):
        done = subprocess.run([cli_test.LATTE, "volume", action, "-c", str(self.config), *more],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, expect, f"volume {action}: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def volumes(self):
        return {v["name"]: v for v in json.loads(self.volume("ls", "--json"))}

    def size(self, disk):
        return int(subprocess.run(["nbdinfo", "--size", self.uri(disk)], check=True, text=True,
                                  capture_output=True, timeout=30).stdout)


class LocalDiskTest(LocalDiskCase):
    def test_life_of_local_disks_alone(self):
        out = self.run_latte("create")
        self.assertIn("disk fast: created on the pool's device, 16 MiB, thick", out)
        self.assertIn("disk thin: created on the pool's device, 200 MiB, thin", out)
        out = self.run_latte("create")
        self.assertEqual(out.count("exists"), 3)
        self.assertIn("clean", self.run_latte("check"))
        server = self.serve()
        data = os.urandom(3 * MIB)
        for disk in ("fast", "thin"):
            self.put(data, disk)
            self.assertEqual(self.get(len(data), disk), data)
        self.assertIn("latte volume create", self.run_latte("create", expect=1))
        # Killed, not stopped: what was flushed is there.
        self.end(server)
        server = self.serve()
        for disk in ("fast", "thin"):
            self.assertEqual(self.get(len(data) + MIB, disk), data + bytes(MIB))
        self.stop(server)
        self.assertIn("clean", self.run_latte("check"))

    def test_serve_refuses_a_disk_without_its_volume(self):
        self.run_latte("create")
        self.volume("rm", "fast")
        self.assertIn("disk fast: volume fast", self.run_latte("serve", expect=1))
        server = self.serve("--keep-going")
        status = {d["name"]: d for d in self.status()["disks"]}
        self.assertEqual(status["fast"]["state"], "failed")
        self.assertEqual(status["thin"]["state"], "online")
        self.stop(server)
        self.assertIn("disk fast: created", self.run_latte("create"))

    def test_volume_commands_with_and_without_a_server(self):
        self.run_latte("create")
        server = None
        for _ in range(2):
            self.volume("create", "extra", "8MiB")
            self.volume("create", "extra", "8MiB", expect=1)
            self.volume("create", "huge", "1GiB", expect=1)
            self.volume("create", "huge", "1 foot", expect=2)
            self.volume("create", "late", "1GiB", "--thin")
            volumes = self.volumes()
            self.assertEqual(volumes["extra"]["allocated_bytes"], 8 * MIB)
            self.assertEqual(volumes["late"]["allocated_bytes"], 0)
            self.assertEqual(volumes["fast"]["served"], server is not None)
            self.assertIn("thick", self.volume("ls"))
            self.volume("resize", "extra", "12MiB")
            self.assertIn("--force", self.volume("resize", "extra", "4MiB", expect=1))
            self.volume("resize", "extra", "4MiB", "--force")
            self.assertEqual(self.volumes()["extra"]["size_bytes"], 4 * MIB)
            self.volume("rm", "extra")
            self.volume("rm", "late")
            self.volume("rm", "extra", expect=1)
            if server is None:
                server = self.serve()
        self.assertIn("served", self.volume("rm", "fast", expect=1))
        self.stop(server)

    def test_a_disk_grows_under_its_client(self):
        self.run_latte("create")
        server = self.serve()
        data = os.urandom(MIB)
        self.put(data, "fast")
        self.volume("resize", "fast", "24MiB")
        self.assertEqual(self.size("fast"), 24 * MIB)
        self.assertEqual(self.get(24 * MIB, "fast"), data + bytes(23 * MIB))
        self.stop(server)
        # The volume's size counts from now on, and it is said.
        server = self.serve()
        self.assertEqual(self.size("fast"), 24 * MIB)
        self.assertIn("the volume counts", (self.dir / "serve.err").read_text())
        self.stop(server)

    def test_status_and_metrics(self):
        self.run_latte("create")
        server = self.serve()
        self.put(os.urandom(2 * MIB), "thin")
        status = self.status()
        self.assertEqual(status["volumes"]["size_bytes"] - status["volumes"]["free_bytes"], 18 * MIB)
        disks = {d["name"]: d for d in status["disks"]}
        self.assertEqual(disks["thin"]["kind"], "local")
        self.assertEqual(disks["thin"]["allocated_bytes"], 2 * MIB)
        self.assertEqual(disks["thin"]["write_bytes"], 2 * MIB)
        for absent in ("cloud", "lag_seconds", "generation", "durability"):
            self.assertNotIn(absent, disks["thin"])
        text = self.run_latte("status")
        self.assertIn("disk thin: online, 200 MiB, local", text)
        self.assertIn("2 MiB allocated, thin", text)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode()
        self.assertIn('latte_disk_allocated_bytes{disk="thin"} 2097152', metrics)
        self.assertNotIn('latte_disk_lag_seconds{disk="thin"}', metrics)
        connection.request("GET", "/")
        self.assertIn("local", connection.getresponse().read().decode())
        connection.close()
        self.assertIn("local", self.run_latte("drain", "thin", expect=2))
        self.run_latte("drain")
        self.stop(server)
        self.assertIn("local", self.run_latte("takeover", "thin", expect=2))

    def test_check_finds_damage_and_the_others_go_on(self):
        self.run_latte("create")
        pool = self.dir / "pool.img"
        area = 12 * MIB
        with open(pool, "r+b") as image:
            image.seek(area + 200)
            image.write(b"\xff")
        self.assertIn("note:", self.run_latte("check"))
        self.stop(self.serve())
        self.assertNotIn("note:", self.run_latte("check"))
        with open(pool, "r+b") as image:
            for copy in range(2):  # the table's only block
                image.seek(area + 65536 + copy * 4096 + 200)
                image.write(b"\xff" * 8)
        self.assertIn("both copies of block 0", self.run_latte("check", expect=1))
        self.assertIn("latte volume rm", self.run_latte("serve", expect=1))


class MixedTest(LocalDiskCase):
    hybrid = HYBRID

    def test_hybrid_disks_beside_local_ones(self):
        self.run_latte("create")
        server = self.serve()
        data = {disk: os.urandom(2 * MIB) for disk in ("db", "fast", "thin")}
        for disk, content in data.items():
            self.put(content, disk)
        self.run_latte("drain")
        self.stop(server, signal.SIGINT)
        self.assertIn("clean", self.run_latte("check"))
        server = self.serve()
        for disk, content in data.items():
            self.assertEqual(self.get(len(content), disk), content)
        kinds = {d["name"]: d["kind"] for d in self.status()["disks"]}
        self.assertEqual(kinds, {"db": "hybrid", "fast": "local", "thin": "local"})
        self.stop(server)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latte", required=True)
    options, rest = parser.parse_known_args()
    cli_test.LATTE = options.latte
    unittest.main(argv=[sys.argv[0], *rest], module=sys.modules[__name__], verbosity=2)
