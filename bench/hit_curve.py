#!/usr/bin/env python3
"""Read bandwidth over the hit ratio, by dispatcher, on the device models.

Writes a part of a disk, waits until the cloud has it, then reads 64 KiB at random with 256 requests
under way: a share from what was written (the pool has it, and so has the cloud), the rest from what
only the cloud has. `to be had` is the least of both tiers' bandwidths together and what the cloud
allows for the misses: cloud / (1 - hit ratio). The tiers' own bandwidths are measured at 100 % hits
from the pool and at 0 %.
"""
import argparse
import json
import random
import subprocess
import tempfile

REQUEST = 64 << 10
FILL = 1 << 20  # too large for a dispatcher to send past the pool
WRITTEN = 1024  # requests of REQUEST bytes: 64 MiB
COLD = 16384
START_US = 60_000_000  # by then all is in the cloud


def trace(path, hits, reads):
    draw = random.Random(hits)
    with open(path, "w", encoding="ascii") as out:
        for i in range(WRITTEN * REQUEST // FILL):
            out.write(f"0,W,{i * FILL},{FILL}\n")
        for _ in range(reads):
            cold = draw.random() * 100 >= hits
            at = WRITTEN + draw.randrange(COLD) if cold else draw.randrange(WRITTEN)
            out.write(f"{START_US},R,{at * REQUEST},{REQUEST}\n")


def bandwidth(run):
    """Bytes a second of the reads."""
    return run["read_bytes"] / (run["virtual_seconds"] - START_US / 1e6)


def replay(args, path, dispatchers):
    done = subprocess.run(
        [args.latte, "replay", "--engine", path, "--size", "512MiB", "--admission", "none",
         "--dispatcher", ",".join(dispatchers), "--drive", args.drive, "--cloud", args.cloud,
         "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["traces"][0]["runs"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--drive", default="gen4")
    parser.add_argument("--cloud", default="ebsx")
    parser.add_argument("--reads", type=int, default=20000)
    parser.add_argument("--dispatchers", default="local,wait,svm")
    args = parser.parse_args()
    dispatchers = args.dispatchers.split(",")
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        for hits in (0, 25, 50, 75, 90, 100):
            path = f"{directory}/hits{hits}.csv"
            trace(path, hits, args.reads)
            results[hits] = replay(args, path, dispatchers)
    cloud = bandwidth(results[0][dispatchers.index("local")])
    local = bandwidth(results[100][dispatchers.index("local")])
    print(f"drive {args.drive} {local / 1e6:.0f} MB/s, cloud {args.cloud} {cloud / 1e6:.0f} MB/s")
    print("hits  to be had" + "".join(f"{name:>16}" for name in dispatchers))
    for hits, runs in results.items():
        ratio = runs[0]["read_hit_ratio"]
        most = min(local + cloud, cloud / (1 - ratio) if ratio < 1 else float("inf"))
        cells = "".join(f"{bandwidth(run) / 1e6:9.0f} {bandwidth(run) / most:6.3f}" for run in runs)
        print(f"{ratio:4.2f}  {most / 1e6:9.0f}{cells}")


if __name__ == "__main__":
    main()
