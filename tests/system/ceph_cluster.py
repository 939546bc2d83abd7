"""A throw-away Ceph cluster for the system tests and benchmarks: one monitor and one OSD on loopback, from
Debian's packages, all state in one directory. No manager: RBD needs none.

Everything here ends by process id; nothing under /etc or /var/lib/ceph is touched.
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid

START_WAIT_S = 90
COMMAND_WAIT_S = 60
END_WAIT_S = 30
PORT_TRIES = 50
PROGRAMS = ("ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool", "ceph", "rbd")

CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}/0]
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind msgr1 = false
ms bind port min = {low}
ms bind port max = {high}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {dir}/keyring
run dir = {dir}/run
log file = {dir}/log/$name.log
log to stderr = false
err to stderr = true
mon cluster log file = {dir}/log/cluster.log
crash dir = {dir}/crash
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 16
osd pool default pgp num = 16
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon osd down out interval = 600
mon data avail warn = 1
mon data avail crit = 1
[mon]
mon data = {dir}/mon.a
[osd]
osd data = {dir}/osd.0
osd objectstore = bluestore
osd memory target = 1073741824
bluestore block size = {store_bytes}
bluestore block create = true
[client]
log file =
admin socket =
"""


def missing_programs():
    return [name for name in PROGRAMS if shutil.which(name) is None]


def free_ports():
    """The first of a hundred ports of which the first few are free. At random: a cluster that is stopped comes back
    to its own, and another one should not be there meanwhile."""
    for _ in range(PORT_TRIES):
        first = random.randrange(210, 310) * 100
        try:
            for port in (first, first + 10, first + 11):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise RuntimeError("no free ports")


class Cluster:
    """`start()` makes it, `stop()` ends its daemons; the OSD can be killed and brought back between."""

    def __init__(self, directory, store_gib=8):
        self.dir = os.path.abspath(directory)
        self.conf = os.path.join(self.dir, "ceph.conf")
        self.processes = {}
        self.store_bytes = store_gib << 30

    def _run(self, *command, text=None):
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False,
                              timeout=COMMAND_WAIT_S, env=dict(os.environ, CEPH_ARGS=""))
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def ceph(self, *words, text=None):
        return self._run("ceph", "-c", self.conf, "--connect-timeout", "20", *words, text=text)

    def rbd(self, *words):
        return self._run("rbd", "-c", self.conf, *words)

    def rados(self, *words):
        """On the objects of the pool rbd."""
        return self._run("rados", "-c", self.conf, "-p", "rbd", *words)

    def _spawn(self, name, *command):
        with open(os.path.join(self.dir, "log", name + ".out"), "ab") as out:
            self.processes[name] = subprocess.Popen((*command, "-c", self.conf, "-f"), stdout=out,
                                                    stderr=out, stdin=subprocess.DEVNULL,
                                                    start_new_session=True)

    def _wait(self, what, done):
        deadline = time.time() + START_WAIT_S
        while time.time() < deadline:
            try:
                if done():
                    return
            except (RuntimeError, subprocess.TimeoutExpired):
                pass
            time.sleep(0.2)
        raise RuntimeError(f"Ceph: {what} did not happen in {START_WAIT_S} s; see {self.dir}/log")

    def _make_monitor(self):
        for name in ("run", "log", "crash", "mon.a", "osd.0"):
            os.makedirs(os.path.join(self.dir, name), exist_ok=True)
        fsid, port = str(uuid.uuid4()), free_ports()
        with open(self.conf, "w", encoding="utf-8") as out:
            out.write(CONF.format(fsid=fsid, port=port, low=port + 10, high=port + 90, dir=self.dir,
                                  store_bytes=self.store_bytes))
        keyring, monitor = f"{self.dir}/keyring", f"{self.dir}/mon.keyring"
        self._run("ceph-authtool", "-C", keyring, "--gen-key", "-n", "client.admin", "--cap", "mon",
                  "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self._run("ceph-authtool", "-C", monitor, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("ceph-authtool", monitor, "--import-keyring", keyring)
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}/0]",
                  f"{self.dir}/monmap")
        self._run("ceph-mon", "-c", self.conf, "--mkfs", "-i", "a", "--monmap", f"{self.dir}/monmap",
                  "--keyring", monitor)

    def _make_osd(self):
        osd, secret = str(uuid.uuid4()), self._run("ceph-authtool", "--gen-print-key").strip()
        self.ceph("osd", "new", osd, "-i", "-", text=json.dumps({"cephx_secret": secret}))
        self._run("ceph-authtool", "-C", f"{self.dir}/osd.0/keyring", "-n", "osd.0", "--add-key", secret)
        self._run("ceph-osd", "-c", self.conf, "-i", "0", "--mkfs", "--osd-uuid", osd, "-k",
                  f"{self.dir}/osd.0/keyring")

    def start(self):
        self._make_monitor()
        self._spawn("mon.a", "ceph-mon", "-i", "a")
        self._wait("a monitor's answer", lambda: self.ceph("mon", "stat"))
        self._make_osd()
        self.start_osd()
        self.ceph("osd", "pool", "create", "rbd", "16", "16")
        self.rbd("pool", "init", "rbd")

    def start_again(self):
        """What stop() ended."""
        self._spawn("mon.a", "ceph-mon", "-i", "a")
        self._wait("a monitor's answer", lambda: self.ceph("mon", "stat"))
        self.start_osd()

    def start_osd(self):
        self._spawn("osd.0", "ceph-osd", "-i", "0", "-k", f"{self.dir}/osd.0/keyring")
        self._wait("an OSD that is up", lambda: '"num_up_osds":1' in self.ceph("osd", "stat", "-f", "json"))

    def kill_osd(self):
        self.processes["osd.0"].kill()
        self.processes["osd.0"].wait()

    def signal(self, name, number):
        self.processes[name].send_signal(number)

    def user(self, name, **caps):
        """A user with its keyring; returns a configuration file that finds it."""
        words = [word for kind, rights in caps.items() for word in (kind, rights)]
        key = self.ceph("auth", "get-or-create", f"client.{name}", *words)
        keyring = os.path.join(self.dir, f"{name}.keyring")
        with open(keyring, "w", encoding="utf-8") as out:
            out.write(key)
        with open(self.conf, encoding="utf-8") as conf:
            text = conf.read()
        path = os.path.join(self.dir, f"{name}.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text.replace(f"keyring = {self.dir}/keyring", f"keyring = {keyring}"))
        return path

    def operations(self):
        """Client operations that the OSD has served: (reads and writes alike, writes)."""
        socket_path = os.path.join(self.dir, "run", "ceph-osd.0.asok")
        counters = json.loads(self._run("ceph", "--admin-daemon", socket_path, "perf", "dump"))["osd"]
        return counters["op"], counters["op_w"]

    def stop(self):
        for name in ("osd.0", "mon.a"):
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(timeout=END_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
