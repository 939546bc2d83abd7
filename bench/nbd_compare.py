#!/usr/bin/env python3
"""Latte against qemu-storage-daemon and qemu-nbd over NBD unix sockets, side by side.

All three serve from the same file system with direct I/O; Latte's data is in its pool, and what is
written goes on to its cloud (a directory on the same file system) meanwhile. Rounds are interleaved, each
begins with another server, and before each measurement Latte is done with what was written before: that
would slow the others, too. Medians and the ratio to the better qemu are printed. fio's nbd engine is the client.

  bench/nbd_compare.py --latte build/release/latte [--dir DIR] [--rounds 5] [--seconds 2]
                       [--write-buffer 16MiB] [--only TEXT]
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from latte_host import Server  # noqa: E402  pylint: disable=wrong-import-position

SIZE = 1 << 30
# A round begins with the whole disk written from its start to its end. The last one reads what the random
# writes have scattered over Latte's log; it stays in place in a plain file.
WORKLOADS = [
    ("128k read qd16", "read", "128k", 16),
    ("4k randread qd1", "randread", "4k", 1),
    ("4k randread qd32", "randread", "4k", 32),
    ("128k write qd16", "write", "128k", 16),
    ("4k randwrite qd1", "randwrite", "4k", 1),
    ("4k randwrite qd32", "randwrite", "4k", 32),
    ("128k read, scattered", "read", "128k", 16),
]


def fio(uri, rw, block, depth, seconds, runtime=True):
    command = ["fio", "--name=x", "--ioengine=nbd", f"--uri={uri}", f"--rw={rw}", f"--bs={block}",
               f"--iodepth={depth}", f"--size={SIZE}", "--output-format=json", "--randrepeat=0"]
    if runtime:
        command += [f"--runtime={seconds}", "--time_based"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    job = json.loads(text[text.index("{"):])["jobs"][0]
    side = job["read"] if "read" in rw else job["write"]
    return side["iops"]


def wait_for(path, process, seconds=60):
    deadline = time.time() + seconds
    while not os.path.exists(path):
        if process.poll() is not None or time.time() > deadline:
            sys.exit(f"server for {path} did not start")
        time.sleep(0.05)


def wait_quiet(server, seconds=60):
    """Until Latte does nothing any more for what was written before: all shipped, and the base left alone."""
    deadline = time.time() + seconds
    before = None
    while time.time() < deadline:
        status = server.status()
        now = (status["pool"]["dirty_bytes"], status["disks"][0]["cloud"]["writes"])
        if now[0] == 0 and now == before:
            return
        before = now
        time.sleep(0.2)
    sys.exit(f"latte did not come to rest in {seconds} s")


def start_latte(latte, directory, write_buffer):
    config = os.path.join(directory, "latte.toml")
    with open(config, "w", encoding="utf-8") as out:
        out.write(f"""[pool]
path = "pool.img"
size = "6GiB"
{f'write_buffer = "{write_buffer}"' if write_buffer else ''}
[[disk]]
name = "d"
size = "{SIZE}"
cloud = "file:cloud"
cloud_log_size = "4GiB"
max_lag = "none"
nbd = "unix:latte.sock"
[control]
socket = "latte.ctl"
""")
    subprocess.run([latte, "create", "-c", config], check=True, capture_output=True)
    return Server(latte, config, subprocess.DEVNULL), f"nbd+unix:///d?socket={directory}/latte.sock"


def start_peers(directory):
    image = os.path.join(directory, "plain.img")
    with open(image, "wb") as out:
        block = os.urandom(1 << 20)
        for _ in range(SIZE >> 20):
            out.write(block)
        os.fsync(out.fileno())
    daemon = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev",
         f"driver=file,node-name=f,filename={image},cache.direct=on,aio=io_uring,locking=off",
         "--blockdev", "driver=raw,node-name=r,file=f",
         "--nbd-server", f"addr.type=unix,addr.path={directory}/qsd.sock",
         "--export", "type=nbd,id=e,node-name=r,name=d,writable=on"])
    # A copy of its own: two writers of one image would lock each other out.
    shutil.copyfile(image, image + ".2")
    nbd = subprocess.Popen(["qemu-nbd", "--persistent", "-f", "raw", "--cache=none", "--aio=io_uring",
                            "--shared=4", "-x", "d", "-k", f"{directory}/qnbd.sock", image + ".2"])
    wait_for(f"{directory}/qsd.sock", daemon)
    wait_for(f"{directory}/qnbd.sock", nbd)
    return [daemon, nbd]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--dir", default=None, help="where to work; on the file system to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--write-buffer", default=None, help="the pool's, such as 16MiB; none if left out")
    parser.add_argument("--only", default="", help="only workloads whose label has this text")
    options = parser.parse_args()
    chosen = [workload for workload in WORKLOADS if options.only in workload[0]]
    directory = tempfile.mkdtemp(prefix="latte-bench-", dir=options.dir)
    servers = []
    try:
        server, uri = start_latte(os.path.abspath(options.latte), directory,
                                  options.write_buffer)
        servers.append(server.process)
        servers += start_peers(directory)
        uris = {"latte": uri,
                "qemu-storage-daemon": f"nbd+unix:///d?socket={directory}/qsd.sock",
                "qemu-nbd": f"nbd+unix:///d?socket={directory}/qnbd.sock"}
        results = {name: {workload[0]: [] for workload in chosen} for name in uris}
        names = list(uris)
        for turn in range(options.rounds):
            first = turn % len(names)
            for target in uris.values():
                fio(target, "write", "128k", 16, 0, runtime=False)
            for label, rw, block, depth in chosen:
                for name in names[first:] + names[:first]:
                    wait_quiet(server)
                    results[name][label].append(
                        fio(uris[name], rw, block, depth, options.seconds))
        print(f"{'IOPS, medians of ' + str(options.rounds):24}" +
              "".join(f"{name:>22}" for name in uris) + f"{'ratio':>8}")
        for workload in chosen:
            medians = {name: statistics.median(results[name][workload[0]]) for name in uris}
            best = max(medians["qemu-storage-daemon"], medians["qemu-nbd"])
            print(f"{workload[0]:24}" + "".join(f"{medians[name]:22.0f}" for name in uris) +
                  f"{medians['latte'] / best:8.2f}", flush=True)
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
