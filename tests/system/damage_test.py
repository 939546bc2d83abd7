#!/usr/bin/python3
"""Pools and cloud volumes that are not what they should be: what `latte check` and `latte serve` say
and do about them, and that the other disks go on.

  damage_test.py --latte BUILD/latte

Needs nbdcopy (libnbd-bin). The test of a full file system mounts a small tmpfs; without the right to do
so it is skipped.
"""

import os
import random
import shutil
import struct
import subprocess
import time

import cli_test
from cli_test import CliCase

BLOCK = 4096
FIRST_SEGMENT = 64 << 10
VERSION_AT, CRC_AT = 8, 12


def crc32c(data):
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class DamageTest(CliCase):
    def setUp(self):
        super().setUp()
        self.run_latte("create")

    def log_of(self, disk):
        return self.dir / "cloud" / disk / "log"

    def fill(self, disk="db", size=2 << 20):
        """Data that is in the pool and in the cloud's log; the server has stopped."""
        data = os.urandom(size)
        server = self.serve()
        self.put(data, disk)
        self.put(data[:BLOCK], disk)  # its record says that all before it was flushed
        self.wait_for(lambda disk: disk["dirty_bytes"] == 0, disk)
        self.stop(server)
        return data

    def wait_for(self, wanted, name="db"):
        """Until the status of the disk is as wanted."""
        deadline = time.monotonic() + 60
        while True:
            disk = next(disk for disk in self.status()["disks"] if disk["name"] == name)
            if wanted(disk):
                return
            self.assertLess(time.monotonic(), deadline, disk)
            time.sleep(0.2)

    def set_version(self, path, version=99):
        with open(path, "r+b") as image:
            for at in (0, BLOCK):
                image.seek(at)
                block = bytearray(image.read(BLOCK))
                struct.pack_into("<I", block, VERSION_AT, version)
                struct.pack_into("<I", block, CRC_AT, 0)
                struct.pack_into("<I", block, CRC_AT, crc32c(block))
                image.seek(at)
                image.write(block)

    def patch(self, path, at, data):
        with open(path, "r+b") as image:
            image.seek(at)
            image.write(data)

    def flip(self, path, at):
        with open(path, "r+b") as image:
            image.seek(at)
            byte = image.read(1)[0]
            image.seek(at)
            image.write(bytes([byte ^ 0x10]))

    def offset_of(self, path, part):
        at = path.read_bytes().find(part)
        self.assertGreater(at, 0)
        return at

    def assert_others_go_on(self, broken="db", other="logs"):
        """With --keep-going the broken disk is refused and the other one works."""
        self.assertIn(broken, self.run_latte("serve", expect=1))
        server = self.serve("--keep-going")
        states = {disk["name"]: disk["state"] for disk in self.status()["disks"]}
        self.assertEqual(states, {broken: "failed", other: "online"})
        data = os.urandom(1 << 20)
        self.put(data, other)
        self.assertEqual(self.get(len(data), other), data)
        self.stop(server)

    def test_pool_of_another_version(self):
        self.set_version(self.dir / "pool.img")
        for command, code in (("check", 2), ("serve", 1), ("drain", 1)):
            out = self.run_latte(command, expect=code)
            self.assertIn("format version 99 is not supported", out)
        before = (self.dir / "pool.img").read_bytes()
        self.assertIn("format version 99", self.run_latte("create", expect=1))
        self.assertEqual((self.dir / "pool.img").read_bytes(), before)

    def test_cloud_log_of_another_version(self):
        self.set_version(self.log_of("db"))
        self.assertIn("format version 99 is not supported", self.run_latte("check", expect=1))
        self.assert_others_go_on()

    def test_pool_that_is_none(self):
        for data in (bytes(2 * BLOCK), os.urandom(2 * BLOCK), b"\xff" * 2 * BLOCK):
            self.patch(self.dir / "pool.img", 0, data)
            self.assertIn("pool.img", self.run_latte("check", expect=1))
            self.assertIn("pool.img", self.run_latte("serve", expect=1))

    def test_one_superblock_of_two_is_enough(self):
        data = self.fill()
        self.patch(self.dir / "pool.img", 0, os.urandom(BLOCK))
        self.patch(self.log_of("db"), BLOCK, os.urandom(BLOCK))
        self.assertIn("clean", self.run_latte("check"))
        server = self.serve()
        self.assertEqual(self.get(len(data)), data)
        self.stop(server)

    def test_cloud_log_of_another_disk(self):
        self.fill()
        shutil.copy(self.log_of("logs"), self.log_of("db"))
        self.assertIn("another disk", self.run_latte("check", expect=1))
        self.assert_others_go_on()

    def test_superblock_of_another_disk(self):
        shutil.copy(self.dir / "cloud/logs/super", self.dir / "cloud/db/super")
        out = self.run_latte("check", expect=1)
        self.assertIn("disk db", out)
        self.assert_others_go_on()

    def test_pool_of_another_host(self):
        """Its twin was made elsewhere: the cloud is somebody else's."""
        self.run_latte("create", config=self.other)
        shutil.copy(self.dir / "other.img", self.dir / "pool.img")
        self.assertIn("latte takeover", self.run_latte("serve", expect=1))

    def test_truncated_files(self):
        self.fill()
        for name in ("log", "base", "super", "fence"):
            path = self.dir / "cloud/db" / name
            whole = path.read_bytes()
            for size in (0, len(whole) // 2):
                os.truncate(path, size)
                with self.subTest(name=name, size=size):
                    self.assertIn("cloud/db", self.run_latte("check", expect=1))
                self.assert_others_go_on()
                path.write_bytes(whole)
        self.assertIn("clean", self.run_latte("check"))

    def test_a_bad_block_in_the_cloud_log_is_named_and_does_not_stop_the_disk(self):
        data = self.fill()
        self.flip(self.log_of("db"), self.offset_of(self.log_of("db"), data[5 * BLOCK:6 * BLOCK]) + 7)
        self.assertIn("block 5 ", self.run_latte("check", expect=1))
        server = self.serve()
        self.assertEqual(self.get(len(data)), data)  # the pool has a copy
        self.stop(server)

    def test_a_bad_block_in_the_pool_is_read_from_the_cloud(self):
        data = self.fill()
        pool = self.dir / "pool.img"
        self.flip(pool, self.offset_of(pool, data[9 * BLOCK:10 * BLOCK]) + 7)
        self.assertIn("block 9 ", self.run_latte("check", expect=1))
        server = self.serve()
        self.assertEqual(self.get(len(data)), data)
        self.stop(server)

    def test_a_lost_block_is_an_error_and_never_something_else(self):
        data = self.fill()
        for path in (self.dir / "pool.img", self.log_of("db")):
            self.flip(path, self.offset_of(path, data[3 * BLOCK:4 * BLOCK]) + 7)
        self.assertIn("block 3 ", self.run_latte("check", expect=1))
        server = self.serve()
        out = self.dir / "out"
        failed = subprocess.run(["nbdcopy", self.uri(), str(out)], capture_output=True, timeout=60)
        self.assertNotEqual(failed.returncode, 0)
        # Written again, it is whole again.
        self.put(data)
        self.assertEqual(self.get(len(data)), data)
        self.stop(server)

    def test_random_bytes_flipped_anywhere(self):
        """Errors are fine, wrong data never is; nothing crashes, and every command ends."""
        data = self.fill()
        files = [self.dir / "pool.img", self.log_of("db"), self.dir / "cloud/db/super",
                 self.dir / "cloud/db/fence"]
        whole = {path: path.read_bytes() for path in files}
        base = (self.dir / "cloud/db/base").read_bytes()
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        for turn in range(8):
            path = files[turn % len(files)] if turn >= 4 else files[turn % 2]
            used = min(len(whole[path]), FIRST_SEGMENT + (6 << 20))
            for _ in range(chance.randrange(1, 40)):
                self.flip(path, chance.randrange(used))
            with self.subTest(seed=seed, turn=turn, path=path.name):
                check = subprocess.run([cli_test.LATTE, "check", "-c", str(self.config)],
                                       capture_output=True, text=True, timeout=120)
                self.assertIn(check.returncode, (0, 1, 2), check.stderr)
                serve = self.serve_if_it_can()
                if serve is not None:
                    copy = subprocess.run(["nbdcopy", self.uri(), str(self.dir / "out")],
                                          capture_output=True, timeout=60)
                    if copy.returncode == 0:
                        with open(self.dir / "out", "rb") as out:
                            self.assertEqual(out.read(len(data)), data)
                    self.stop(serve)
            for file, content in whole.items():
                file.write_bytes(content)
            (self.dir / "cloud/db/base").write_bytes(base)

    def serve_if_it_can(self):
        """The server, if it serves at least disk db."""
        with open(self.dir / "serve.err", "w") as err:
            server = subprocess.Popen([cli_test.LATTE, "serve", "-c", str(self.config), "--keep-going"],
                                      stdout=subprocess.PIPE, stderr=err, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(self.end, server)
        if server.stdout.readline() != "ready\n":
            self.assertEqual(server.wait(timeout=30), 1, (self.dir / "serve.err").read_text())
            return None
        if self.status()["disks"][0]["state"] == "failed":
            self.stop(server)
            return None
        return server

    def test_takeover_fences_a_server_that_lives(self):
        self.run_latte("create", config=self.other)
        server = self.serve()
        self.put(os.urandom(1 << 20))
        self.run_latte("takeover", "db", config=self.other)
        subprocess.run(["nbdcopy", "--flush", str(self.dir / "in"), self.uri()],
                       capture_output=True, timeout=60)
        self.wait_for(lambda disk: disk["state"] == "fenced")
        failed = subprocess.run(["nbdcopy", "--flush", str(self.dir / "in"), self.uri()],
                                capture_output=True, timeout=60)
        self.assertNotEqual(failed.returncode, 0)
        data = os.urandom(1 << 20)
        self.put(data, "logs")  # the other disk goes on
        self.assertEqual(self.get(len(data), "logs"), data)
        server.kill()
        server.wait()

    def mount(self, path, size):
        path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)],
                              capture_output=True)
        if done.returncode != 0:
            self.skipTest("may not mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", str(path)], check=True)

    def test_create_on_a_file_system_without_room(self):
        small = self.dir / "small"
        self.mount(small, "32m")
        config = self.write_config("small.toml", "small/pool.img", "c")
        self.assertIn("pool.img", self.run_latte("create", config=config, expect=1))
        self.assertEqual(list(small.iterdir()), [])

    def test_a_full_file_system_under_the_cloud_stops_nobody(self):
        shutil.rmtree(self.dir / "cloud")
        (self.dir / "pool.img").unlink()
        cloud = self.dir / "cloud"
        self.mount(cloud, "24m")
        self.run_latte("create")
        server = self.serve()
        ballast = cloud / "ballast"
        with open(ballast, "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            except OSError:
                pass
        data = os.urandom(8 << 20)
        self.put(data)  # durability "local": the pool has room
        self.assertEqual(self.get(len(data)), data)
        self.wait_for(lambda disk: disk["state"] == "cloud-stalled" and disk["dirty_bytes"] > 0)
        ballast.unlink()
        self.wait_for(lambda disk: disk["state"] == "online" and disk["dirty_bytes"] == 0)
        self.assertEqual(self.get(len(data)), data)
        self.stop(server)


if __name__ == "__main__":
    cli_test.main(__doc__)
