#!/usr/bin/python3
"""The main job with real processes: a file system and PostgreSQL on the disk, and what kills them.

(a) The server is killed (SIGKILL) in the middle of writes and started again. A client that wrote stamped
    blocks finds every write that was acknowledged; the file system mounts, PostgreSQL recovers and shows
    every commit that was acknowledged.
(b) The server is killed and its pool deleted under load; another host with a fresh pool takes the disk over.
    e2fsck finds nothing but a journal to replay, PostgreSQL recovers, and no synced file and no commit is
    missing that is older than max_lag - with durability = "cloud" none at all. Each round goes on with
    the disk the round before left.
(c) With --cloud rbd, all of it with a Ceph cluster of its own as the cloud (ceph_cluster.py; --dir must be a
    short path), and rounds in which the OSD is killed under load and started again: no error reaches the
    clients, and after the server's death nothing is missing.

  main_job.py --latte build/release/latte [--rounds 2] [--dir DIRECTORY] [--cloud file|rbd]

The file system needs root, nbdfuse, /dev/fuse and loop devices, the database PostgreSQL; what is missing
is skipped with a message.
"""
import argparse
import contextlib
import os
import random
import sys
import tempfile
import threading
import time

import nbd

import database
from ceph_cluster import Cluster
from latte_host import END_WAIT_S, Mount, Server, mount_obstacle, run, write_config

BLOCK = 4096
RAW_DISK_BYTES = 256 << 20
DISK_BYTES = 512 << 20
MAX_LAG_S = 2


def stamp(block, version):
    return (b"%016x%016x" % (block, version)) * (BLOCK // 32)


def uri_of(directory, pool):
    return f"nbd+unix:///db?socket={directory}/{pool}.sock"


class BlockWriter:
    """Stamped blocks at random places, with a note of what was tried and what was acknowledged."""

    def __init__(self):
        self.acknowledged = {}  # block: newest version
        self.attempted = {}     # block: versions
        self.version = 0

    def write_until_gone(self, uri, rng):
        handle = nbd.NBD()
        handle.connect_uri(uri)
        with contextlib.suppress(nbd.Error):
            while True:
                block = rng.randrange(RAW_DISK_BYTES // BLOCK)
                self.version += 1
                self.attempted.setdefault(block, set()).add(self.version)
                handle.pwrite(stamp(block, self.version), block * BLOCK)
                self.acknowledged[block] = self.version

    def verify(self, uri):
        handle = nbd.NBD()
        handle.connect_uri(uri)
        for block, expected in self.acknowledged.items():
            data = bytes(handle.pread(BLOCK, block * BLOCK))
            # The write under way at the kill may have landed over the acknowledged one.
            allowed = {expected} | {v for v in self.attempted[block] if v > expected}
            if not any(data == stamp(block, v) for v in allowed):
                raise AssertionError(f"block {block}: write {expected} is lost")
        handle.shutdown()


def kill_rounds_raw(latte, directory, rounds, log):
    config = write_config(directory, "a.toml", "pool-a", RAW_DISK_BYTES, "local", MAX_LAG_S)
    run([latte, "create", "-c", config], log)
    uri = uri_of(directory, "pool-a")
    writer = BlockWriter()
    for number in range(1, rounds + 1):
        with contextlib.ExitStack() as cleanup:
            server = Server(latte, config, log)
            cleanup.callback(server.kill)
            rng = random.Random(number)
            thread = threading.Thread(target=writer.write_until_gone, args=(uri, rng))
            thread.start()
            time.sleep(0.5 + rng.random())
            server.kill()
            thread.join()
            server = Server(latte, config, log)
            cleanup.callback(server.kill)
            writer.verify(uri)
            server.stop()
        print(f"(a) blocks, round {number}: {len(writer.acknowledged)} acknowledged, all there",
              flush=True)
    run([latte, "check", "-c", config], log)


class SyncedFiles:
    """Small files, each synced with its directory before it is noted, until the disk is gone."""

    def __init__(self, directory, number):
        self.directory = os.path.join(directory, f"files-{number}")
        self.number = number
        self.synced = []  # time of each

    def _content(self, count):
        return stamp(count, self.number) * 4

    def write_until_gone(self):
        with contextlib.suppress(OSError):
            os.mkdir(self.directory)
            directory_fd = os.open(self.directory, os.O_RDONLY)
            try:
                while True:
                    count = len(self.synced)
                    with open(os.path.join(self.directory, f"{count}"), "wb") as out:
                        out.write(self._content(count))
                        out.flush()
                        os.fsync(out.fileno())
                    os.fsync(directory_fd)
                    self.synced.append(time.time())
                    time.sleep(0.005)  # leave the disk to the database, too
            finally:
                os.close(directory_fd)

    def missing(self):
        """Times of those that are not there, or not as they were written."""
        times = []
        for count, when in enumerate(self.synced):
            try:
                with open(os.path.join(self.directory, f"{count}"), "rb") as data:
                    intact = data.read() == self._content(count)
            except FileNotFoundError:
                intact = False
            if not intact:
                times.append(when)
        return times


class MountedDisk:
    """The disk with its file system and database, through the rounds of one series."""

    def __init__(self, latte, directory, durability, log, cloud="file:cloud"):
        self.latte, self.directory, self.durability, self.log = latte, directory, durability, log
        self.cloud = cloud
        self.database = None
        self.present = {}  # commits that were seen after an earlier round
        self.pool = None

    def config(self, pool):
        return write_config(self.directory, f"{pool}.toml", pool, DISK_BYTES, self.durability,
                            MAX_LAG_S, self.cloud)

    def serve(self, cleanup):
        server = Server(self.latte, self.config(self.pool), self.log)
        cleanup.callback(server.kill)
        return server

    def attach(self, cleanup):
        mount = Mount(self.directory, uri_of(self.directory, self.pool), self.log)
        cleanup.callback(mount.close)
        return mount

    def create(self):
        self.pool = "pool-0"
        run([self.latte, "create", "-c", self.config(self.pool)], self.log)
        with contextlib.ExitStack() as cleanup:
            server = self.serve(cleanup)
            mount = self.attach(cleanup)
            run(["mkfs.ext4", "-q", "-F", mount.file], self.log)
            mount.mount()
            if database.programs() is not None:
                self.database = database.Database(os.path.join(mount.path, "data"), self.directory,
                                                  self.log)
                cleanup.callback(self.database.close)
                self.database.create()
                self.database.stop()
            mount.unmount()
            mount.close()
            server.stop()

    def load_and_kill(self, number, delete_pool, disturb=None):
        """`disturb` happens in the middle, and clients must not notice. Returns the files, the times of each client's commits, and when the server was killed."""
        times = {}
        with contextlib.ExitStack() as cleanup:
            server = self.serve(cleanup)
            mount = self.attach(cleanup)
            mount.mount()
            files = SyncedFiles(mount.path, number)
            if self.database is not None:
                cleanup.callback(self.database.close)
                self.database.start()
                self.database.start_load(number)
            thread = threading.Thread(target=files.write_until_gone, daemon=True)
            thread.start()
            time.sleep(3 + 2 * random.random())
            if disturb is not None:
                disturb()
                time.sleep(3)
                if not thread.is_alive() or (self.database is not None
                                             and self.database.load.poll() is not None):
                    raise AssertionError("an error reached a client of the disk")
            killed = time.time()
            server.kill()
            if delete_pool:
                os.unlink(os.path.join(self.directory, self.pool))
            if self.database is not None:
                times = self.database.end_load(number)
            thread.join(timeout=END_WAIT_S)
            if thread.is_alive():
                raise AssertionError("a write to the dead disk hangs")
        return files, times, killed

    def take_over(self, number):
        self.pool = f"pool-{number}"
        config = self.config(self.pool)
        run([self.latte, "create", "-c", config], self.log)
        run([self.latte, "takeover", "-c", config, "db"], self.log)

    def compare(self, files, times, killed):
        """Mounts what is left and compares. Returns how much is missing and its greatest age."""
        with contextlib.ExitStack() as cleanup:
            server = self.serve(cleanup)
            mount = self.attach(cleanup)
            mount.mount()
            mount.unmount()
            mount.check()
            mount.mount()
            missing = files.missing()
            if self.database is not None:
                cleanup.callback(self.database.close)
                self.database.start()
                missing += self._missing_commits(files.number, times)
                self.database.stop()
            mount.unmount()
            mount.close()
            server.stop()
        return len(missing), max((killed - when for when in missing), default=0.0)

    def _missing_commits(self, number, times):
        committed = self.database.committed()
        for key, count in self.present.items():
            if committed.get(key, 0) != count:
                raise AssertionError(f"round and client {key}: {count} commits were there already, "
                                     f"now {committed.get(key, 0)}")
        self.present = committed
        return [when for client, whens in times.items()
                for when in whens[committed.get((number, client), 0):]]


def mounted_rounds(disk, rounds, lose_pool, disturb=None):
    durability = disk.durability
    disk.create()
    label = f"(b) {durability}" if lose_pool else "(a) file system"
    if disturb is not None:
        label = "(c) OSD killed and back"
    limit_s = MAX_LAG_S if lose_pool and durability == "local" else 0.0
    for number in range(1, rounds + 1):
        files, times, killed = disk.load_and_kill(number, lose_pool, disturb)
        started = time.time()
        if lose_pool:
            disk.take_over(number)
        took = time.time() - started
        count, age = disk.compare(files, times, killed)
        commits = sum(len(whens) for whens in times.values())
        print(f"{label}, round {number}: {len(files.synced)} synced files, {commits} commits; missing "
              f"{count}, the oldest {age:.3f} s" + (f"; create and takeover {took:.2f} s" if lose_pool
                                                    else ""), flush=True)
        if count > 0 and age > limit_s:
            raise AssertionError(f"something acknowledged {age:.3f} s before the end is missing")
        if not files.synced or (disk.database is not None and commits == 0):
            raise AssertionError("nothing was written: the round shows nothing")


def series_of(options, latte, log, cluster):
    """(name, function of a directory): all that can be run here."""
    series = []
    if cluster is None:
        series.append(("raw", lambda sub: kill_rounds_raw(latte, sub, options.rounds, log)))
    obstacle = mount_obstacle()
    if obstacle is not None:
        print(f"file system and database skipped: {obstacle}")
        return series
    if database.programs() is None:
        print("no PostgreSQL here: files only")

    def add(name, durability, lose_pool, disturb=None):
        cloud = "file:cloud" if cluster is None else f"rbd:rbd/{name}?conf={cluster.conf}"
        series.append((name, lambda sub: mounted_rounds(
            MountedDisk(latte, sub, durability, log, cloud), options.rounds, lose_pool, disturb)))

    def restart_osd():
        cluster.kill_osd()
        time.sleep(2)
        cluster.start_osd()

    if cluster is not None:
        add("osd", "local", False, restart_osd)
    add("kill", "local", False)
    add("lose-local", "local", True)
    add("lose-cloud", "cloud", True)
    return series


def run_all(options, directory, log):
    latte = os.path.abspath(options.latte)
    with contextlib.ExitStack() as cleanup:
        cluster = None
        if options.cloud == "rbd":
            cluster = Cluster(os.path.join(directory, "ceph"))
            cleanup.callback(cluster.stop)
            cluster.start()
        for name, rounds in series_of(options, latte, log, cluster):
            sub = os.path.join(directory, name)
            os.mkdir(sub)
            os.chmod(sub, 0o755)  # PostgreSQL's user has to pass
            rounds(sub)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dir", default=None, help="where to work")
    parser.add_argument("--cloud", choices=("file", "rbd"), default="file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latte-main-", dir=options.dir) as directory:
        os.chmod(directory, 0o755)
        log_path = os.path.join(directory, "log")
        with open(log_path, "w", encoding="utf-8") as log:
            try:
                run_all(options, directory, log)
            except BaseException:
                with open(log_path, encoding="utf-8", errors="replace") as written:
                    sys.stderr.write(written.read()[-6000:])
                raise


if __name__ == "__main__":
    main()
