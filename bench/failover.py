#!/usr/bin/python3
"""Fail-over between two hosts that share a disk in a Ceph cluster: how long from the order to the first
served read, what of the acknowledged writes is missing, and whether the old host still writes.

  failover.py --latte build/release/latte --dir DIRECTORY --how kill|stop|handover|outage [--rounds 20]
              [--durability local|cloud] [--gib 4]

Two servers: one has the disk and is written to, the other stands by. Each round the first is killed (SIGKILL)
or stopped (SIGSTOP) in the middle of the writes, `latte takeover` orders the disk to the other, and a client
reads there. The content must be a prefix of the writes. A stopped host is then continued: it must find
itself fenced, and between two moments before and after that no object of the images may change. The
next round goes the other way. DIRECTORY keeps cluster and disk between runs.

handover: the disk is handed over and adopted under load; the pause is from the last write acknowledged by the
one host to the first by the other, and nothing may be missing. outage: the OSD is away for 60 s under a steady
load; the longest write, and how long after it the lag is below max_lag.
"""
import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time

import nbd

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "tests", "system"))
from ceph_cluster import Cluster  # noqa: E402
from latte_host import Server  # noqa: E402

BLOCK = 4096
MAX_LAG_S = 2
WRITTEN_BLOCKS = 16384
FLUSH_EVERY = 32
UNAPPLIED_BYTES = 512 << 20
FENCE_WAIT_S = 30
IDLE_WAIT_S = 60
OUTAGE_S = 60
STEADY_PAUSE_S = 0.002
IMAGES = ("db", "db.log")

CONFIG = """[pool]
path = "{host}.pool"
size = "1GiB"
[[disk]]
name = "db"
size = "{gib}GiB"
cloud = "rbd:rbd/db?conf={conf}"
cloud_log_size = "1536MiB"
durability = "{durability}"
max_lag = "{lag}s"
nbd = "unix:{host}.sock"
[control]
socket = "{host}.ctl"
"""


def stamp(block, version):
    return (b"%016x%016x" % (block, version)) * (BLOCK // 32)


def version_of(data):
    return int(data[16:32], 16) if data[:1] != b"\0" else 0


class Writer:
    """Stamped blocks in order of version, with the time of each acknowledgement."""

    def __init__(self):
        self.blocks = []   # of version i + 1
        self.acked = []    # its time
        self.flushed = 0   # highest version before a completed flush

    def write_until_gone(self, uri, ending):
        handle = nbd.NBD()
        handle.connect_uri(uri)
        rng = random.Random(len(self.blocks))
        with contextlib.suppress(nbd.Error):
            while not ending.is_set():
                block = rng.randrange(WRITTEN_BLOCKS)
                self.blocks.append(block)
                handle.pwrite(stamp(block, len(self.blocks)), block * BLOCK)
                self.acked.append(time.time())
                if len(self.blocks) % FLUSH_EVERY == 0:
                    handle.flush()
                    self.flushed = len(self.blocks)

    def cut_at(self, handle):
        """The version up to which the disk has all writes and none after. Raises if there is none."""
        found = {}
        for first in range(0, WRITTEN_BLOCKS, 256):
            data = bytes(handle.pread(256 * BLOCK, first * BLOCK))
            for i in range(256):
                found[first + i] = version_of(data[i * BLOCK:i * BLOCK + 32])
        newest = max(found.values())
        expected = {}
        for version, block in enumerate(self.blocks[:newest], 1):
            expected[block] = version
        for block, version in found.items():
            if expected.get(block, 0) != version:
                raise AssertionError(f"no prefix: block {block} has version {version}, and version "
                                     f"{newest} is there, so {expected.get(block, 0)} should be")
        return newest

    def forget_after(self, version):
        del self.blocks[version:], self.acked[version:]
        self.flushed = min(self.flushed, version)


def handover(hosts, old, writer):
    """Returns the new owner and the pause in seconds."""
    new = "b" if old == "a" else "a"
    ending = threading.Event()
    thread = threading.Thread(target=writer.write_until_gone, args=(hosts.uri(old), ending))
    thread.start()
    time.sleep(1.5)
    hosts.latte("handover", "-c", hosts.config(old), "db")
    hosts.latte("takeover", "-c", hosts.config(new), "db")
    handle = nbd.NBD()
    handle.connect_uri(hosts.uri(new))
    handle.pwrite(bytes(BLOCK), WRITTEN_BLOCKS * BLOCK)
    pause = time.time() - writer.acked[-1]
    thread.join()
    cut = writer.cut_at(handle)
    handle.shutdown()
    if cut < len(writer.acked):
        raise AssertionError(f"{len(writer.acked) - cut} acknowledged writes are lost")
    writer.forget_after(cut)
    return new, pause


def outage(hosts, owner):
    """Returns the longest write in seconds, and the time from the OSD's return to a lag below max_lag."""
    handle = nbd.NBD()
    handle.connect_uri(hosts.uri(owner))
    ending, longest, count = threading.Event(), [0.0], [0]

    def write():
        while not ending.is_set():
            started = time.time()
            handle.pwrite(stamp(count[0], 1), count[0] % WRITTEN_BLOCKS * BLOCK)
            longest[0] = max(longest[0], time.time() - started)
            count[0] += 1
            time.sleep(STEADY_PAUSE_S)

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(3)
    hosts.cluster.kill_osd()
    time.sleep(OUTAGE_S)
    seen = hosts.disk(owner)
    print(f"after {OUTAGE_S} s: {seen['state']}, lag {seen['lag_seconds']:.1f} s, {seen['reason']}", flush=True)
    hosts.cluster.start_osd()
    back = time.time()
    while hosts.disk(owner)["lag_seconds"] >= MAX_LAG_S:
        time.sleep(0.05)
    caught_up = time.time() - back
    time.sleep(2)
    ending.set()
    thread.join()
    return longest[0], caught_up, count[0]


class Hosts:
    def __init__(self, options):
        self.options = options
        self.dir = options.dir
        self.cluster = Cluster(os.path.join(self.dir, "ceph"), store_gib=16)
        self.servers = {}
        self.place = 0
        self.log = open(os.path.join(self.dir, "log"), "a", encoding="utf-8")

    def config(self, host):
        path = os.path.join(self.dir, f"{host}.toml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(host=host, gib=self.options.gib, conf=self.cluster.conf, lag=MAX_LAG_S,
                                    durability=self.options.durability))
        return path

    def uri(self, host):
        return f"nbd+unix:///db?socket={self.dir}/{host}.sock"

    def latte(self, *words):
        done = subprocess.run([self.options.latte, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"latte {' '.join(words)}: {done.stderr}")
        return done.stdout

    def serve(self, host):
        self.servers[host] = Server(self.options.latte, self.config(host), self.log, "--standby")

    def disk(self, host):
        return self.servers[host].status()["disks"][0]

    def bring_up(self):
        fresh = not os.path.exists(self.cluster.conf)
        self.cluster.start() if fresh else self.cluster.start_again()
        for host in ("a", "b"):
            self.latte("create", "-c", self.config(host))
            self.serve(host)
        owner = next((h for h in ("a", "b") if self.disk(h)["state"] == "online"), None)
        if owner is None:
            owner = "a"
            self.latte("takeover", "-c", self.config(owner), "db")
        if fresh:
            self.fill(owner)
        return owner

    def fill(self, host):
        """Data all over the disk."""
        handle = nbd.NBD()
        handle.connect_uri(self.uri(host))
        data = os.urandom(1 << 20)
        for offset in range(0, self.options.gib << 30, len(data)):
            handle.pwrite(data, offset)
        handle.zero(WRITTEN_BLOCKS * BLOCK, 0)
        handle.flush()
        handle.shutdown()

    def leave_unapplied(self, host):
        """Writes until the cloud log holds as much as wanted that the base does not have."""
        handle = nbd.NBD()
        handle.connect_uri(self.uri(host))
        data = os.urandom(1 << 20)
        while (missing := UNAPPLIED_BYTES - self.disk(host)["unapplied_bytes"]) > 0:
            for _ in range(min(64, (missing >> 20) + 1)):
                self.place = (self.place + len(data)) % (UNAPPLIED_BYTES + (64 << 20))
                handle.pwrite(data, (1 << 30) + self.place)
            handle.flush()
            time.sleep(0.2)
        handle.flush()
        handle.shutdown()

    def close(self):
        for server in self.servers.values():
            server.process.send_signal(signal.SIGCONT)
            server.kill()
        self.cluster.stop()
        self.log.close()

    def snapshot(self, name, action):
        for image in IMAGES:
            self.cluster.rbd("snap", action, f"rbd/{image}@{name}", "--no-progress")

    def changed_since(self, name):
        return [image for image in IMAGES if json.loads(self.cluster.rbd(
            "diff", "--from-snap", name, f"rbd/{image}", "--format", "json"))]


class Round:
    def __init__(self, hosts, old, writer):
        self.hosts, self.old, self.writer = hosts, old, writer
        self.new = "b" if old == "a" else "a"

    def play(self):
        """Returns (seconds to the first read, age of the oldest lost write, bytes not applied)."""
        hosts, writer = self.hosts, self.writer
        ending = threading.Event()
        thread = threading.Thread(target=writer.write_until_gone, args=(hosts.uri(self.old), ending))
        thread.start()
        time.sleep(1.5 + random.random())
        unapplied = hosts.disk(self.old)["unapplied_bytes"]
        process = hosts.servers[self.old].process
        stopped = hosts.options.how == "stop"
        process.send_signal(signal.SIGSTOP if stopped else signal.SIGKILL)
        gone = time.time()
        hosts.latte("takeover", "-c", hosts.config(self.new), "db")
        handle = nbd.NBD()
        handle.connect_uri(hosts.uri(self.new))
        handle.pread(BLOCK, (1 << 30) + (len(writer.blocks) % 1000) * BLOCK)
        took = time.time() - gone
        if not stopped:
            process.wait()
            thread.join()
        cut = writer.cut_at(handle)
        age = max(0.0, gone - writer.acked[cut]) if cut < len(writer.acked) else 0.0
        if hosts.options.durability == "cloud" and cut < writer.flushed:
            raise AssertionError(f"flushed writes {cut + 1} to {writer.flushed} are lost")
        if age > MAX_LAG_S:
            raise AssertionError(f"a write {age:.2f} s old is lost, max_lag is {MAX_LAG_S} s")
        if stopped:
            self.wake_the_old(process)
            ending.set()
            thread.join()
        else:
            hosts.serve(self.old)
        handle.shutdown()
        writer.forget_after(cut)
        return took, age, unapplied

    def new_is_idle(self):
        """The number of the new owner's own writes, once it has no more to do."""
        deadline = time.time() + IDLE_WAIT_S
        count = -1
        while time.time() < deadline:
            before, count = count, self.hosts.disk(self.new)["cloud"]["writes"]
            if before == count:
                return count
            time.sleep(1)
        raise AssertionError(f"the new owner was not idle within {IDLE_WAIT_S} s")

    def wake_the_old(self, process):
        hosts = self.hosts
        writes = self.new_is_idle()
        hosts.snapshot("still", "create")
        process.send_signal(signal.SIGCONT)
        deadline = time.time() + FENCE_WAIT_S
        while hosts.disk(self.old)["state"] != "fenced":
            if time.time() > deadline:
                raise AssertionError(f"the old host is not fenced: {hosts.disk(self.old)['state']}")
            time.sleep(0.05)
        time.sleep(1)
        changed = hosts.changed_since("still")
        hosts.snapshot("still", "rm")
        if changed and hosts.disk(self.new)["cloud"]["writes"] == writes:
            raise AssertionError(f"the old host wrote to {changed} after the take-over")
        if changed:
            print("  the new owner wrote itself meanwhile: this comparison shows nothing", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--dir", required=True, help="a short path; cluster and disk stay there")
    parser.add_argument("--how", choices=("kill", "stop", "handover", "outage"), required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--durability", choices=("local", "cloud"), default="local")
    parser.add_argument("--gib", type=int, default=4)
    options = parser.parse_args()
    options.latte = os.path.abspath(options.latte)
    options.dir = os.path.abspath(options.dir)
    os.makedirs(options.dir, exist_ok=True)
    hosts = Hosts(options)
    results = []
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(hosts.close)
        owner = hosts.bring_up()
        writer = Writer()
        # What an earlier run left there counts as nothing.
        handle = nbd.NBD()
        handle.connect_uri(hosts.uri(owner))
        handle.zero(WRITTEN_BLOCKS * BLOCK, 0)
        handle.shutdown()
        if options.how == "outage":
            longest, caught_up, count = outage(hosts, owner)
            print(f"{count} writes; the longest took {longest * 1000:.0f} ms; lag below {MAX_LAG_S} s "
                  f"{caught_up:.1f} s after the OSD was up")
            return
        for number in range(1, options.rounds + 1):
            if options.how == "handover":
                owner, pause = handover(hosts, owner, writer)
                results.append((pause, 0.0))
                print(f"round {number}: pause {pause * 1000:.0f} ms, nothing lost", flush=True)
                continue
            hosts.leave_unapplied(owner)
            played = Round(hosts, owner, writer)
            took, age, unapplied = played.play()
            owner = played.new
            results.append((took, age))
            print(f"round {number}: {took * 1000:.0f} ms to the first read, lost writes up to {age:.2f} s "
                  f"old, {unapplied >> 20} MiB not applied", flush=True)
    times = [took for took, _ in results]
    print(f"{options.how}, durability {options.durability}: median {statistics.median(times) * 1000:.0f} ms, "
          f"worst {max(times) * 1000:.0f} ms; oldest lost write {max(age for _, age in results):.2f} s")


if __name__ == "__main__":
    main()
