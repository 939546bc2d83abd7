#!/usr/bin/python3
"""The main job with real processes: kill -9 under writes, and loss of the pool with a take-over.

(a) A client writes stamped blocks and notes every acknowledgement; the server is killed with SIGKILL in the
    middle, started again, and every acknowledged write must be there.
(b) ext4 on the disk (nbdfuse and a loop mount), files written and fsynced all the time; the server is
    killed and the pool deleted; another host (a fresh pool) takes the disk over. e2fsck finds nothing but a
    journal to replay, and no file is missing whose fsync is older than max_lag - with
    durability = "cloud", none at all.

  main_job.py --latte build/release/latte [--rounds 2]

Needs root, python3-libnbd, nbdfuse, e2fsprogs, /dev/fuse and loop devices; part (b) is skipped with a
message where these are missing.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import nbd

BLOCK = 4096
DISK_BYTES = 256 << 20
MAX_LAG_SECONDS = 2.0


def write_config(directory, name, pool, durability):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"""[pool]
path = "{pool}"
size = "64MiB"
segment_size = "1MiB"
[[disk]]
name = "db"
size = "{DISK_BYTES}"
cloud = "file:cloud"
cloud_log_size = "64MiB"
durability = "{durability}"
max_lag = "{int(MAX_LAG_SECONDS)}s"
nbd = "unix:{pool}.sock"
[control]
socket = "{pool}.ctl"
""")
    return path


class Server:
    def __init__(self, latte, config, log):
        self.process = subprocess.Popen([latte, "serve", "-c", config], stdout=subprocess.PIPE,
                                        stderr=log, text=True)
        line = self.process.stdout.readline().strip()
        if line != "ready":
            raise RuntimeError(f"latte serve said {line!r}, exit {self.process.wait()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        if self.process.wait(timeout=30) != 0:
            raise RuntimeError(f"clean stop ended with {self.process.returncode}")


def stamp(block, version):
    return (b"%016x%016x" % (block, version)) * (BLOCK // 32)


def writer(uri, rng, acknowledged, attempted, first_version):
    handle = nbd.NBD()
    handle.connect_uri(uri)
    version = first_version
    try:
        while True:
            block = rng.randrange(DISK_BYTES // BLOCK)
            attempted.setdefault(block, set()).add(version)
            handle.pwrite(stamp(block, version), block * BLOCK)
            acknowledged[block] = version
            version += 1
    except nbd.Error:
        return  # the server is gone


def kill_rounds(latte, directory, rounds, log):
    config = write_config(directory, "a.toml", "pool-a", "local")
    subprocess.run([latte, "create", "-c", config], check=True, stdout=log, stderr=log)
    uri = f"nbd+unix:///db?socket={directory}/pool-a.sock"
    acknowledged, attempted = {}, {}
    version = 1
    for number in range(rounds):
        server = Server(latte, config, log)
        rng = random.Random(number)
        thread = threading.Thread(target=writer,
                                  args=(uri, rng, acknowledged, attempted, version))
        thread.start()
        time.sleep(0.5 + rng.random())
        server.kill()
        thread.join()
        version = max(max(v) for v in attempted.values()) + 1
        server = Server(latte, config, log)
        handle = nbd.NBD()
        handle.connect_uri(uri)
        for block, expected in acknowledged.items():
            data = bytes(handle.pread(BLOCK, block * BLOCK))
            # A write under way at the kill may have landed over the acknowledged one.
            allowed = {expected} | {v for v in attempted[block] if v > expected}
            if not any(data == stamp(block, v) for v in allowed):
                raise AssertionError(f"round {number}: block {block}: write {expected} is lost")
        handle.shutdown()
        server.stop()
        print(f"(a) round {number + 1}: {len(acknowledged)} acknowledged blocks, all there", flush=True)
    subprocess.run([latte, "check", "-c", config], check=True, stdout=log, stderr=log)


class Mount:
    """The disk as a file by nbdfuse, and a loop mount of it."""

    def __init__(self, directory, uri, log):
        self.file_dir = os.path.join(directory, "fuse")
        self.mount_dir = os.path.join(directory, "mnt")
        self.file = os.path.join(self.file_dir, "nbd")
        os.makedirs(self.file_dir, exist_ok=True)
        os.makedirs(self.mount_dir, exist_ok=True)
        self.log = log
        self.fuse = subprocess.Popen(["nbdfuse", self.file_dir, uri], stdout=log, stderr=log)
        for _ in range(200):
            if os.path.exists(self.file):
                return
            time.sleep(0.05)
        raise RuntimeError("nbdfuse did not come up")

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.file, self.mount_dir], check=True)

    def close(self):
        for _ in range(50):
            if subprocess.run(["umount", self.mount_dir], stdout=self.log, stderr=self.log,
                              check=False).returncode == 0 or not os.path.ismount(self.mount_dir):
                break
            time.sleep(0.2)
        subprocess.run(["umount", "-l", self.file_dir], stdout=self.log, stderr=self.log, check=False)
        self.fuse.terminate()
        self.fuse.wait()


def loss_round(latte, directory, durability, number, log):
    first = write_config(directory, "one.toml", "pool-1", durability)
    second = write_config(directory, "two.toml", "pool-2", durability)
    subprocess.run([latte, "create", "-c", first], check=True, stdout=log, stderr=log)
    server = Server(latte, first, log)
    uri = f"nbd+unix:///db?socket={directory}/pool-1.sock"
    mount = Mount(directory, uri, log)
    synced = []
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", mount.file], check=True)
        mount.mount()
        end = time.time() + 4 + random.random()

        def keep_writing():
            count = 0
            try:
                while True:
                    path = os.path.join(mount.mount_dir, f"f{count}")
                    with open(path, "wb") as out:
                        out.write(stamp(count, number) * 4)
                        out.flush()
                        os.fsync(out.fileno())
                    directory_fd = os.open(mount.mount_dir, os.O_RDONLY)
                    os.fsync(directory_fd)
                    os.close(directory_fd)
                    synced.append((time.time(), count))
                    count += 1
            except OSError:
                return  # the disk is gone

        thread = threading.Thread(target=keep_writing, daemon=True)
        thread.start()
        time.sleep(max(0, end - time.time()))
        killed = time.time()
        server.kill()
        os.unlink(os.path.join(directory, "pool-1"))
        thread.join(timeout=60)
    finally:
        mount.close()
    subprocess.run([latte, "create", "-c", second], check=True, stdout=log, stderr=log)
    started = time.time()
    subprocess.run([latte, "takeover", "-c", second, "db"], check=True, stdout=log, stderr=log)
    server = Server(latte, second, log)
    took = time.time() - started
    mount = Mount(directory, f"nbd+unix:///db?socket={directory}/pool-2.sock", log)
    try:
        mount.mount()
        worst = 0.0
        for when, count in synced:
            path = os.path.join(mount.mount_dir, f"f{count}")
            intact = os.path.exists(path)
            if intact:
                with open(path, "rb") as data:
                    intact = data.read() == stamp(count, number) * 4
            if not intact:
                worst = max(worst, killed - when)
        # Mounting replayed the journal; anything to mend beyond that is a failure.
        subprocess.run(["umount", mount.mount_dir], check=True)
        checked = subprocess.run(["e2fsck", "-fn", mount.file], capture_output=True, text=True,
                                 check=False)
        if checked.returncode != 0:
            raise AssertionError(f"e2fsck: {checked.stdout}{checked.stderr}")
        limit = 0.0 if durability == "cloud" else MAX_LAG_SECONDS
        if worst > limit:
            raise AssertionError(f"a file synced {worst:.3f} s before the loss is missing "
                                 f"(durability {durability})")
    finally:
        mount.close()
        server.stop()
    print(f"(b) round {number + 1}, durability {durability}: {len(synced)} synced files, oldest lost "
          f"{worst:.3f} s, take-over to ready {took:.2f} s", flush=True)


def can_mount():
    return (os.geteuid() == 0 and os.path.exists("/dev/fuse") and os.path.exists("/dev/loop-control")
            and shutil.which("nbdfuse") and shutil.which("mkfs.ext4"))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    latte = os.path.abspath(options.latte)
    with tempfile.TemporaryDirectory(prefix="latte-main-") as directory:
        log_path = os.path.join(directory, "log")
        try:
            with open(log_path, "w", encoding="utf-8") as log:
                sub = os.path.join(directory, "a")
                os.mkdir(sub)
                kill_rounds(latte, sub, options.rounds, log)
                if not can_mount():
                    print("(b) skipped: needs root, /dev/fuse, loop devices, nbdfuse, e2fsprogs")
                    return
                for number in range(options.rounds):
                    for durability in ("local", "cloud"):
                        sub = os.path.join(directory, f"b{number}{durability}")
                        os.mkdir(sub)
                        loss_round(latte, sub, durability, number, log)
        except BaseException:
            with open(log_path, encoding="utf-8") as log:
                sys.stderr.write(log.read()[-4000:])
            raise


if __name__ == "__main__":
    main()
