"""What the vhost-user-blk benchmarks share: fio as the client, and the servers it is pointed at.

The client is fio's libblkio engine: a vhost-user-blk driver without a virtual machine. Distributions build
fio without it; build fio against libblkio and name the binary with --fio.
"""
import argparse
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from latte_host import Server  # noqa: E402  pylint: disable=wrong-import-position

SOCKET_WAIT_S = 60
SHIP_WAIT_S = 120
QUEUE_SIZE = 256


def arguments(text, rounds):
    """A parser with what all of these benchmarks take."""
    parser = argparse.ArgumentParser(description=text,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fio", required=True, help="a fio that has the libblkio engine")
    parser.add_argument("--latte", required=True)
    parser.add_argument("--dir", default=None, help="where to work; on the file system to measure")
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


class Fio:
    """Runs jobs against a vhost-user-blk socket, or a file itself (its name ends in .img)."""

    def __init__(self, binary, wait_mode="eventfd"):
        self.binary = binary
        self.wait_mode = wait_mode

    def command(self, path, rw, block, depth, size, *more):
        if path.endswith(".img"):
            engine = ["--ioengine=io_uring", "--direct=1", f"--filename={path}"]
        else:
            engine = ["--ioengine=libblkio", "--libblkio_driver=virtio-blk-vhost-user",
                      f"--libblkio_path={path}", f"--libblkio_queue_size={QUEUE_SIZE}",
                      f"--libblkio_wait_mode={self.wait_mode}"]
        return [self.binary, "--name=x", "--thread", *engine, f"--rw={rw}", f"--bs={block}",
                f"--iodepth={depth}", f"--size={size}", "--randrepeat=0", "--output-format=json",
                *more]

    def fill(self, path, size):
        """Writes the whole disk from its start to its end."""
        self.finish(self.start(path, "write", "128k", 16, size))

    def run(self, path, rw, block, depth, size, seconds, *more):
        """Result of a job of so many seconds: fio's part for its direction."""
        return self.finish(self.start(path, rw, block, depth, size, "--time_based",
                                      f"--runtime={int(seconds * 1000)}ms", *more))

    def start(self, path, rw, block, depth, size, *more):
        process = subprocess.Popen(self.command(path, rw, block, depth, size, *more),
                                   stdout=subprocess.PIPE, text=True)
        process.side = "read" if "read" in rw else "write"
        return process

    @staticmethod
    def finish(process):
        text, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"fio ended with {process.returncode}: {text}")
        return json.loads(text[text.index("{"):])["jobs"][0][process.side]


def start_latte(latte, directory, tables, pool_bytes, volumes_bytes=0, reactor="", write_buffer=None):
    """Creates and serves disks; each of `tables` is the text of a [[disk]] table."""
    config = os.path.join(directory, "latte.toml")
    volumes = f'volumes = "{volumes_bytes}"\n' if volumes_bytes else ""
    with open(config, "w", encoding="utf-8") as out:
        buffer = f'write_buffer = "{write_buffer}"\n' if write_buffer else ""
        out.write(f'[pool]\npath = "pool.img"\nsize = "{pool_bytes}"\n{volumes}{buffer}'
                  f'[reactor]\n{reactor}\n[control]\nsocket = "latte.ctl"\n')
        for table in tables:
            out.write(f"[[disk]]\n{table}\n")
    latte = os.path.abspath(latte)
    subprocess.run([latte, "create", "-c", config], check=True, capture_output=True)
    return Server(latte, config, subprocess.DEVNULL)


def local_table(name, size):
    """A plain disk, thick."""
    return f'name = "{name}"\nkind = "local"\nsize = "{size}"\nvhost = "unix:{name}.vhost"'


def hybrid_table(name, size, cloud_log_size):
    """A Latte disk whose cloud is a directory beside the pool."""
    return (f'name = "{name}"\nsize = "{size}"\ncloud = "file:{name}.cloud"\nmax_lag = "none"\n'
            f'cloud_log_size = "{cloud_log_size}"\nvhost = "unix:{name}.vhost"')


def start_qemu(directory, image):
    """qemu-storage-daemon serving `image` with direct I/O; returns the process and the socket."""
    path = os.path.join(directory, "qemu.vhost")
    process = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev",
         f"driver=file,node-name=f,filename={image},cache.direct=on,aio=io_uring,locking=off",
         "--blockdev", "driver=raw,node-name=r,file=f",
         "--export", f"type=vhost-user-blk,id=e,node-name=r,addr.type=unix,addr.path={path},"
         "writable=on"])
    deadline = time.time() + SOCKET_WAIT_S
    while not os.path.exists(path):
        if process.poll() is not None or time.time() > deadline:
            raise RuntimeError("qemu-storage-daemon did not start")
        time.sleep(0.05)
    return process, path


def wait_shipped(server):
    """Until what was written has reached the cloud: it would slow what is measured next."""
    deadline = time.time() + SHIP_WAIT_S
    while server.status()["pool"]["dirty_bytes"] > 0:
        if time.time() > deadline:
            raise RuntimeError(f"latte's backlog did not reach the cloud in {SHIP_WAIT_S} s")
        time.sleep(0.05)
