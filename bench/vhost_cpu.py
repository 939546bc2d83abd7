#!/usr/bin/env python3
"""What the vhost-user-blk server's thread costs: idle, and under a paced load, polling adaptively or always.

1. `latte serve` with 8 plain disks, each with a driver attached that asks for nothing: cores used.
2. One disk in memory (vhost_device_server: the drive adds nothing), 4 KiB reads at queue depth 1, paced at 1 K,
   10 K and 50 K a second: latency and cores used by the server, for both ways of polling, interleaved.

fio's libblkio engine is the client (vhost_bench.py).

  bench/vhost_cpu.py --fio FIO --latte build/release/latte \\
    --device-server build/release/tests/system/vhost_device_server [--dir DIR] [--rounds 3] [--seconds 2]
"""
import os
import shutil
import statistics
import subprocess
import tempfile
import time

from vhost_bench import Fio, arguments, local_table, start_latte

DISKS = 8
SIZE = 64 << 20
IDLE_S = 10
SETTLE_S = 2
RATES = (1000, 10000, 50000)
WAYS = ("adaptive", "always")


def cpu_seconds(pid):
    """Time on a core of all threads so far."""
    total_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as text:
            total_ns += int(text.read().split()[0])
    return total_ns / 1e9


def idle_cores(options, fio, directory):
    names = [f"d{i}" for i in range(DISKS)]
    server = start_latte(options.latte, directory, [local_table(name, SIZE) for name in names],
                         64 << 20, DISKS * SIZE + (64 << 20))
    clients = []
    try:
        for name in names:
            # One read, and then a pause longer than this takes.
            clients.append(fio.start(os.path.join(directory, f"{name}.vhost"), "randread", "4k", 1,
                                     SIZE, "--thinktime=600s", "--time_based", "--runtime=600"))
        time.sleep(SETTLE_S)
        start = cpu_seconds(server.process.pid)
        time.sleep(IDLE_S)
        return (cpu_seconds(server.process.pid) - start) / IDLE_S
    finally:
        for client in clients:
            client.kill()
            client.communicate()
        server.kill()


def start_device_server(options, directory, way):
    path = os.path.join(directory, f"{way}.vhost")
    process = subprocess.Popen([options.device_server, way, f"unix:{path}", str(SIZE)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError(f"{options.device_server} did not start")
    return process, path


def paced(fio, process, path, rate, seconds):
    """Median latency in us, IOPS, and cores used by the server."""
    start, began = cpu_seconds(process.pid), time.time()
    result = fio.run(path, "randread", "4k", 1, SIZE, seconds, f"--rate_iops={rate}")
    # The client's own start and end are idle time, which "always" pays for and "adaptive" does not.
    cores = (cpu_seconds(process.pid) - start) / (time.time() - began)
    return result["clat_ns"]["percentile"]["50.000000"] / 1000, result["iops"], cores


def compare(options, fio, directory):
    servers = {}
    results = {(way, rate): [] for way in WAYS for rate in RATES}
    try:
        for _ in range(options.rounds):
            for rate in RATES:
                for way in WAYS:
                    # One at a time: one that always polls takes a core from the other.
                    servers[way], path = start_device_server(options, directory, way)
                    results[way, rate].append(
                        paced(fio, servers[way], path, rate, options.seconds))
                    servers[way].terminate()
                    servers.pop(way).wait()
    finally:
        for process in servers.values():
            process.kill()
            process.wait()
    return results


def main():
    parser = arguments(__doc__, 3)
    parser.add_argument("--device-server", required=True)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    fio = Fio(options.fio)
    directory = tempfile.mkdtemp(prefix="latte-bench-", dir=options.dir)
    try:
        print(f"idle, {DISKS} disks attached: {100 * idle_cores(options, fio, directory):.2f} % "
              "of a core", flush=True)
        results = compare(options, fio, directory)
    finally:
        shutil.rmtree(directory)
    print(f"{'asked for':>10}" + "".join(f"{way + ' us':>13}{'IOPS':>8}{'cores':>7}" for way in WAYS) +
          f"{'latency':>9}")
    for rate in RATES:
        medians = {way: [statistics.median(column) for column in zip(*results[way, rate])]
                   for way in WAYS}
        print(f"{rate:10}" + "".join(f"{medians[way][0]:13.1f}{medians[way][1]:8.0f}"
                                     f"{medians[way][2]:7.2f}" for way in WAYS) +
              f"{medians['adaptive'][0] / medians['always'][0]:9.2f}")


if __name__ == "__main__":
    main()
