#!/usr/bin/python3
"""The command line as other tools see it: create, serve, status, drain, check, takeover, handover, resize.

  cli_test.py --latte BUILD/latte

Needs nbdinfo and nbdcopy (libnbd-bin), python3-libnbd. Each test has a directory of its own below the system's temporary
one, which is removed at the end.
"""

import argparse
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import nbd

LATTE = None
READY_WAIT_S = 60

CONFIG = """
[pool]
path = "{pool}"
size = "64MiB"
segment_size = "1MiB"
[[disk]]
name = "db"
size = "128MiB"
cloud = "file:cloud/db"
cloud_log_size = "64MiB"
nbd = "unix:{socket}.db"
[[disk]]
name = "logs"
size = "64MiB"
cloud = "file:cloud/logs"
cloud_log_size = "64MiB"
durability = "cloud"
nbd = "unix:{socket}.logs"
[control]
socket = "{socket}.ctl"
http = "127.0.0.1:{port}"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class CliCase(unittest.TestCase):
    """A directory with two configurations, and what one does with them."""

    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.dir = pathlib.Path(self.scratch.name)
        self.port = free_port()
        self.config = self.write_config("run.toml", "pool.img", "a")
        self.other = self.write_config("other.toml", "other.img", "b")

    def write_config(self, name, pool, sock):
        path = self.dir / name
        path.write_text(CONFIG.format(pool=pool, socket=sock, port=self.port))
        return path

    def run_latte(self, command, *more, config=None, expect=0):
        done = subprocess.run([LATTE, command, "-c", str(config or self.config), *more],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, expect, f"{command}: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def run_latte_words(self, *words, expect=0):
        done = subprocess.run([LATTE, *words], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, expect, f"{words}: {done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def serve(self, *more, config=None):
        err = open(self.dir / "serve.err", "w")
        self.addCleanup(err.close)
        server = subprocess.Popen([LATTE, "serve", "-c", str(config or self.config), *more],
                                  stdout=subprocess.PIPE, stderr=err, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(self.end, server)
        line = server.stdout.readline()
        self.assertEqual(line, "ready\n", (self.dir / "serve.err").read_text())
        return server

    def end(self, server):
        if server.poll() is None:
            server.kill()
            server.wait()

    def stop(self, server, number=signal.SIGTERM):
        server.send_signal(number)
        self.assertEqual(server.wait(timeout=30), 0)
        self.assertEqual(server.stdout.read(), "")

    def uri(self, disk="db", sock="a"):
        return f"nbd+unix:///{disk}?socket={self.dir}/{sock}.{disk}"

    def put(self, data, disk="db", sock="a"):
        (self.dir / "in").write_bytes(data)
        subprocess.run(["nbdcopy", "--flush", str(self.dir / "in"), self.uri(disk, sock)],
                       check=True, timeout=60)

    def get(self, length, disk="db", sock="a"):
        subprocess.run(["nbdcopy", self.uri(disk, sock), str(self.dir / "out")], check=True, timeout=60)
        with open(self.dir / "out", "rb") as out:
            return out.read(length)

    def status(self, config=None):
        return json.loads(self.run_latte("status", "--json", config=config))


class CliTest(CliCase):
    def test_create_makes_what_is_missing_once(self):
        out = self.run_latte("create")
        for part in ("pool.img: created", "disk db: created", "disk logs: created"):
            self.assertIn(part, out)
        before = (self.dir / "pool.img").read_bytes()
        out = self.run_latte("create")
        self.assertNotIn("created", out)
        self.assertEqual(out.count("exists"), 3)
        self.assertEqual((self.dir / "pool.img").read_bytes(), before)
        self.assertFalse((self.dir / "pool.img.new").exists())

    def test_create_never_overwrites(self):
        (self.dir / "pool.img").write_bytes(b"precious" * 8192 * 1024)
        before = (self.dir / "pool.img").read_bytes()
        self.assertIn("left alone", self.run_latte("create", expect=1))
        self.assertEqual((self.dir / "pool.img").read_bytes(), before)

    def test_interrupted_create_is_repeated(self):
        (self.dir / "pool.img.latte-new").write_bytes(bytes(5 << 20))
        (self.dir / "cloud/db").mkdir(parents=True)
        with open(self.dir / "cloud/db/base", "wb") as base:
            base.truncate(128 << 20)
        out = self.run_latte("create")
        self.assertIn("left by a run that was interrupted", out)
        self.assertIn("disk db: created", out)
        self.assertFalse((self.dir / "pool.img.latte-new").exists())
        self.stop(self.serve())

    def test_killed_create_is_repeated(self):
        for wait_s in (0.01, 0.03, 0.06, 0.1, 0.2):
            create = subprocess.Popen([LATTE, "create", "-c", str(self.config)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(wait_s)
            create.kill()
            create.wait()
        self.run_latte("create")
        self.assertEqual(self.run_latte("create").count("exists"), 3)
        self.assertIn("clean", self.run_latte("check"))
        self.assertEqual(sorted(path.name for path in self.dir.iterdir() if "pool" in path.name),
                         ["pool.img"])

    def test_create_leaves_foreign_directories_alone(self):
        directory = self.dir / "cloud/db"
        directory.mkdir(parents=True)
        (directory / "photo.jpg").write_bytes(b"precious")
        out = self.run_latte("create", expect=1)
        self.assertIn("photo.jpg", out)
        self.assertIn("left alone", out)
        self.assertIn("disk logs: created", out)
        self.assertEqual([path.name for path in directory.iterdir()], ["photo.jpg"])

    def test_create_makes_no_empty_disk_over_a_lost_superblock(self):
        self.run_latte("create")
        server = self.serve()
        self.put(os.urandom(1 << 20))
        self.stop(server)
        self.run_latte("drain")
        (self.dir / "cloud/db/super").unlink()
        before = (self.dir / "cloud/db/base").read_bytes()
        self.assertIn("there is no superblock beside it", self.run_latte("create", expect=1))
        self.assertEqual((self.dir / "cloud/db/base").read_bytes(), before)

    def test_service_manager_is_told(self):
        self.run_latte("create")
        path = str(self.dir / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(10)
            os.environ["NOTIFY_SOCKET"] = path
            self.addCleanup(os.environ.pop, "NOTIFY_SOCKET", None)
            server = self.serve()
            self.assertEqual(manager.recv(64), b"READY=1")
            self.stop(server)
            self.assertEqual(manager.recv(64), b"STOPPING=1")

    def test_serve_creates_nothing(self):
        self.assertIn("latte create", self.run_latte("serve", expect=1))
        self.assertFalse((self.dir / "pool.img").exists())
        self.assertFalse((self.dir / "cloud").exists())

    def test_data_survives_stop_kill_and_drain(self):
        self.run_latte("create")
        data = os.urandom(8 << 20)
        server = self.serve()
        self.put(data)
        self.assertEqual(self.get(len(data)), data)
        self.stop(server, signal.SIGINT)
        server = self.serve()
        self.assertEqual(self.get(len(data)), data)
        newer = os.urandom(8 << 20)
        self.put(newer)
        server.kill()
        server.wait()
        server = self.serve()
        self.assertEqual(self.get(len(newer)), newer)
        self.assertIn("disk db: clean", self.run_latte("drain", "db"))
        with open(self.dir / "cloud/db/base", "rb") as base:
            self.assertEqual(base.read(len(newer)), newer)
        self.assertEqual(self.status()["disks"][0]["dirty_bytes"], 0)
        self.put(data)
        self.stop(server)
        self.assertIn("all disks: clean", self.run_latte("drain"))
        with open(self.dir / "cloud/db/base", "rb") as base:
            self.assertEqual(base.read(len(data)), data)
        self.assertIn("clean", self.run_latte("check"))

    def test_status_has_the_contracts_keys(self):
        self.run_latte("create")
        self.assertIn("no server answers", self.run_latte("status", expect=1))
        server = self.serve()
        self.put(os.urandom(1 << 20))
        self.get(1 << 20)
        time.sleep(0.2)  # a snapshot is at most 100 ms old
        status = self.status()
        self.assertLessEqual({"version", "pool", "disks"}, status.keys())
        self.assertLessEqual({"size_bytes", "used_bytes", "dirty_bytes", "written_bytes"},
                             status["pool"].keys())
        self.assertEqual({"user", "admission", "reinsertion", "metadata"},
                         status["pool"]["written_bytes"].keys())
        db = status["disks"][0]
        self.assertLessEqual({"name", "size_bytes", "state", "generation", "lag_seconds", "dirty_bytes",
                              "reads", "writes", "read_bytes", "write_bytes", "read_hit_ratio",
                              "read_latency_us", "write_latency_us", "cloud"}, db.keys())
        for latency in ("read_latency_us", "write_latency_us"):
            self.assertEqual({"p50", "p99", "p999"}, db[latency].keys())
            self.assertGreater(db[latency]["p50"], 0)
        self.assertLessEqual({"reads", "writes", "read_bytes", "write_bytes"}, db["cloud"].keys())
        self.assertEqual((db["name"], db["state"]), ("db", "online"))
        self.assertEqual(db["write_bytes"], 1 << 20)
        self.assertIn("disk db: online", self.run_latte("status"))
        self.stop(server)

    def test_only_one_server_has_the_pool(self):
        self.run_latte("create")
        server = self.serve()
        for command, code in (("serve", 1), ("check", 2)):
            self.assertIn(f"process {server.pid}", self.run_latte(command, expect=code))
        self.assertIn("already", self.run_latte("takeover", "db"))
        self.run_latte("create")
        self.stop(server)

    def test_takeover_by_another_host(self):
        self.run_latte("create")
        server = self.serve()
        data = os.urandom(4 << 20)
        self.put(data, "logs")  # durability = "cloud", flushed: nothing may be missing
        server.kill()
        server.wait()
        out = self.run_latte("create", config=self.other)
        self.assertIn("belongs to another host", out)
        self.assertIn("latte takeover", self.run_latte("serve", config=self.other, expect=1))
        self.run_latte("takeover", "nosuch", config=self.other, expect=2)
        for disk in ("db", "logs"):
            self.run_latte("takeover", disk, config=self.other)
        self.assertIn("already", self.run_latte("takeover", "logs", config=self.other))
        server = self.serve(config=self.other)
        self.assertEqual(self.get(len(data), "logs", "b"), data)
        self.assertIn("another host", self.run_latte("serve", expect=1))
        self.stop(server)

    def states(self, config):
        return {disk["name"]: disk["state"] for disk in self.status(config)["disks"]}

    def test_disks_move_between_running_servers(self):
        self.run_latte("create")
        self.run_latte("create", config=self.other)
        self.other.write_text(self.other.read_text().replace(f"{self.port}", f"{free_port()}"))
        first = self.serve()
        self.run_latte("serve", config=self.other, expect=1)
        second = self.serve("--standby", config=self.other)
        self.assertEqual(self.states(self.other), {"db": "standby", "logs": "standby"})
        data = os.urandom(4 << 20)
        self.put(data)
        # Planned: what no flush has brought to the cloud is there all the same.
        self.run_latte("handover", "nosuch", expect=2)
        self.assertIn("handed over", self.run_latte("handover", "db"))
        self.assertEqual(self.states(self.config), {"db": "standby", "logs": "online"})
        self.assertNotEqual(subprocess.run(["nbdinfo", self.uri()], capture_output=True).returncode, 0)
        self.assertIn("served after", self.run_latte("takeover", "db", config=self.other))
        self.assertEqual(self.get(len(data), sock="b"), data)
        # And back, then the other disk by force, while its host serves it, and back.
        self.put(data[::-1], sock="b")
        self.run_latte("handover", "db", config=self.other)
        self.run_latte("takeover", "db")
        self.assertEqual(self.get(len(data)), data[::-1])
        self.run_latte("takeover", "logs", config=self.other)
        self.put(data, "logs", "b")
        subprocess.run(["nbdcopy", "--flush", str(self.dir / "in"), self.uri("logs")],
                       capture_output=True, timeout=60)
        self.assertEqual(self.states(self.config), {"db": "online", "logs": "fenced"})
        self.run_latte("takeover", "logs")
        self.assertEqual(self.states(self.config), {"db": "online", "logs": "online"})
        self.assertEqual(self.get(len(data), "logs"), data)
        self.stop(first)
        self.stop(second)
        # Without a server.
        self.run_latte("handover", "db")
        self.run_latte("serve", expect=1)
        self.run_latte("takeover", "db", config=self.other)
        second = self.serve("--standby", config=self.other)
        self.assertEqual(self.get(len(data), sock="b"), data[::-1])
        self.stop(second)

    def test_disks_are_resized_while_they_are_served(self):
        self.run_latte("create")
        server = self.serve()
        size = self.status()["disks"][0]["size_bytes"]
        data = os.urandom(1 << 20)
        self.put(data)
        self.run_latte("resize", "db", str(size + 512), expect=1)
        self.assertIn("no such disk", self.run_latte("resize", "none", "1GiB", expect=2))
        self.run_latte("resize", "db", "big", expect=2)
        self.assertIn(f"has {2 * size} bytes now", self.run_latte("resize", "db", str(2 * size)))
        self.assertEqual(self.status()["disks"][0]["size_bytes"], 2 * size)
        last = nbd.NBD()
        last.connect_uri(self.uri())
        self.assertEqual(last.get_size(), 2 * size)
        self.assertEqual(bytes(last.pread(4096, 2 * size - 4096)), bytes(4096))
        last.pwrite(data[:4096], 2 * size - 4096)
        last.flush()
        self.assertIn("--force", self.run_latte("resize", "db", str(size), expect=1))
        last.shutdown()
        self.end(server)
        # The configuration still has the old size.
        server = self.serve()
        self.assertIn("its own size counts", (self.dir / "serve.err").read_text())
        back = self.get(2 * size)
        self.assertEqual(back[:len(data)], data)
        self.assertEqual(back[-4096:], data[:4096])
        self.run_latte("resize", "db", str(size // 2), "--force")
        self.stop(server)
        # Without a server; what was cut off is gone.
        self.run_latte("resize", "db", str(size))
        self.run_latte("check")
        server = self.serve()
        back = self.get(size)
        self.assertEqual(back[:len(data)], data)
        self.assertEqual(back[size // 2:], bytes(size - size // 2))
        self.stop(server)

    def test_requests_are_recorded_and_replayed(self):
        self.run_latte("create")
        server = self.serve()
        trace = self.dir / "t.csv.zst"
        record = [LATTE, "trace", "record", "-c", str(self.config), "db", str(trace), "--seconds", "600"]
        recording = subprocess.Popen(record, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, recording)
        while "recorded for 600 s" not in (self.dir / "serve.err").read_text():
            time.sleep(0.02)
            self.assertIsNone(recording.poll(), recording.returncode)
        self.assertIn("recording is under way", self.run_latte_words(
            "trace", "record", "-c", str(self.config), "db", str(self.dir / "u.csv"), expect=1))
        client = nbd.NBD()
        client.connect_uri(self.uri())
        for i in range(64):
            client.pwrite(bytes([i]) * 4096, i * 4096)
            client.pread(4096, i * 4096)
        client.trim(8192, 0)
        client.flush()
        client.shutdown()
        time.sleep(1.5)  # it is sent on every 30 ms; sanitizers are slow
        recording.send_signal(signal.SIGINT)
        out, err = recording.communicate(timeout=30)
        self.assertEqual(recording.returncode, 0, err)
        self.assertIn(f"disk db: 130 requests in {trace}", out)
        replayed = json.loads(self.run_latte_words("replay", str(trace), "--policy", "lru", "--json"))
        self.assertEqual(replayed["traces"][0]["requests"], 128)  # the discard and the flush don't count
        self.assertEqual(replayed["traces"][0]["footprint_blocks"], 64)
        through = ("replay", "--engine", str(trace), "--size", "16MiB", "-c", str(self.config))
        self.assertIn("[price]", self.run_latte_words(*through, expect=2))
        self.config.write_text(self.config.read_text() + "[price]\ncurrency = \"USD\"\niops_month = 1.0\n")
        self.assertIn("USD a month", self.run_latte_words(*through))
        self.assertIn("choose another name", self.run_latte_words(
            "trace", "record", "-c", str(self.config), "db", str(trace), expect=2))
        self.assertIn("no such disk", self.run_latte_words(
            "trace", "record", "-c", str(self.config), "none", str(self.dir / "v"), expect=2))
        # The server notices within two seconds that nobody listens any more.
        deadline = time.time() + 20
        while "requests were recorded" not in (self.dir / "serve.err").read_text():
            self.assertLess(time.time(), deadline)
            time.sleep(0.05)
        # It ends with the server, too, and what there is is whole.
        recording = subprocess.Popen(record[:-3] + [str(self.dir / "w.gz"), "--seconds", "600"],
                                     stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, recording)
        while (self.dir / "serve.err").read_text().count("recorded for 600 s") < 2:
            self.assertIsNone(recording.poll(), recording.returncode)
            time.sleep(0.02)
        self.get(4096)
        time.sleep(1.5)  # it is sent on every 30 ms; sanitizers are slow
        self.stop(server)
        self.assertEqual(recording.wait(timeout=30), 1)
        self.assertIn("the server", recording.communicate()[1])
        replayed = json.loads(self.run_latte_words("replay", str(self.dir / "w.gz"), "--policy", "lru", "--json"))
        self.assertGreater(replayed["traces"][0]["requests"], 0)

    def test_keep_going_serves_the_others(self):
        self.run_latte("create")
        super_file = self.dir / "cloud/db/super"
        super_file.write_bytes(b"x" * super_file.stat().st_size)
        self.assertIn("--keep-going", self.run_latte("serve", expect=1))
        server = self.serve("--keep-going")
        states = {disk["name"]: disk["state"] for disk in self.status()["disks"]}
        self.assertEqual(states, {"db": "failed", "logs": "online"})
        subprocess.run(["nbdinfo", "--size", self.uri("logs")], check=True, capture_output=True)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        self.assertEqual(answer.status, 503)
        self.assertIn(b"db: not served", answer.read())
        self.stop(server)
        self.assertIn("damage", self.run_latte("check", expect=1))

    def test_check_finds_damage_and_what_is_missing(self):
        self.run_latte("check", expect=2)
        self.run_latte("create")
        self.assertIn("clean", self.run_latte("check"))
        with open(self.dir / "pool.img", "r+b") as pool:
            pool.truncate(32 << 20)
        self.assertIn("damage", self.run_latte("check", expect=1))
        self.run_latte("serve", expect=1)

    def test_wrong_usage_and_configuration_exit_2(self):
        self.assertEqual(subprocess.run([LATTE], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([LATTE, "serve"], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([LATTE, "frob"], capture_output=True).returncode, 2)
        text = self.config.read_text()
        self.config.write_text(text.replace("durability", "durabilty"))
        for command in ("create", "serve", "status", "drain", "check"):
            out = self.run_latte(command, expect=2)
            self.assertRegex(out, r"run\.toml:\d+:1: disk\.durabilty is no known key; allowed here are")
        for command in ("create", "serve", "status", "drain", "check", "takeover", "handover"):
            done = subprocess.run([LATTE, command, "--help"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0)
            self.assertIn("EXIT STATUS", done.stdout)

    def model(self, *arguments):
        return subprocess.run([LATTE, "model", *arguments], capture_output=True, text=True)

    def test_replay_paper_prints_both_figures(self):
        out = self.run_latte_words("replay", "--paper", "--requests", "2000")
        for text in ("RISTRETTO", "EBSX", "LATTE", "Assumptions"):
            self.assertIn(text, out)
        figures = json.loads(self.run_latte_words("replay", "--paper", "--requests", "2000", "--json"))
        self.assertEqual([len(figures[key]) for key in ("generations", "latencies", "both_tiers", "cost")],
                         [6, 12, 6, 7])
        self.assertIn("--paper", self.run_latte_words("replay", expect=2))
        self.run_latte_words("replay", "--paper", "x.csv", expect=2)

    def test_model_refuses_bad_logs_and_files(self):
        log = self.dir / "log.csv"
        log.write_text("t_us,lat_us,rw,size,off\n1,10,R,4096,0\nnonsense\n")
        done = self.model("predict", "--requests", "1000", "--train-seeds", "1", "--test-seeds",
                          "1", "--log", str(log))
        self.assertEqual(done.returncode, 1)
        self.assertIn("line 3", done.stderr)
        done = self.model("fit", str(self.dir / "missing"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("missing", done.stderr)
        self.assertEqual(self.model("fit").returncode, 2)
        self.assertEqual(self.model("predict", "--test-seeds", "0").returncode, 2)

    def test_configuration_files_that_are_none(self):
        cases = ((b"\x7fELF" + os.urandom(2000), "run.toml"), (b"", "pool is missing"),
                 (b"x" * (2 << 20), "1048576 bytes"), (b"[pool", "run.toml:1:"),
                 (b"[" * 100000, "run.toml:1:"), ("[pool]\npath = \"caf\u00e9\"\n".encode(), "pool.size"))
        for data, expected in cases:
            self.config.write_bytes(data)
            for command in ("create", "serve", "status", "drain", "check"):
                self.assertIn(expected, self.run_latte(command, expect=2))
        self.assertIn("no such file", self.run_latte("serve", config=self.dir / "nosuch", expect=2))
        self.assertIn("directory", self.run_latte("serve", config=self.dir, expect=2))

    def test_addresses_in_use_are_named(self):
        self.run_latte("create")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            self.assertIn(f"127.0.0.1:{self.port}", self.run_latte("serve", expect=1))
        # Not a socket: somebody's file.
        for name in ("a.db", "a.ctl"):
            (self.dir / name).write_text("precious")
            self.assertIn(name, self.run_latte("serve", expect=1))
            self.assertEqual((self.dir / name).read_text(), "precious")
            (self.dir / name).unlink()
        # A socket whose server was killed is replaced.
        for name in ("a.db", "a.ctl"):
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(self.dir / name))
        server = self.serve()
        self.assertEqual(self.status()["disks"][0]["state"], "online")
        self.stop(server)
        self.assertEqual(list(self.dir.glob("a.*")), [])

    def test_commands_that_cannot_begin(self):
        self.assertIn("no such disk", self.run_latte("drain", "nosuch", expect=2))
        self.assertIn("latte create", self.run_latte("takeover", "db", expect=2))
        self.assertIn("latte create", self.run_latte("drain", expect=1))
        self.run_latte("create")
        server = self.serve()
        self.assertIn("no such disk", self.run_latte("drain", "nosuch", expect=2))
        self.stop(server)

    def test_http(self):
        self.run_latte("create")
        server = self.serve()

        def fetch(path):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        self.assertEqual(fetch("/healthz"), (200, "ok\n"))
        self.assertEqual(json.loads(fetch("/status")[1]).keys(), self.status().keys())
        self.assertIn("<table>", fetch("/")[1])
        self.assertEqual(fetch("/nosuch")[0], 404)
        text = fetch("/metrics")[1]
        declared = set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                declared.add(line.split()[2])
            elif not line.startswith("#"):
                name = line.split("{")[0].split(" ")[0]
                self.assertTrue(name in declared or name.rsplit("_", 1)[0] in declared, line)
                float(line.rsplit(" ", 1)[1])
        self.assertIn('latte_disk_online{disk="db"} 1', text)
        self.stop(server)

    def test_control_socket_takes_garbage(self):
        self.run_latte("create")
        server = self.serve()
        path = str(self.dir / "a.ctl")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        for data in (b"\n", b"garbage\n", b"[" * 40000 + b"\n", b"x" * 70000, b"\xff\xfe\0\n", b"7\n",
                     b'{"command":5}\n', b'{"command":"drain","disk":7}\n'):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(path)
                client.sendall(data)
                self.assertIn(b'{"error":', client.recv(4096))
        idle = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for client in idle:
            client.connect(path)
        for client in idle:
            client.close()
        time.sleep(0.2)
        self.assertEqual(self.status()["disks"][0]["state"], "online")
        self.stop(server)


def main(description):
    global LATTE
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--latte", required=True)
    arguments, rest = parser.parse_known_args()
    LATTE = os.path.abspath(arguments.latte)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main(__doc__)
