"""A host that serves a disk with Latte, for the system tests and the benchmarks; and a file system mounted on
that disk.

Everything here ends by process id and by path of its own; nothing else on the machine is touched.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import tomllib

READY_WAIT_S = 60
MOUNT_WAIT_S = 10
END_WAIT_S = 60


def write_config(directory, name, pool, disk_bytes, durability, max_lag_s, cloud="file:cloud"):
    """A host's configuration; two of them in one directory are two hosts that share the cloud."""
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"""[pool]
path = "{pool}"
size = "96MiB"
segment_size = "1MiB"
[[disk]]
name = "db"
size = "{disk_bytes}"
cloud = "{cloud}"
cloud_log_size = "64MiB"
durability = "{durability}"
max_lag = "{max_lag_s}s"
nbd = "unix:{pool}.sock"
[control]
socket = "{pool}.ctl"
""")
    return path


def run(command, log):
    """Runs a command to its end; its output goes to the log. Raises if it fails."""
    subprocess.run(command, check=True, stdout=log, stderr=log)


class Server:
    """`latte serve`, from ready on. `log` takes its standard error: a file, or subprocess.DEVNULL."""

    def __init__(self, latte, config, log, *options):
        with open(config, "rb") as text:
            control = tomllib.load(text)["control"]["socket"]
        self.control = os.path.join(os.path.dirname(config), control)
        self.process = subprocess.Popen([latte, "serve", "-c", config, *options], stdout=subprocess.PIPE,
                                        stderr=log, text=True)
        line = self.process.stdout.readline().strip()
        if line != "ready":
            raise RuntimeError(f"latte serve said {line!r}, exit {self.process.wait()}")

    def status(self):
        """What `latte status --json` prints, without starting a process: that would show in a measurement."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.control)
            connection.sendall(b'{"command":"status"}\n')
            with connection.makefile("r", encoding="utf-8") as lines:
                return json.loads(lines.readline())["status"]

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.terminate()
        if self.process.wait(timeout=END_WAIT_S) != 0:
            raise RuntimeError(f"clean stop ended with {self.process.returncode}")


class Mount:
    """The disk as a file, by nbdfuse, and a loop mount of it."""

    def __init__(self, directory, uri, log):
        self.file_dir = os.path.join(directory, "fuse")
        self.path = os.path.join(directory, "mnt")
        self.file = os.path.join(self.file_dir, "nbd")
        self.log = log
        os.makedirs(self.file_dir, exist_ok=True)
        os.makedirs(self.path, exist_ok=True)
        self.fuse = subprocess.Popen(["nbdfuse", self.file_dir, uri], stdout=log, stderr=log)
        deadline = time.time() + MOUNT_WAIT_S
        while not os.path.exists(self.file):
            if time.time() > deadline or self.fuse.poll() is not None:
                self.close()
                raise RuntimeError(f"nbdfuse did not bring up {uri}")
            time.sleep(0.05)

    def mount(self):
        run(["mount", "-o", "loop", self.file, self.path], self.log)

    def unmount(self):
        run(["umount", self.path], self.log)

    def check(self):
        """e2fsck of the unmounted file system. Mounting it once before has replayed the journal; that
        anything else is to be mended is a failure."""
        checked = subprocess.run(["e2fsck", "-fn", self.file], capture_output=True, text=True,
                                 check=False)
        if checked.returncode != 0:
            raise AssertionError(f"e2fsck: {checked.stdout}{checked.stderr}")

    def close(self):
        """Also when the server below is dead; unmounting then takes a few tries."""
        deadline = time.time() + MOUNT_WAIT_S
        while os.path.ismount(self.path) and time.time() < deadline:
            subprocess.run(["umount", self.path], stdout=self.log, stderr=self.log, check=False)
            time.sleep(0.1)
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-l", self.path], stdout=self.log, stderr=self.log, check=False)
        subprocess.run(["fusermount3", "-uz", self.file_dir], stdout=self.log, stderr=self.log,
                       check=False)
        self.fuse.terminate()
        self.fuse.wait(timeout=END_WAIT_S)


def mount_obstacle():
    """Why no file system can be mounted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for path in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(path):
            return f"needs {path}"
    for tool in ("nbdfuse", "fusermount3", "mkfs.ext4", "e2fsck"):
        if shutil.which(tool) is None:
            return f"needs {tool}"
    # The device nodes can be there without the right to use them, as in a container.
    loop = subprocess.run(["losetup", "-f"], capture_output=True, text=True, check=False)
    if loop.returncode != 0:
        return f"needs a free loop device: {loop.stderr.strip()}"
    return None
