#!/usr/bin/python3
"""Latte over RBD beside fio's rbd engine on the same cluster, with librbd's cache off and on.

  rbd_compare.py --latte build/release/latte --dir DIRECTORY [--seconds 10]

A Ceph cluster of one OSD on loopback (tests/system/ceph_cluster.py). Workloads: 4 KiB random writes at depth 1,
each flushed, and at depth 32, flushed every 32; both with a pool that has room. Then 70 % reads and 30 % writes
of 4 KiB at depth 32 with a pool of a quarter of the data, which both sides wrote before. Prints IOPS, latency
and the client operations that the OSD served: for Latte also those that it took to catch up afterwards
(lag 0), and once more after a drain.
"""
import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "tests", "system"))
from ceph_cluster import Cluster  # noqa: E402
from latte_host import Server  # noqa: E402

DATA_GIB = 2
CATCH_UP_S = 60

CONFIG = """[pool]
path = "{name}.pool"
size = "{pool_mib}MiB"
[[disk]]
name = "db"
size = "{gib}GiB"
cloud = "rbd:rbd/latte-{name}?conf={conf}"
nbd = "unix:{name}.sock"
[control]
socket = "{name}.ctl"
"""
WORKLOADS = (
    ("4 KiB random write, depth 1, each flushed", "room",
     ["--rw=randwrite", "--iodepth=1", "--fsync=1"]),
    ("4 KiB random write, depth 32, every 32 flushed", "room",
     ["--rw=randwrite", "--iodepth=32", "--fsync=32"]),
    ("4 KiB 70/30, depth 32, pool a quarter of the data", "quarter",
     ["--rw=randrw", "--rwmixread=70", "--iodepth=32"]),
)


def fio(target, workload, seconds, env=None, **sizes):
    done = subprocess.run(["fio", "--name=job", "--bs=4k", f"--size={DATA_GIB}g", "--time_based",
                           f"--runtime={seconds}", "--ramp_time=1", "--randrepeat=0", "--norandommap",
                           "--output-format=json", *target, *workload],
                          capture_output=True, text=True, check=True, env=env, **sizes)
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    result = {"iops": 0.0}
    for kind in ("read", "write"):
        side = job[kind]
        result["iops"] += side["iops"]
        if side["total_ios"]:
            spread = side["clat_ns"]["percentile"]
            result[kind] = [spread[f"{p}0000"] / 1e3 for p in ("50.00", "99.00", "99.90")]
            result["ios"] = result.get("ios", 0) + side["total_ios"]
    if job["sync"]["total_ios"]:
        spread = job["sync"]["lat_ns"]["percentile"]
        result["flush"] = [spread[f"{p}0000"] / 1e3 for p in ("50.00", "99.00", "99.90")]
    return result


class Bench:
    def __init__(self, options, directory, cluster):
        self.options, self.dir, self.cluster = options, directory, cluster
        self.caches = {}
        for name, setting in (("off", "false"), ("on", "true")):
            path = os.path.join(directory, f"cache-{name}.conf")
            with open(cluster.conf, encoding="utf-8") as conf, open(path, "w", encoding="utf-8") as out:
                out.write(conf.read() + f"rbd cache = {setting}\n")
            self.caches[name] = dict(os.environ, CEPH_CONF=path)

    def rbd(self, cache, workload):
        before = self.cluster.operations()
        result = fio(["--ioengine=rbd", "--clientname=admin", "--pool=rbd", "--rbdname=plain"],
                     workload, self.options.seconds, env=self.caches[cache])
        after = self.cluster.operations()
        result["operations"] = [f"{(after[0] - before[0]) / result['ios']:.3f}"]
        return result

    def latte(self, server, name, workload):
        before = self.cluster.operations()
        result = fio(["--ioengine=nbd", f"--uri=nbd+unix:///db?socket={self.dir}/{name}.sock"],
                     workload, self.options.seconds)
        deadline = time.time() + CATCH_UP_S
        while server.status()["disks"][0]["lag_seconds"] > 0 and time.time() < deadline:
            time.sleep(0.05)
        caught_up = self.cluster.operations()
        subprocess.run([self.options.latte, "drain", "-c", f"{self.dir}/{name}.toml", "db"], check=True,
                       capture_output=True)
        drained = self.cluster.operations()
        result["operations"] = [f"{(at[0] - before[0]) / result['ios']:.3f}"
                                for at in (caught_up, drained)]
        return result

    def serve(self, cleanup, name, pool_mib):
        path = os.path.join(self.dir, f"{name}.toml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(name=name, pool_mib=pool_mib, gib=DATA_GIB, conf=self.cluster.conf))
        subprocess.run([self.options.latte, "create", "-c", path], check=True, capture_output=True)
        server = Server(self.options.latte, path, subprocess.DEVNULL)
        cleanup.callback(server.kill)
        return server

    def fill(self, target, env=None):
        subprocess.run(["fio", "--name=fill", "--rw=write", "--bs=1m", "--iodepth=8", "--end_fsync=1",
                        f"--size={DATA_GIB}g", *target], check=True, stdout=subprocess.DEVNULL, env=env)


def show(what, result):
    spread = "  ".join(f"{kind} " + "/".join(f"{us:.0f}" for us in result[kind])
                       for kind in ("read", "write", "flush") if kind in result)
    print(f"  {what:<24}{result['iops']:8.0f} IOPS  us p50/p99/p99.9: {spread}; operations in Ceph per "
          f"operation: {', '.join(result['operations'])}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latte", required=True)
    parser.add_argument("--dir", default=None, help="where to work; a short path")
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    options.latte = os.path.abspath(options.latte)
    with tempfile.TemporaryDirectory(prefix="latte-rbd-", dir=options.dir) as directory, \
            contextlib.ExitStack() as cleanup:
        cluster = Cluster(os.path.join(directory, "ceph"), store_gib=24)
        cleanup.callback(cluster.stop)
        cluster.start()
        bench = Bench(options, directory, cluster)
        cluster.rbd("create", "--size", f"{DATA_GIB}G", "rbd/plain")
        servers = {"room": bench.serve(cleanup, "room", 4096), "quarter": bench.serve(
            cleanup, "quarter", DATA_GIB * 256)}
        bench.fill(["--ioengine=rbd", "--clientname=admin", "--pool=rbd", "--rbdname=plain"],
                   bench.caches["on"])
        for name in servers:
            bench.fill(["--ioengine=nbd", f"--uri=nbd+unix:///db?socket={directory}/{name}.sock"])
            subprocess.run([options.latte, "drain", "-c", f"{directory}/{name}.toml", "db"], check=True,
                           capture_output=True)
        for title, name, workload in WORKLOADS:
            print(title, flush=True)
            for cache in ("off", "on"):
                show(f"rbd, cache {cache}", bench.rbd(cache, workload))
            show("latte over rbd", bench.latte(servers[name], name, workload))


if __name__ == "__main__":
    main()
