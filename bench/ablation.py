#!/usr/bin/env python3
"""What each part of Latte is worth, on traces through the engine in virtual time.

Rows: the cloud volume alone, the drive alone (fast, and gone with the host), and Latte with every combination
of admission and dispatcher. Columns: latency of reads and writes, read hits, operations and bytes that the
cloud got, bytes written to the pool, what the cloud volume costs a month. Traces: those of a directory, and two
that are put together: reads of one and writes of another on disjoint ranges, and the same in bursts
of ten times the pace. Prints Markdown.

  bench/ablation.py --latte build/release/latte --traces DIR [--size 25%] [--seed 1]
"""
import argparse
import csv
import heapq
import io
import json
import os
import subprocess
import tempfile

# A trace and how many times faster than its own pace it is run: so that the cloud is busy. It keeps up but for the first.
TRACES = (("cloudphysics_w_sample", 20), ("arc_P2", 4), ("blkreplay_webserver2", 20))
READS, WRITES = "arc_P2", "blkreplay_mysql"
WRITES_PACE = 5  # of the composed traces: the writers' own pace times this
COMPOSED_SPEED = 4
BURST_US, BURST_FACTOR = 10_000_000, 10
ADMISSIONS, DISPATCHERS = "all,s3fifo,adaptive", "local,wait,svm"
# gp3-like: capacity, operations and bandwidth beyond what is included.
CONFIG = """[pool]
path = "pool"
size = "1GiB"
[[disk]]
name = "d"
size = "1GiB"
cloud = "file:cloud"
nbd = "unix:d.sock"
[control]
socket = "ctl"
[price]
currency = "USD"
gib_month = 0.08
iops_month = 0.005
free_iops = 3000
mibs_month = 0.04
free_mibs = 125
"""


def records(path):
    text = subprocess.run(["zstdcat", path], check=True, capture_output=True, text=True).stdout
    for row in csv.reader(io.StringIO(text)):
        if row and row[0].isdigit():
            yield int(row[0]), row[1], int(row[2]), int(row[3])


def compose(directory, out, bursts):
    """READS' reads and WRITES' writes behind them, until the shorter of the two ends."""
    reads = [r for r in records(f"{directory}/{READS}.csv.zst") if r[1] == "R"]
    behind = max(offset + length for _, _, offset, length in reads)
    behind += -behind % (1 << 20)
    writes = [(time // WRITES_PACE, op, offset + behind, length)
              for time, op, offset, length in records(f"{directory}/{WRITES}.csv.zst") if op == "W"]
    end = min(reads[-1][0], writes[-1][0])
    with open(out, "w", encoding="ascii") as file:
        for time, op, offset, length in heapq.merge(reads, writes):
            if time > end:
                break
            if bursts:  # the requests of a period come in its first part
                begin = time - time % BURST_US
                time = begin + (time - begin) // BURST_FACTOR
            file.write(f"{time},{op},{offset},{length}\n")


def replay(args, config, path, speed):
    done = subprocess.run(
        [args.latte, "replay", "--engine", path, "--alone", "--size", args.size, "--speed", str(speed),
         "--admission", ADMISSIONS, "--dispatcher", DISPATCHERS, "--cloud", args.cloud, "--drive", args.drive,
         "--seed", str(args.seed), "-c", config, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["traces"][0]


def three(latency):
    if not latency["count"]:
        return "-"
    return "/".join(f"{latency[key]:,.0f}" for key in ("mean_us", "p99_us", "p999_us"))


def mib(count):
    return f"{count / (1 << 20):,.0f}"


def show(name, speed, result):
    print(f"\n**{name}**, at {speed} times its pace\n")
    print("| | reads us | writes us | read hits | cloud operations | cloud MiB | pool MiB: clients + rest | a month |")
    print("|---|---|---|---|---|---|---|---|")
    for run in result["alone"]:
        cost = result["cloud_needs_without_latte"]["cost_month"]["total"]
        money = f"{cost:.2f}" if run["tier"] == "cloud" else ""
        print(f"| {run['tier']} alone | {three(run['read'])} | {three(run['write'])} | | | | | {money} |")
    for run in result["runs"]:
        cloud, pool = run["cloud"], run["pool_written_bytes"]
        rest = pool["admission"] + pool["reinsertion"] + pool["metadata"]
        print(f"| {run['admission']}, {run['dispatcher']} | {three(run['read'])} | {three(run['write'])} | "
              f"{run['read_hit_ratio']:.3f} | {cloud['reads'] + cloud['writes']:,} | "
              f"{mib(cloud['read_bytes'] + cloud['write_bytes'])} | {mib(pool['user'])} + {mib(rest)} | "
              f"{run['cloud_needs']['cost_month']['total']:.2f} |", flush=True)
        if run["failed"]:
            raise SystemExit(f"{run['failed']} requests failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--traces", required=True, help="a directory with the traces, .csv.zst")
    parser.add_argument("--size", default="25%")
    parser.add_argument("--drive", default="gen4")
    parser.add_argument("--cloud", default="ebs")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"Pool {args.size} of the footprint, drive {args.drive}, cloud {args.cloud}; latencies mean/p99/p99.9.")
    with tempfile.TemporaryDirectory() as directory:
        config = os.path.join(directory, "price.toml")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG)
        for name, speed in TRACES:
            show(name, speed, replay(args, config, f"{args.traces}/{name}.csv.zst", speed))
        for name, bursts in ((f"{READS} + {WRITES}", False), (f"{READS} + {WRITES}, bursts", True)):
            path = os.path.join(directory, "composed.csv")
            compose(args.traces, path, bursts)
            show(name, COMPOSED_SPEED, replay(args, config, path, COMPOSED_SPEED))


if __name__ == "__main__":
    main()
