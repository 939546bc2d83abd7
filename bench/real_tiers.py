#!/usr/bin/python3
"""Both tiers, by dispatcher, on real files.

  bench/real_tiers.py --latte build/release/latte --dir DIR --what curve|interference|writes|stream [--seconds 8]

A tenth of the disk is written and drained, so that both tiers have it.

curve: read bandwidth over the hit ratio, with limited rates. The pool is a loop device on a file, read at --local-mib
a second at most (the blkio controller, version 1); the cloud is nbdkit on files with its rate filter, --cloud-mib a
second. fio reads 64 KiB at random with 64 under way: a share from what both have, the rest from what only the cloud
has. `to be had` is the least of both rates together and what the cloud allows for the misses.

interference: latency of 4 KiB reads of what both have, 8 under way, --iops a second or as many as go, while another
process writes to the pool's drive in bursts. The cloud is nbdkit on files in memory that answers after 1 ms.

writes: the same with writes of any block, each of which the cloud log answers after 1 ms.

stream: one reader, in order, of what only the cloud has, with read-ahead and without; the same cloud.

Needs root, nbdkit and fio.
"""
import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from latte_host import Server  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
DISK_MIB, WARM_PERCENT, POOL_MIB, LOG_MIB = 1280, 10, 512, 256
BURST = ("--rw=write", "--bs=1m", "--iodepth=32", "--thinktime=1s", "--thinktime_blocks=1024")
HITS = (0, 25, 50, 75, 90, 100)
DISPATCHERS = ("local", "wait", "svm")
DEPTH = 64
BLKIO = "/sys/fs/cgroup/blkio"
CONFIG = """[pool]
path = "{pool}"
size = "{pool_mib}MiB"
admission = "none"
[[disk]]
name = "db"
size = "{disk_mib}MiB"
cloud = "nbd+unix:///base?socket={dir}/cloud.sock&log=log"
dispatcher = "{dispatcher}"
read_ahead = "{read_ahead}"
nbd = "unix:db.sock"
[control]
socket = "ctl"
"""


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Limited:
    """A loop device on a new file, and a group of processes that read it at a limited rate."""

    def __init__(self, directory, size_mib, cleanup):
        path = os.path.join(directory, "pool.img")
        run("fallocate", "-l", f"{size_mib}MiB", path)
        self.device = run("losetup", "--show", "-f", "--direct-io=on", path).strip()
        cleanup.callback(run, "losetup", "-d", self.device)
        self.group = os.path.join(BLKIO, f"latte-bench-{os.getpid()}")
        os.mkdir(self.group)
        cleanup.callback(os.rmdir, self.group)

    def limit(self, pid, rate_mib):
        number = run("lsblk", "-dno", "MAJ:MIN", self.device).strip()
        for name, value in (("blkio.throttle.read_bps_device", f"{number} {rate_mib * MIB}"),
                            ("cgroup.procs", str(pid))):
            with open(os.path.join(self.group, name), "w", encoding="ascii") as out:
                out.write(value)


def start_cloud(directory, exports, *how):
    for name, size in (("base", DISK_MIB * MIB), ("log", LOG_MIB * MIB + (64 << 10))):
        with open(os.path.join(exports, name), "wb") as out:
            out.truncate(size)
    socket = os.path.join(directory, "cloud.sock")
    process = subprocess.Popen(["nbdkit", "-f", "-U", socket, how[0], "file", f"dir={exports}", *how[1:]], stderr=subprocess.DEVNULL)
    while not os.path.exists(socket):
        time.sleep(0.05)
    return process


def ask(directory, kind, block, seconds, *more):
    """fio's report on reads or writes, whichever `kind` is."""
    text = run("fio", "--name=x", "--ioengine=nbd", f"--uri=nbd+unix:///db?socket={directory}/db.sock",
               f"--bs={block}", "--time_based", f"--runtime={seconds}", "--output-format=json", *more)
    return json.loads(text[text.index("{"):])["jobs"][0][kind]


def ask_at_random(directory, kind, block, depth, seconds, *more):
    return ask(directory, kind, block, seconds, f"--rw=rand{kind}", f"--iodepth={depth}", "--ramp_time=3",
               "--randrepeat=0", "--norandommap", *more)


def read_rate(directory, hits, seconds):
    """MiB a second."""
    zones = {0: f"0/{WARM_PERCENT}:100/{100 - WARM_PERCENT}",
             100: f"100/{WARM_PERCENT}:0/{100 - WARM_PERCENT}"}
    zone = zones.get(hits, f"{hits}/{WARM_PERCENT}:{100 - hits}/{100 - WARM_PERCENT}")
    return ask_at_random(directory, "read", "64k", DEPTH, seconds, f"--size={DISK_MIB}m",
                         f"--random_distribution=zoned:{zone}")["bw"] / 1024


@contextlib.contextmanager
def served(args, dispatcher, exports_in, *cloud, read_ahead="4MiB"):
    """A disk with a warm part; gives (its directory, the server, the pool)."""
    with tempfile.TemporaryDirectory(dir=args.dir) as directory, contextlib.ExitStack() as cleanup:
        exports = cleanup.enter_context(tempfile.TemporaryDirectory(dir=exports_in or directory))
        process = start_cloud(directory, exports, *cloud)
        cleanup.callback(process.wait)
        cleanup.callback(process.terminate)
        pool = Limited(directory, POOL_MIB, cleanup)
        config = os.path.join(directory, "latte.toml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(pool=pool.device, pool_mib=POOL_MIB, disk_mib=DISK_MIB, dir=directory,
                                    dispatcher=dispatcher, read_ahead=read_ahead))
        run(args.latte, "create", "-c", config)
        server = Server(args.latte, config, subprocess.DEVNULL)
        cleanup.callback(server.kill)
        run("fio", "--name=x", "--ioengine=nbd", f"--uri=nbd+unix:///db?socket={directory}/db.sock", "--rw=write",
            "--bs=1m", "--iodepth=4", f"--size={DISK_MIB * WARM_PERCENT // 100}m", "--end_fsync=1")
        run(args.latte, "drain", "-c", config, "db")
        yield directory, server, pool


def measure_curve(args, dispatcher):
    """Rate by hit ratio."""
    with served(args, dispatcher, None, "--filter=rate", f"rate={args.cloud_mib * MIB * 8}") as (
            directory, server, pool):
        pool.limit(server.process.pid, args.local_mib)
        return {hits: read_rate(directory, hits, args.seconds) for hits in HITS}


def curve(args):
    results = {dispatcher: measure_curve(args, dispatcher) for dispatcher in DISPATCHERS}
    print(f"{'hits':>6}{'to be had':>12}" + "".join(f"{d:>16}" for d in DISPATCHERS) + "   MiB/s")
    for hits in HITS:
        both = args.local_mib + args.cloud_mib
        ideal = both if hits == 100 else min(both, args.cloud_mib / (1 - hits / 100))
        rates = [results[d][hits] for d in DISPATCHERS]
        print(f"{hits:5}%{ideal:12.0f}" + "".join(f"{rate:8.1f} ({rate / ideal:4.2f})" for rate in rates))


def measure_interference(args, dispatcher, kind):
    """fio's report, and what of it went to the cloud, and what to both tiers, in bytes."""
    with served(args, dispatcher, "/dev/shm", "--filter=delay", "rdelay=1ms", "wdelay=1ms") as (
            directory, server, _):
        before = server.status()["disks"][0]["cloud"]["read_bytes"]
        size = DISK_MIB * WARM_PERCENT // 100 if kind == "read" else DISK_MIB
        noise = subprocess.Popen(["fio", "--name=noise", f"--filename={directory}/noise", "--size=2g", "--direct=1",
                                  "--ioengine=io_uring", *BURST, "--time_based", "--runtime=600"],
                                 stdout=subprocess.DEVNULL)
        try:
            result = ask_at_random(directory, kind, "4k", 8, args.seconds, f"--rate_iops={args.iops}",
                                   f"--size={size}m")
        finally:
            noise.terminate()
            noise.wait()
        disk = server.status()["disks"][0]
        if kind == "write":
            return result, disk["early_written_bytes"], disk["early_overtaken_bytes"]
        return result, disk["cloud"]["read_bytes"] - before, disk["hedged_bytes"]


def interference(args, kind="read"):
    print(f"{'':>6}{'IOPS':>9}{'mean us':>9}{'p99':>8}{'p99.9':>8}{'by the cloud':>16}{'by both':>12}")
    for dispatcher in DISPATCHERS:
        result, cloud_bytes, both_bytes = measure_interference(args, dispatcher, kind)
        spread = result["clat_ns"]["percentile"]
        print(f"{dispatcher:>6}{result['iops']:9.0f}{result['clat_ns']['mean'] / 1e3:9.0f}"
              f"{spread['99.000000'] / 1e3:8.0f}{spread['99.900000'] / 1e3:8.0f}"
              f"{cloud_bytes / MIB:12.0f} MiB{both_bytes / MIB:8.1f} MiB", flush=True)


def stream(args):
    warm = DISK_MIB * WARM_PERCENT // 100
    print(f"{'read-ahead':>10}{'block':>7}{'MiB/s':>8}{'mean us':>9}{'cloud requests a MiB':>22}")
    for read_ahead in ("none", "4MiB"):
        with served(args, "local", "/dev/shm", "--filter=delay", "rdelay=1ms", read_ahead=read_ahead) as (
                directory, server, _):
            for block in ("4k", "16k", "128k"):
                before = server.status()["disks"][0]["cloud"]["reads"]
                result = ask(directory, "read", block, args.seconds, "--rw=read", f"--offset={warm}m",
                             f"--size={DISK_MIB - warm}m")
                requests = server.status()["disks"][0]["cloud"]["reads"] - before
                print(f"{read_ahead:>10}{block:>7}{result['bw'] / 1024:8.0f}{result['clat_ns']['mean'] / 1e3:9.0f}"
                      f"{requests * MIB / result['io_bytes']:22.1f}", flush=True)


def writes(args):
    interference(args, "write")


BENCHES = {"curve": curve, "interference": interference, "writes": writes, "stream": stream}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--dir", default=None, help="where to work; a short path")
    parser.add_argument("--what", choices=tuple(BENCHES), required=True)
    parser.add_argument("--local-mib", type=int, default=150)
    parser.add_argument("--cloud-mib", type=int, default=100)
    parser.add_argument("--iops", type=int, default=0, help="0: no limit")
    parser.add_argument("--seconds", type=int, default=8)
    args = parser.parse_args()
    BENCHES[args.what](args)


if __name__ == "__main__":
    main()
