#!/usr/bin/env python3
"""A plain disk and a Latte disk against qemu-storage-daemon over vhost-user-blk, side by side.

All three lie on the same file system with direct I/O. The Latte disk's data is in its pool; what is written
goes on to its cloud (a directory on the same file system) meanwhile. "raw" is fio's own io_uring on a file
beside them, without any server: what the drive gives. Rounds are interleaved, each begins
with another server, and before each measurement the backlog has reached the cloud. Medians and the ratios
to qemu are printed. fio's libblkio engine is the client (vhost_bench.py).

  bench/vhost_compare.py --fio FIO --latte build/release/latte [--dir DIR] [--rounds 5] [--seconds 1]
    [--write-buffer 16MiB]
"""
import os
import shutil
import statistics
import tempfile

from vhost_bench import (Fio, arguments, hybrid_table, local_table, start_latte, start_qemu,
                         wait_shipped)

SIZE = 1 << 30
# label, fio's rw, block, depth. A round begins with the whole disk written from its start to its end.
WORKLOADS = [
    ("128k read qd16", "read", "128k", 16),
    ("4k randread qd1", "randread", "4k", 1),
    ("4k randread qd32", "randread", "4k", 32),
    ("4k randread qd128", "randread", "4k", 128),
    ("128k write qd16", "write", "128k", 16),
    ("4k randwrite qd1", "randwrite", "4k", 1),
    ("4k randwrite qd32", "randwrite", "4k", 32),
    ("4k randwrite qd128", "randwrite", "4k", 128),
]


def measure(options, fio, server, paths):
    """IOPS by server and workload, one figure a round."""
    results = {name: {workload[0]: [] for workload in WORKLOADS} for name in paths}
    names = list(paths)
    chosen = [workload for workload in WORKLOADS if options.only in workload[0]]
    for turn in range(options.rounds):
        first = turn % len(names)
        for path in paths.values():
            fio.fill(path, SIZE)
        for label, rw, block, depth in chosen:
            for name in names[first:] + names[:first]:
                wait_shipped(server)
                result = fio.run(paths[name], rw, block, depth, SIZE, options.seconds)
                results[name][label].append(result["iops"])
    return results, chosen


def report(options, results, chosen):
    names = list(results)
    print(f"{'IOPS, medians of ' + str(options.rounds):22}" + "".join(f"{n:>12}" for n in names) +
          "".join(f"{n + '/qemu':>14}" for n in names if n != "qemu"))
    for label, *_ in chosen:
        medians = {name: statistics.median(results[name][label]) for name in names}
        print(f"{label:22}" + "".join(f"{medians[n]:12.0f}" for n in names) +
              "".join(f"{medians[n] / medians['qemu']:14.2f}" for n in names if n != "qemu"),
              flush=True)


def main():
    parser = arguments(__doc__, 5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--only", default="", help="only workloads whose label has this text")
    parser.add_argument("--wait-mode", default="eventfd", choices=["block", "eventfd", "loop"],
                        help="how the client waits for completions")
    parser.add_argument("--write-buffer", default=None, help="the pool's, such as 16MiB; none if left out")
    parser.add_argument("--polling", default="adaptive", help="latte's [reactor] polling")
    options = parser.parse_args()
    fio = Fio(options.fio, options.wait_mode)
    directory = tempfile.mkdtemp(prefix="latte-bench-", dir=options.dir)
    server = qemu = None
    try:
        server = start_latte(options.latte, directory,
                             [local_table("plain", SIZE), hybrid_table("hybrid", SIZE, 4 * SIZE)],
                             6 * SIZE, SIZE + (64 << 20), f'polling = "{options.polling}"', options.write_buffer)
        images = [os.path.join(directory, name) for name in ("qemu.img", "raw.img")]
        for image in images:
            with open(image, "wb") as out:
                out.truncate(SIZE)
        qemu, qemu_path = start_qemu(directory, images[0])
        paths = {"plain": os.path.join(directory, "plain.vhost"),
                 "hybrid": os.path.join(directory, "hybrid.vhost"), "qemu": qemu_path,
                 "raw": images[1]}
        report(options, *measure(options, fio, server, paths))
    finally:
        if server is not None:
            server.kill()
        if qemu is not None:
            qemu.terminate()
            qemu.wait()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
