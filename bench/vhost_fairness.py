#!/usr/bin/env python3
"""Two tenants on one server: one saturates its disk with 128 KiB writes at queue depth 32, the other reads
4 KiB at queue depth 1. Prints the reader's latencies before, during and after, and what the writer gets
alone and beside the reader. Rounds, medians. fio's libblkio engine is the client (vhost_bench.py).

  bench/vhost_fairness.py --fio FIO --latte build/release/latte [--dir DIR] [--kind local] [--rounds 3]
"""
import os
import shutil
import statistics
import tempfile
import time

from vhost_bench import Fio, arguments, hybrid_table, local_table, start_latte

SIZE = 1 << 30
WRITER = ("write", "128k", 32)
IDLE_S = 1.5   # until the reader counts as idle
START_S = 1.0  # until a client has connected and its load is steady


def percentile_us(result, which):
    return result["clat_ns"]["percentile"][which] / 1000


def read_for(fio, path, seconds):
    return fio.run(path, "randread", "4k", 1, SIZE, seconds)


def one_round(fio, reader, writer, seconds):
    """The reader's results by phase, and the writer's MiB/s alone and beside the reader."""
    reads = {"before": read_for(fio, reader, seconds)}
    time.sleep(IDLE_S)
    alone = fio.run(writer, *WRITER, SIZE, seconds)
    load = fio.start(writer, *WRITER, SIZE, "--time_based", f"--runtime={seconds + 2 * START_S}")
    time.sleep(START_S)
    reads["during"] = read_for(fio, reader, seconds)
    beside = fio.finish(load)
    reads["after"] = read_for(fio, reader, seconds)
    return reads, alone["bw"] / 1024, beside["bw"] / 1024


def main():
    parser = arguments(__doc__, 3)
    parser.add_argument("--kind", default="local", choices=["local", "hybrid"])
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    fio = Fio(options.fio)
    directory = tempfile.mkdtemp(prefix="latte-bench-", dir=options.dir)
    names = ("reader", "writer")
    hybrid = options.kind == "hybrid"
    tables = [hybrid_table(n, SIZE, 4 * SIZE) if hybrid else local_table(n, SIZE) for n in names]
    server = start_latte(options.latte, directory, tables, 8 * SIZE if hybrid else 64 << 20,
                         0 if hybrid else 2 * SIZE + (64 << 20))
    try:
        reader, writer = (os.path.join(directory, f"{name}.vhost") for name in names)
        fio.fill(reader, SIZE)
        fio.fill(writer, SIZE)
        rounds = [one_round(fio, reader, writer, options.seconds) for _ in range(options.rounds)]
    finally:
        server.kill()
        shutil.rmtree(directory)
    print(f"{'4 KiB reads, depth 1':22}{'IOPS':>9}{'p50 us':>9}{'p99 us':>9}{'p99.9 us':>10}")
    for phase in ("before", "during", "after"):
        results = [reads[phase] for reads, *_ in rounds]
        print(f"{phase:22}{statistics.median(r['iops'] for r in results):9.0f}" +
              "".join(f"{statistics.median(percentile_us(r, p) for r in results):{width}.0f}"
                      for p, width in (("50.000000", 9), ("99.000000", 9), ("99.900000", 10))))
    print(f"writer, MiB/s: alone {statistics.median(r[1] for r in rounds):.0f}, "
          f"beside the reader {statistics.median(r[2] for r in rounds):.0f}")


if __name__ == "__main__":
    main()
