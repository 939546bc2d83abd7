#!/usr/bin/env python3
"""A write burst at three times the cloud's bandwidth, second by second.

Run 1, max_lag = "2s": lag stays under it, and no write waits over three times the median of its second.
Run 2, max_lag = "none": local speed until the pool is full, then the cloud's, without a stall between.
Prints, for each second, throughput, median and longest wait, lag and dirty bytes; ends with 1 if a
condition is broken, after both runs.

  bench/burst.py --latte build/release/latte [--dir DIR] [--seconds 60] [--cloud-mib 50]

fio's nbd engine is the client.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from latte_host import Server  # noqa: E402  pylint: disable=wrong-import-position

BURST = 3                 # times the cloud's bandwidth
BLOCK_KIB = 128
DEPTH = 16
MIB = 1 << 20
MAX_LAG_S = 2.0
WAIT_FACTOR = 3.0         # longest wait of a second over its median
STALL_SHARE = 0.5         # of the cloud's bandwidth: less in a second is a stall
EDGE_SECONDS = 1          # the first and the last second are not whole


def write_config(directory, options, max_lag):
    path = os.path.join(directory, "latte.toml")
    # Half of what the burst leaves behind: the pool runs full in the middle of the second run. The cloud
    # log holds everything, so the base takes no bandwidth meanwhile.
    pool_mib = options.cloud_mib * (BURST - 1) * options.seconds // 2
    log_mib = options.cloud_mib * options.seconds * 4
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"""[pool]
path = "pool.img"
size = "{max(pool_mib, 64)}MiB"
[[disk]]
name = "d"
size = "16GiB"
cloud = "file:cloud"
cloud_log_size = "{max(log_mib, 64)}MiB"
max_lag = "{max_lag}"
nbd = "unix:d.sock"
[disk.cloud_limits]
bandwidth = "{options.cloud_mib}MiB"
[control]
socket = "ctl"
""")
    return path


class LagWatch(threading.Thread):
    """Greatest lag and dirty bytes of each second."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.start_s = time.time()
        self.lag_s = {}
        self.dirty = {}
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(0.1):
            disk = self.server.status()["disks"][0]
            second = int(time.time() - self.start_s)
            self.lag_s[second] = max(self.lag_s.get(second, 0.0), disk["lag_seconds"])
            self.dirty[second] = max(self.dirty.get(second, 0), disk["dirty_bytes"])


def burst(directory, options):
    """Waits in ms of the writes that ended in each second."""
    log = os.path.join(directory, "fio")
    subprocess.run(
        ["fio", "--name=burst", "--ioengine=nbd", f"--uri=nbd+unix:///d?socket={directory}/d.sock",
         "--rw=write", f"--bs={BLOCK_KIB}k", f"--iodepth={DEPTH}", "--size=16g",
         f"--rate={options.cloud_mib * BURST}m", "--time_based", f"--runtime={options.seconds}",
         f"--write_lat_log={log}", "--disable_clat=1", "--disable_slat=1"],
        check=True, stdout=subprocess.DEVNULL)
    waits = {}
    with open(log + "_lat.1.log", encoding="utf-8") as lines:
        for line in lines:
            field = line.split(",")  # ms since the start, ns, ...
            waits.setdefault(int(field[0]) // 1000, []).append(int(field[1]) / 1e6)
    return waits


def serve_and_burst(options, max_lag):
    with tempfile.TemporaryDirectory(prefix="latte-burst-", dir=options.dir) as directory:
        config = write_config(directory, options, max_lag)
        latte = os.path.abspath(options.latte)
        subprocess.run([latte, "create", "-c", config], check=True, capture_output=True)
        server = Server(latte, config, subprocess.DEVNULL)
        try:
            watch = LagWatch(server)
            watch.start()
            waits = burst(directory, options)
            watch.ending.set()
            watch.join()
        finally:
            # Not a clean stop: that would wait for nothing this measures.
            server.kill()
    return waits, watch


def report(options, max_lag):
    waits, watch = serve_and_burst(options, max_lag)
    print(f"max_lag = {max_lag}; cloud {options.cloud_mib} MiB/s, asked for "
          f"{options.cloud_mib * BURST} MiB/s")
    print(f"{'second':>6}{'MiB/s':>9}{'median ms':>11}{'longest ms':>12}{'ratio':>7}{'lag s':>8}"
          f"{'dirty MiB':>11}")
    broken = []
    last = max(waits)
    for second in range(last + 1):
        ended = waits.get(second, [])
        rate = len(ended) * BLOCK_KIB / 1024
        median = statistics.median(ended) if ended else 0.0
        longest = max(ended, default=0.0)
        lag = watch.lag_s.get(second, 0.0)
        ratio = longest / median if median else 0.0
        print(f"{second:6}{rate:9.0f}{median:11.2f}{longest:12.2f}{ratio:7.1f}{lag:8.2f}"
              f"{watch.dirty.get(second, 0) / MIB:11.0f}")
        whole = EDGE_SECONDS <= second <= last - EDGE_SECONDS
        if whole and rate < STALL_SHARE * options.cloud_mib:
            broken.append(f"second {second}: a stall, {rate:.0f} MiB/s")
        if max_lag != "none" and lag >= MAX_LAG_S:
            broken.append(f"second {second}: lag {lag:.2f} s")
        if max_lag != "none" and whole and ratio > WAIT_FACTOR:
            broken.append(f"second {second}: a write waited {ratio:.1f} times the median")
    print(f"broken: {len(broken)} of {last + 1} seconds" if broken else "as promised")
    for line in broken:
        print("  " + line)
    return not broken


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--dir", default=None, help="where to work; on the file system to measure")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--cloud-mib", type=int, default=50)
    options = parser.parse_args()
    kept = [report(options, f"{int(MAX_LAG_S)}s"), report(options, "none")]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
