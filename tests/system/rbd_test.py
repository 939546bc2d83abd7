#!/usr/bin/python3
"""Disks whose cloud is a Ceph cluster: what can be wrong with it, fencing, and an OSD that dies.

  rbd_test.py --latte BUILD/latte [--dir DIRECTORY]

Starts a cluster of its own (ceph_cluster.py) in DIRECTORY; needs its packages, and python3-libnbd. Where Ceph
is not installed it ends with status 77, skipped.
"""
import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import nbd

from ceph_cluster import Cluster, missing_programs
from latte_host import END_WAIT_S, Server

LATTE = None
CLUSTER = None
SKIPPED = 77
BLOCK = 4096
DISK_BYTES = 64 << 20
COMMAND_WAIT_S = 120
WRITERS = 8
LARGE = 256 << 10

CONFIG = """[pool]
path = "{pool}"
size = "96MiB"
segment_size = "1MiB"
[[disk]]
name = "db"
size = "{size}"
cloud = "{cloud}"
cloud_log_size = "32MiB"
nbd = "unix:{pool}.sock"
{more}
[control]
socket = "{pool}.ctl"
"""
OTHER_DISK = """[[disk]]
name = "other"
size = "16MiB"
cloud = "rbd:rbd/other-{image}?conf={conf}"
cloud_log_size = "32MiB"
nbd = "unix:{pool}.other.sock"
"""


def stamp(block, version):
    return (b"%016x%016x" % (block, version)) * (BLOCK // 32)


def connect(socket_path, export="db"):
    handle = nbd.NBD()
    handle.connect_uri(f"nbd+unix:///{export}?socket={socket_path}")
    return handle


class RbdCase(unittest.TestCase):
    """A directory, an image name of the test's own, and hosts that share it."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(dir=CLUSTER.dir)
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        self.image = self.id().rsplit(".", 1)[-1].replace("_", "-")
        self.cloud = f"rbd:rbd/{self.image}?conf={CLUSTER.conf}"
        self.log = open(self.dir / "log", "w", encoding="utf-8")
        self.addCleanup(self.log.close)

    def config(self, pool="a", cloud=None, size="64MiB", more=""):
        path = self.dir / f"{pool}.toml"
        path.write_text(CONFIG.format(pool=pool, cloud=cloud or self.cloud, size=size, more=more))
        return str(path)

    def latte(self, command, config, *more, expect=0):
        done = subprocess.run([LATTE, command, "-c", config, *more], capture_output=True, text=True,
                              timeout=COMMAND_WAIT_S, check=False)
        self.assertEqual(done.returncode, expect, f"{command}: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def serve(self, config):
        server = Server(LATTE, config, self.log)
        self.addCleanup(server.kill)
        self.addCleanup(lambda: server.process.poll() is None
                        and server.process.send_signal(signal.SIGCONT))
        return server

    def socket(self, pool="a"):
        return str(self.dir / f"{pool}.sock")

    def checksum(self):
        """Of all that is in both images."""
        digest = hashlib.sha256()
        for image in (self.image, self.image + ".log"):
            with subprocess.Popen(["rbd", "-c", CLUSTER.conf, "export", "--no-progress",
                                   f"rbd/{image}", "-"], stdout=subprocess.PIPE) as export:
                while data := export.stdout.read(1 << 20):
                    digest.update(data)
        return digest.hexdigest()

    def wait_for(self, what, done, limit_s=30):
        deadline = time.time() + limit_s
        while not done():
            self.assertLess(time.time(), deadline, f"{what} did not happen in {limit_s} s")
            time.sleep(0.05)

    def disk(self, server, name="db"):
        return next(disk for disk in server.status()["disks"] if disk["name"] == name)


class Life(RbdCase):
    def test_written_drained_checked(self):
        config = self.config()
        self.assertIn("created in rbd:rbd/", self.latte("create", config))
        self.assertIn("exists in rbd:rbd/", self.latte("create", config))
        server = self.serve(config)
        client = connect(self.socket())
        data = bytes(range(256)) * 4096
        client.pwrite(data, 3 << 20)
        client.pwrite(data[:BLOCK], 20 << 20)
        self.latte("drain", config)
        # Less than librbd's discard granularity, and not where its objects begin.
        client.trim(2 * BLOCK, (3 << 20) + BLOCK)
        client.zero(BLOCK, 20 << 20)
        self.latte("drain", config)
        client.shutdown()
        server.stop()
        self.latte("check", config)
        exported = subprocess.run(["rbd", "-c", CLUSTER.conf, "export", "--no-progress",
                                   f"rbd/{self.image}", "-"], capture_output=True, check=True).stdout
        expected = bytearray(DISK_BYTES)
        expected[3 << 20:(3 << 20) + len(data)] = data
        expected[(3 << 20) + BLOCK:(3 << 20) + 3 * BLOCK] = bytes(2 * BLOCK)
        self.assertTrue(exported == bytes(expected), "the base image is not what was written")

    def test_killed_and_started_again(self):
        config = self.config()
        self.latte("create", config)
        server = self.serve(config)
        client = connect(self.socket())
        for block in range(200):
            client.pwrite(stamp(block, 1), block * BLOCK)
        server.kill()
        # At once: the dead client's lock on the images is still there.
        server = self.serve(config)
        client = connect(self.socket())
        for block in range(200):
            self.assertEqual(bytes(client.pread(BLOCK, block * BLOCK)), stamp(block, 1))
        client.shutdown()
        server.stop()


class Resize(RbdCase):
    def test_image_grows_with_the_disk(self):
        config = self.config()
        self.latte("create", config)
        server = self.serve(config)
        client = connect(self.socket())
        client.pwrite(stamp(1, 1), DISK_BYTES - BLOCK)
        self.latte("resize", config, "db", str(2 * DISK_BYTES))
        client.shutdown()
        client = connect(self.socket())
        self.assertEqual(client.get_size(), 2 * DISK_BYTES)
        self.assertEqual(bytes(client.pread(BLOCK, DISK_BYTES)), bytes(BLOCK))
        client.pwrite(stamp(2, 1), 2 * DISK_BYTES - BLOCK)
        client.flush()
        self.latte("drain", config)
        image = subprocess.run(["rbd", "-c", CLUSTER.conf, "info", "--format", "json", f"rbd/{self.image}"],
                               capture_output=True, check=True, text=True).stdout
        self.assertEqual(json.loads(image)["size"], 2 * DISK_BYTES)
        self.latte("resize", config, "db", str(DISK_BYTES), "--force")
        self.latte("resize", config, "db", str(2 * DISK_BYTES))
        client.shutdown()
        server.kill()
        server = self.serve(config)
        client = connect(self.socket())
        self.assertEqual(bytes(client.pread(BLOCK, 2 * DISK_BYTES - BLOCK)), bytes(BLOCK))
        self.assertEqual(bytes(client.pread(BLOCK, DISK_BYTES - BLOCK)), stamp(1, 1))
        client.shutdown()
        server.stop()
        self.latte("check", config)


class BadInput(RbdCase):
    def refused(self, command, config, *words, expect=1):
        started = time.time()
        out = self.latte(command, config, expect=expect)
        self.assertLess(time.time() - started, 45)
        for word in words:
            self.assertIn(word, out)

    def test_what_is_not_there(self):
        conf = CLUSTER.conf
        self.refused("create", self.config("p", f"rbd:nopool/x?conf={conf}"), "open the pool nopool")
        self.refused("create", self.config("c", "rbd:rbd/x?conf=/nowhere/ceph.conf"),
                     "/nowhere/ceph.conf", "No such file")
        self.refused("create", self.config("u", f"rbd:rbd/x?conf={conf}&id=nobody"), "client.nobody",
                     "profile rbd")
        config = self.config()
        self.latte("create", config)
        self.refused("serve", self.config("a", f"rbd:rbd/another?conf={conf}"),
                     "open the image another", "latte create makes the disk")
        self.assertNotIn("another", CLUSTER.rbd("ls"))

    def test_no_rights(self):
        conf = CLUSTER.user("reader", mon="profile rbd-read-only", osd="profile rbd-read-only pool=rbd")
        self.refused("create", self.config("a", f"rbd:rbd/{self.image}?conf={conf}&id=reader"),
                     "client.reader may not do that", "ceph auth get client.reader")
        conf = CLUSTER.user("latte", mon="profile rbd", osd="profile rbd pool=rbd")
        cloud = f"rbd:rbd/{self.image}?conf={conf}&id=latte"
        first, second = self.config("b", cloud), self.config("c", cloud)
        self.latte("create", first)
        self.latte("create", second)
        server = self.serve(first)
        self.latte("takeover", second, "db")
        self.wait_for("fenced", lambda: self.write_fails())
        self.assertEqual(self.disk(server)["state"], "fenced")

    def write_fails(self):
        try:
            connect(self.socket("b")).pwrite(stamp(0, 1), 0)
        except nbd.Error:
            return True
        return False

    def test_images_that_are_no_disk(self):
        CLUSTER.rbd("create", "--size", "64", f"rbd/{self.image}")
        before = CLUSTER.rbd("info", f"rbd/{self.image}")
        config = self.config()
        self.refused("create", config, "is no Latte disk's; it was left alone")
        self.assertEqual(CLUSTER.rbd("info", f"rbd/{self.image}"), before)
        self.assertNotIn(self.image + ".log", CLUSTER.rbd("ls"))
        self.refused("serve", config, f"open the image {self.image}.log")
        CLUSTER.rbd("rm", f"rbd/{self.image}", "--no-progress")
        self.latte("create", config)
        self.refused("serve", self.config(size="128MiB"), "size is 134217728 bytes", "67108864")
        identity = re.search(r"id: (\S+)", CLUSTER.rbd("info", f"rbd/{self.image}")).group(1)
        subprocess.run(["rados", "-c", CLUSTER.conf, "-p", "rbd", "rm", f"latte_super.{identity}"],
                       check=True)
        self.refused("create", self.config(), "its superblock", identity)

    def test_settings_that_endanger_data(self):
        config = self.config()
        self.latte("create", config)
        CLUSTER.rbd("config", "image", "set", f"rbd/{self.image}", "rbd_cache", "true")
        self.refused("serve", config, "rbd_cache", "rbd config image rm")

    def test_monitor_hangs(self):
        config = self.config()
        self.latte("create", config)
        CLUSTER.signal("mon.a", signal.SIGSTOP)
        try:
            self.refused("serve", config, self.cloud.split("?")[0], "cannot connect")
        finally:
            CLUSTER.signal("mon.a", signal.SIGCONT)


class Fencing(RbdCase):
    def test_stopped_owner_wakes_up(self):
        """SIGSTOP in the middle of writes, take-over, SIGCONT: nothing of the old owner lands."""
        first = self.config("a", more=OTHER_DISK.format(image=self.image, conf=CLUSTER.conf, pool="a"))
        second = self.config("b")
        self.latte("create", first)
        self.latte("create", second)
        old = self.serve(first)
        other = connect(str(self.dir / "a.other.sock"), "other")
        self.errors = []
        writers = [threading.Thread(target=self.write_until_error, args=(number,))
                   for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(2)
        # The OSD holds still while the server sends on, so that much is under way when that is stopped.
        CLUSTER.signal("osd.0", signal.SIGSTOP)
        time.sleep(1)
        old.process.send_signal(signal.SIGSTOP)
        CLUSTER.signal("osd.0", signal.SIGCONT)
        self.latte("takeover", second, "db")
        new = self.serve(second)
        client = connect(self.socket("b"))
        client.pwrite(stamp(1, 77), BLOCK)
        client.flush()
        client.shutdown()
        new.stop()
        before = self.checksum()
        old.process.send_signal(signal.SIGCONT)
        self.wait_for("the old owner's end", lambda: self.disk(old)["state"] == "fenced")
        for writer in writers:
            writer.join(timeout=END_WAIT_S)
            self.assertFalse(writer.is_alive())
        self.assertTrue(self.errors, "the old owner's client saw no error")
        time.sleep(2)
        self.assertEqual(self.checksum(), before, "the old owner wrote after the take-over")
        # The host's other disk does not notice.
        other.pwrite(stamp(2, 5), 2 * BLOCK)
        self.assertEqual(bytes(other.pread(BLOCK, 2 * BLOCK)), stamp(2, 5))
        self.assertEqual(self.disk(old, "other")["state"], "online")

    def write_until_error(self, number):
        handle = connect(self.socket())
        rng = random.Random(number)
        try:
            while True:
                handle.pwrite(rng.randbytes(LARGE), rng.randrange(DISK_BYTES // LARGE) * LARGE)
        except nbd.Error as error:
            self.errors.append(error)


class Outage(RbdCase):
    def test_osd_killed_and_back(self):
        config = self.config()
        self.latte("create", config)
        server = self.serve(config)
        client = connect(self.socket())
        for block in range(300):
            client.pwrite(stamp(block, 1), block * BLOCK)
        CLUSTER.kill_osd()
        restarted = threading.Timer(3, CLUSTER.start_osd)
        restarted.start()
        written = {}
        deadline = time.time() + 4
        version = 2
        while time.time() < deadline:
            block = version % 1000
            client.pwrite(stamp(block, version), block * BLOCK)
            written[block] = version
            version += 1
            time.sleep(0.002)
        restarted.join()
        self.wait_for("the lag's end", lambda: self.disk(server)["lag_seconds"] == 0, 60)
        self.assertEqual(self.disk(server)["state"], "online")
        server.kill()
        # From the cloud alone.
        other = self.config("b")
        self.latte("create", other)
        self.latte("takeover", other, "db")
        server = self.serve(other)
        client = connect(self.socket("b"))
        for block, expected in written.items():
            self.assertEqual(bytes(client.pread(BLOCK, block * BLOCK)), stamp(block, expected))
        server.stop()

    def test_stop_while_the_cluster_is_away(self):
        config = self.config()
        self.latte("create", config)
        server = self.serve(config)
        client = connect(self.socket())
        CLUSTER.kill_osd()
        try:
            client.pwrite(stamp(5, 5), 5 * BLOCK)
            self.wait_for("a stall that shows",
                          lambda: self.disk(server)["state"] == "cloud-stalled", 20)
            self.assertIn("has not answered", self.disk(server)["reason"])
            client.shutdown()
            server.stop()
        finally:
            CLUSTER.start_osd()
        server = self.serve(config)
        self.assertEqual(bytes(connect(self.socket()).pread(BLOCK, 5 * BLOCK)), stamp(5, 5))


class Snapshots(RbdCase):
    """Kept under load, cloned, served; and what is left when something dies in the middle."""

    def setUp(self):
        super().setUp()
        self.blocks = []   # of version i + 1
        self.acked = 0     # highest version acknowledged
        self.ending = threading.Event()

    def both(self, clone="copy", size="64MiB"):
        """A host with the disk, which it does not own, and its clone."""
        more = OTHER_DISK.format(image=self.image, conf=CLUSTER.conf, pool="b")
        more = more.replace('"other"', f'"{clone}"').replace(f"other-{self.image}", f"{self.image}-{clone}")
        return self.config("b", size="64MiB", more=more.replace("16MiB", size))

    def write(self, client):
        rng = random.Random(1)
        with contextlib.suppress(nbd.Error):
            while not self.ending.is_set():
                block = rng.randrange(DISK_BYTES // BLOCK)
                self.blocks.append(block)
                client.pwrite(stamp(block, len(self.blocks)), block * BLOCK)
                self.acked = len(self.blocks)

    def start_writer(self):
        client = connect(self.socket())
        writer = threading.Thread(target=self.write, args=(client,))
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(self.ending.set)
        return writer

    def versions(self, client):
        """What each block holds."""
        data = bytes(client.pread(DISK_BYTES // 2, 0)) + bytes(client.pread(DISK_BYTES // 2, DISK_BYTES // 2))
        found = {}
        for block in range(DISK_BYTES // BLOCK):
            text = data[block * BLOCK:block * BLOCK + 32]
            found[block] = int(text[16:], 16) if text[:1] != b"\0" else 0
        return found

    def version(self, client):
        return max(self.versions(client).values())

    def expect_prefix(self, client, least):
        """The disk after one of the writes, and not before the one that is `least`."""
        found = self.versions(client)
        newest = max(found.values())
        self.assertGreaterEqual(newest, least)
        expected = dict.fromkeys(found, 0)
        for version, block in enumerate(self.blocks[:newest], 1):
            expected[block] = version
        self.assertEqual(found, expected)

    def clone(self, config, snapshot, name="copy", expect=0):
        done = subprocess.run([LATTE, "clone", "-c", config, "db", snapshot, name], capture_output=True, text=True,
                              timeout=COMMAND_WAIT_S, check=False)
        self.assertEqual(done.returncode, expect, f"clone: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def snapshot(self, config, *words, expect=0):
        done = subprocess.run([LATTE, "snapshot", words[0], "-c", config, "db", *words[1:]], capture_output=True,
                              text=True, timeout=COMMAND_WAIT_S, check=False)
        self.assertEqual(done.returncode, expect, f"snapshot {words}: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def names(self, config):
        return [one["name"] for one in json.loads(self.snapshot(config, "list", "--json"))]

    def serve_clone(self, config):
        self.latte("create", config)
        server = Server(LATTE, config, self.log, "--standby")
        self.addCleanup(server.kill)
        return server

    def test_kept_under_load_and_cloned(self):
        config = self.config()
        self.latte("create", config)
        self.serve(config)
        writer = self.start_writer()
        time.sleep(1)
        least = self.acked
        self.snapshot(config, "create", "first")
        time.sleep(0.5)
        self.snapshot(config, "create", "second")
        self.ending.set()
        writer.join()
        self.assertEqual(self.names(config), ["first", "second"])
        self.assertIn("first", self.snapshot(config, "list"))
        self.assertIn("already", self.snapshot(config, "create", "first", expect=1))
        self.assertIn("letters", self.snapshot(config, "create", "a/b", expect=1))
        self.assertIn("no snapshot", self.snapshot(config, "rm", "none", expect=1))
        # Somebody else's snapshot of the image is not touched.
        CLUSTER.rbd("snap", "create", f"rbd/{self.image}@foreign", "--no-progress")
        self.assertIn("left alone", self.snapshot(config, "create", "foreign", expect=1))
        self.assertEqual(self.names(config), ["first", "second"])
        self.assertIn("correct its size", self.clone(self.both(size="32MiB"), "first", expect=1))
        self.assertNotIn("copy", CLUSTER.rbd("ls"))
        host = self.both()
        self.assertIn("no snapshot", self.clone(host, "third", expect=1))
        self.assertIn("exists", self.clone(host, "first", "db", expect=1))
        self.clone(host, "first")
        self.assertIn("exists", self.clone(host, "second", expect=1))
        self.serve_clone(host)
        client = connect(str(self.dir / "b.other.sock"), "copy")
        self.expect_prefix(client, least)
        # Neither changes the other.
        client.pwrite(bytes(BLOCK), self.blocks[0] * BLOCK)
        client.flush()
        self.expect_prefix(connect(self.socket()), self.acked)
        self.snapshot(config, "rm", "first")
        self.assertEqual(self.names(config), ["second"])
        self.assertEqual(bytes(client.pread(BLOCK, self.blocks[0] * BLOCK)), bytes(BLOCK))
        client.pread(DISK_BYTES // 2, 0)

    def test_killed_in_the_middle(self):
        config = self.config()
        self.latte("create", config)
        server = self.serve(config)
        for number in range(6):
            self.ending.clear()
            writer = self.start_writer()
            time.sleep(0.3)
            order = subprocess.Popen([LATTE, "snapshot", "create", "-c", config, "db", "s"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.random() * 0.25)
            server.kill()
            self.ending.set()
            writer.join()
            made = order.wait() == 0
            server = self.serve(config)
            if made:
                self.assertEqual(self.names(config), ["s"], f"round {number}")
            if self.names(config) == ["s"]:
                self.snapshot(config, "rm", "s")
        client = connect(self.socket())
        for half in range(2):
            client.zero(DISK_BYTES // 2, half * DISK_BYTES // 2)
        client.shutdown()
        self.blocks, self.acked = [], 0
        self.ending.clear()
        writer = self.start_writer()
        time.sleep(0.5)
        least = self.acked
        self.snapshot(config, "create", "s")
        self.ending.set()
        writer.join()
        host = self.both()
        cloning = subprocess.Popen([LATTE, "clone", "-c", host, "db", "s", "copy"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.1 + random.random() * 0.6)
        cloning.kill()
        cloning.wait()
        # The cluster counts who was killed as a client for half a minute, and may not remove its images before.
        deadline = time.time() + 150
        while True:
            done = subprocess.run([LATTE, "clone", "-c", host, "db", "s", "copy"], capture_output=True, text=True,
                                  check=False)
            # Killed behind its last step, it was made.
            if done.returncode == 0 or "exists" in done.stderr:
                break
            self.assertLess(time.time(), deadline, done.stderr)
            time.sleep(1)
        self.serve_clone(host)
        self.expect_prefix(connect(str(self.dir / "b.other.sock"), "copy"), least)

    def roll_back(self, config, snapshot):
        return [LATTE, "snapshot", "rollback", "-c", config, "db", snapshot]

    def test_rolled_back(self):
        config = self.config()
        self.latte("create", config)
        server = self.serve(config)
        snapshots = {}
        for name in ("early", "late"):
            writer = self.start_writer()
            time.sleep(0.7)
            least = self.acked
            self.snapshot(config, "create", name)
            self.ending.set()
            writer.join()
            self.ending.clear()
            snapshots[name] = least
        done = subprocess.run(self.roll_back(config, "early"), capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, "handover" in done.stderr), (1, True), done.stderr)
        self.expect_prefix(connect(self.socket()), self.acked)
        # Killed anywhere, it is nobody's disk or the one that was handed over, until it is done.
        self.latte("handover", config, "db")
        self.assertIn("no snapshot", self.snapshot(config, "rollback", "none", expect=1))
        refused = 0
        for _ in range(4):
            going = subprocess.Popen(self.roll_back(config, "early"), stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            time.sleep(0.1 + random.random() * 0.9)
            going.kill()
            going.wait()
            taken = subprocess.run([LATTE, "takeover", "-c", config, "db"], capture_output=True, text=True,
                                   check=False)
            if taken.returncode == 0:
                least = 0 if self.version(connect(self.socket())) < self.acked else self.acked
                self.expect_prefix(connect(self.socket()), least)
                self.latte("handover", config, "db")
            else:
                self.assertIn("rollback", taken.stderr)
                refused += 1
        print(f"{refused} of 4 interrupted rollbacks left no disk", flush=True)
        for name in ("early", "late", "early"):
            self.snapshot(config, "rollback", name)
            self.latte("takeover", config, "db")
            self.assertEqual(self.names(config), ["early", "late"])
            client = connect(self.socket())
            self.expect_prefix(client, snapshots[name])
            if name == "early":
                self.assertLess(self.version(client), snapshots["late"])
            client.shutdown()
            self.latte("handover", config, "db")
        self.latte("takeover", config, "db")
        server.stop()
        self.latte("check", config)

    def test_what_killed_clones_leave(self):
        config = self.config()
        self.latte("create", config)
        self.serve(config)
        self.snapshot(config, "create", "s")
        host = self.both()
        copy = f"rbd/{self.image}-copy"
        CLUSTER.rbd("create", "--size", "64M", copy)
        self.assertIn("left alone", self.clone(host, "s", expect=1))
        # With its note, an empty image without a mark is a clone's; with something in it, it is not.
        CLUSTER.rados("create", f"latte_clone.{self.image}-copy")
        CLUSTER.rbd("bench", copy, "--io-type", "write", "--io-size", "4K", "--io-total", "4K")
        self.assertIn("left alone", self.clone(host, "s", expect=1))
        CLUSTER.rbd("rm", "--no-progress", copy)
        for image in (copy, copy + ".log"):
            CLUSTER.rbd("create", "--size", "64M", image)
        # A name without an image.
        found = json.loads(CLUSTER.rbd("info", "--format", "json", copy))
        CLUSTER.rados("rm", f"rbd_header.{found['id']}")
        self.clone(host, "s")
        self.serve_clone(host)
        self.expect_prefix(connect(str(self.dir / "b.other.sock"), "copy"), 0)
        self.assertNotIn("latte_clone", CLUSTER.rados("ls"))

    def test_only_rbd_has_them(self):
        config = self.config("f", cloud="file:cloud-f")
        self.latte("create", config)
        self.serve(config)
        self.assertIn("has no snapshots", self.snapshot(config, "create", "s", expect=1))
        self.assertIn("only disks on rbd", self.clone(config, "s", "db", expect=1))


def main():
    global LATTE, CLUSTER
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--dir", default=None, help="where to work; a short path")
    options, rest = parser.parse_known_args()
    LATTE = os.path.abspath(options.latte)
    if missing := missing_programs():
        print(f"skipped: {', '.join(missing)} not installed (tools/install-deps test)")
        sys.exit(SKIPPED)
    directory = tempfile.mkdtemp(prefix="latte-ceph-", dir=options.dir)
    CLUSTER = Cluster(directory)
    try:
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(CLUSTER.stop)
            started = time.time()
            CLUSTER.start()
            print(f"Ceph started in {time.time() - started:.1f} s", flush=True)
            result = unittest.main(argv=[sys.argv[0], "-v", *rest], exit=False).result
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
