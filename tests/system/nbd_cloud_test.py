#!/usr/bin/python3
"""A disk whose cloud is an NBD server: nbdkit, with its filters as the server that misbehaves, killed and
restarted. Needs nbdkit and python3-libnbd.

Usage: nbd_cloud_test.py --latte PATH
"""
import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import nbd

from latte_host import Server, write_config

BLOCK = 4096
DISK = 64 << 20
LOG = (64 << 20) + (64 << 10)
CALM_S = 60


class Cloud:
    """nbdkit over a directory of two files, which are the exports; on a unix socket, or on TCP with TLS."""

    def __init__(self, directory, *tls):
        os.makedirs(directory, exist_ok=True)
        self.tls = tls
        self.port = None
        if tls:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        self.socket = os.path.join(directory, "cloud.sock")
        self.files = os.path.join(directory, "exports")
        os.makedirs(self.files)
        for name, size in (("base", DISK), ("log", LOG)):
            with open(os.path.join(self.files, name), "wb") as out:
                out.truncate(size)
        self.process = None

    def uri(self, lease="1s"):
        return f"nbd+unix:///base?socket={self.socket}&log=log&lease={lease}"

    def listening(self):
        if not self.tls:
            return os.path.exists(self.socket)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def start(self, *filters_and_options):
        filters = [f"--filter={f[1:]}" for f in filters_and_options if f.startswith("+")]
        options = [f for f in filters_and_options if not f.startswith("+")]
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        address = ["-U", self.socket]
        if self.tls:
            address = ["-i", "127.0.0.1", "-p", str(self.port), "--tls=require", *self.tls]
        self.process = subprocess.Popen(
            ["nbdkit", "-f", *address, *filters, "file", f"dir={self.files}", *options])
        deadline = time.time() + 10
        while not self.listening():
            if time.time() > deadline or self.process.poll() is not None:
                raise RuntimeError("nbdkit did not start")
            time.sleep(0.01)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def connect(uri):
    handle = nbd.NBD()
    handle.connect_uri(uri)
    return handle


class Workload:
    """Random blocks with known contents."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.blocks = {}

    def write(self, handle, count):
        for _ in range(count):
            at = self.random.randrange(DISK // BLOCK)
            data = self.random.randbytes(16) * (BLOCK // 16)
            handle.pwrite(data, at * BLOCK)
            self.blocks[at] = data

    def check(self, handle, what):
        for at, data in self.blocks.items():
            if handle.pread(BLOCK, at * BLOCK) != data:
                raise AssertionError(f"{what}: block {at} is not what was written")


def calm(server):
    """Waits until the cloud has everything."""
    deadline = time.time() + CALM_S
    while time.time() < deadline:
        disk = server.status()["disks"][0]
        if disk["lag_seconds"] == 0 and disk["dirty_bytes"] == 0:
            return disk
        time.sleep(0.05)
    raise AssertionError(f"after {CALM_S} s the cloud still lacks {disk['dirty_bytes']} bytes")


def expect(latte, config, command, status, text, *more):
    done = subprocess.run([latte, *command, "-c", config, *more], capture_output=True, text=True,
                          check=False)
    if done.returncode != status or text not in done.stdout + done.stderr:
        raise AssertionError(f"latte {command} {more}: exit {done.returncode}, wanted {status} with {text!r}:\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def misbehave(latte, cloud, config, directory):
    """Restarts, errors and delays under load; nothing is lost, no client sees an error."""
    work = Workload(1)
    server = Server(latte, config, subprocess.DEVNULL)
    handle = connect(f"nbd+unix:///db?socket={directory}/a.pool.sock")
    try:
        for round_number in range(4):
            work.write(handle, 400)
            handle.flush()
            cloud.kill()
            work.write(handle, 200)
            filters = [[], ["+error", "error-rate=10%"], ["+delay", "delay-write=20ms", "delay-read=5ms"],
                       []][round_number]
            cloud.start(*filters)
            work.write(handle, 200)
        cloud_traffic = calm(server)["cloud"]
        print(f"operations: {cloud_traffic['writes']} writes for {cloud_traffic['write_bytes'] >> 20} MiB, "
              f"{cloud_traffic['errors']} failed attempts")
        work.check(handle, "after restarts, errors and delays")
        server.kill()
        server = Server(latte, config, subprocess.DEVNULL)
        handle = connect(f"nbd+unix:///db?socket={directory}/a.pool.sock")
        work.check(handle, "after SIGKILL of latte")
        calm(server)
    finally:
        server.kill()
    return work


def make_certificates(directory):
    """An authority, and a server's certificate for localhost that it signed."""
    os.makedirs(directory)

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=directory, capture_output=True)

    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca-key.pem", "-out", "ca-cert.pem")
    openssl("req", *key[:3], "-subj", "/CN=localhost", "-keyout", "server-key.pem", "-out", "request.pem")
    with open(os.path.join(directory, "names"), "w", encoding="utf-8") as out:
        out.write("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "server-cert.pem")


def encrypted(latte, directory):
    """The cloud over TLS, with a shared key and with certificates; who is not trusted gets no data."""
    key, other = os.path.join(directory, "key.psk"), os.path.join(directory, "other.psk")
    for path in (key, other):
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"alice:{random.randbytes(32).hex()}\n")
    certificates, strange = os.path.join(directory, "pki"), os.path.join(directory, "strange")
    make_certificates(certificates)
    make_certificates(strange)
    ways = {
        "psk": (f"--tls-psk={key}", f"tls-psk-file={key}&tls-username=alice", f"tls-psk-file={other}&tls-username=alice"),
        "x509": (f"--tls-certificates={certificates}", f"tls-certificates={certificates}", f"tls-certificates={strange}")}
    for name, (server_option, good, bad) in ways.items():
        cloud = Cloud(os.path.join(directory, name), server_option)
        try:
            cloud.start()
            place = f"://localhost:{cloud.port}/base?log=log&lease=1s"
            for uri in (f"nbds{place}&{bad}", f"nbd{place}"):
                config = write_config(directory, "bad.toml", f"{directory}/{name}.bad", DISK, "local", 2, uri)
                expect(latte, config, ["create"], 1, f"localhost:{cloud.port}")
            config = write_config(directory, f"{name}.toml", f"{directory}/{name}.pool", DISK, "local", 2,
                                  f"nbds{place}&{good}")
            expect(latte, config, ["create"], 0, "created in nbds")
            server = Server(latte, config, subprocess.DEVNULL)
            try:
                handle = connect(f"nbd+unix:///db?socket={directory}/{name}.pool.sock")
                work = Workload(2)
                work.write(handle, 200)
                cloud.kill()
                work.write(handle, 100)
                cloud.start()
                calm(server)
                work.check(handle, f"over TLS, {name}")
                server.stop()
            finally:
                server.kill()
            expect(latte, config, ["drain"], 0, "")
            expect(latte, config, ["check"], 0, "clean")
        finally:
            cloud.kill()


def move(latte, cloud, a, b, directory, work):
    """Another host takes the disk over from a dead one, not from a live one; and by force."""
    expect(latte, b, ["create"], 0, "")
    out = expect(latte, b, ["takeover"], 0, "content up to write", "db")
    print(out.strip())
    server = Server(latte, b, subprocess.DEVNULL)
    stopped = False
    try:
        handle = connect(f"nbd+unix:///db?socket={directory}/b.pool.sock")
        work.check(handle, "on the second host")
        disk_id = server.status()["disks"][0]["id"]
        # Alive: refused. Wrong id: refused.
        expect(latte, a, ["takeover"], 2, "is alive", "db")
        expect(latte, a, ["takeover"], 1, disk_id, "db", "--force-unfenced", "1234")
        work.write(handle, 100)
        calm(server)
        # Stopped in the middle of its work: the lease runs out; when it wakes up it is fenced.
        server.process.send_signal(signal.SIGSTOP)
        stopped = True
        expect(latte, a, ["takeover"], 0, "content up to write", "db")
        first = Server(latte, a, subprocess.DEVNULL)
        try:
            mine = connect(f"nbd+unix:///db?socket={directory}/a.pool.sock")
            work.check(mine, "taken over from a stopped server")
            work.write(mine, 200)
            server.process.send_signal(signal.SIGCONT)
            stopped = False
            deadline = time.time() + 20
            while server.status()["disks"][0]["state"] != "fenced":
                if time.time() > deadline:
                    raise AssertionError("the resumed server does not notice that it is fenced")
                try:
                    handle.pwrite(b"x" * BLOCK, 0)
                except nbd.Error:
                    pass
                time.sleep(0.1)
            work.check(mine, "after the old server woke up")
            # By force, although it is alive.
            server.stop()
            expect(latte, b, ["takeover"], 0, "content up to write", "db", "--force-unfenced", disk_id)
        finally:
            first.kill()
    finally:
        if stopped:
            server.process.send_signal(signal.SIGCONT)
        server.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--latte", required=True)
    latte = os.path.abspath(parser.parse_args().latte)
    if shutil.which("nbdkit") is None:
        print("skipped: needs nbdkit")
        sys.exit(77)
    directory = tempfile.mkdtemp(prefix="latte_nbd_")
    cloud = Cloud(directory)
    try:
        cloud.start()
        a = write_config(directory, "a.toml", f"{directory}/a.pool", DISK, "local", 2, cloud.uri())
        b = write_config(directory, "b.toml", f"{directory}/b.pool", DISK, "local", 2, cloud.uri())
        # Somebody else's data is left alone.
        with open(os.path.join(cloud.files, "base"), "r+b") as out:
            out.seek(5 << 20)
            out.write(b"precious")
        expect(latte, a, ["create"], 1, "left alone")
        with open(os.path.join(cloud.files, "base"), "r+b") as out:
            out.seek(5 << 20)
            out.write(bytes(8))
        expect(latte, a, ["create"], 0, "created in nbd+unix")
        expect(latte, a, ["create"], 0, "left alone")
        work = misbehave(latte, cloud, a, directory)
        move(latte, cloud, a, b, directory, work)
        expect(latte, b, ["drain"], 0, "")
        expect(latte, b, ["check"], 0, "clean")
        encrypted(latte, directory)
        print("ok")
    finally:
        cloud.kill()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
