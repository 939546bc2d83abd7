"""PostgreSQL on a directory, a load of counted transactions, and the comparison after a crash.

Each client of pgbench counts its transactions and writes the count with each of them; pgbench's log, kept
outside the disk under test, has a line for each commit that was acknowledged. What the database shows later must
be the counts from 1 on without a hole, and as far as the log goes.
"""
import glob
import os
import pathlib
import shutil
import signal
import subprocess
import time

CLIENTS = 4
ACCOUNTS = 100_000  # pgbench's at scale 1
READY_WAIT_S = 60
END_WAIT_S = 60

SETTINGS = """
listen_addresses = ''
max_wal_size = 64MB
shared_buffers = 32MB
checkpoint_timeout = 30s
restart_after_crash = off
"""

SCRIPT = f"""\\set n :n + 1
\\set aid random(1, {ACCOUNTS})
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :client_id + 1;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
  VALUES (:client_id + 1, 1, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO committed (round, client, n) VALUES (:round, :client_id, :n);
END;
"""


def programs():
    """The directory of PostgreSQL's programs, or None if it is not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found and shutil.which("setpriv") else None


class Database:
    """`outside`: a directory that is not on the disk under test."""

    def __init__(self, data, outside, log):
        self.programs = programs()
        self.data = data
        self.outside = os.path.join(outside, "pg")
        self.log = log
        self.server = None
        self.load = None
        os.makedirs(self.outside, exist_ok=True)
        shutil.chown(self.outside, "postgres", "postgres")

    def _as_postgres(self, program, *arguments):
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
                os.path.join(self.programs, program), *arguments]

    def _client(self, program, *arguments):
        return [os.path.join(self.programs, program), "-h", self.outside, "-U", "postgres", *arguments]

    def _query(self, sql):
        done = subprocess.run(self._client("psql", "-XAtq", "-F", " ", "-c", sql, "postgres"),
                              stdout=subprocess.PIPE, stderr=self.log, check=True, text=True)
        return [line.split(" ") for line in done.stdout.splitlines()]

    def create(self):
        os.makedirs(self.data)
        shutil.chown(self.data, "postgres", "postgres")
        subprocess.run(self._as_postgres("initdb", "-D", self.data, "-A", "trust", "-k", "-E", "UTF8",
                                         "--locale=C"),
                       check=True, stdout=self.log, stderr=self.log, cwd="/")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as out:
            out.write(SETTINGS + f"unix_socket_directories = '{self.outside}'\n")
        self.start()
        subprocess.run(self._client("pgbench", "-i", "-q", "-s", "1", "postgres"), check=True,
                       stdout=self.log, stderr=self.log)
        self._query("CREATE TABLE committed (round int, client int, n int, "
                    "PRIMARY KEY (round, client, n))")

    def start(self):
        """Recovers if need be; returns when queries are answered."""
        self.server = subprocess.Popen(self._as_postgres("postgres", "-D", self.data), cwd="/",
                                       stdout=self.log, stderr=self.log)
        deadline = time.time() + READY_WAIT_S
        while subprocess.run(self._client("pg_isready", "-q"), check=False).returncode != 0:
            if self.server.poll() is not None or time.time() > deadline:
                raise AssertionError("PostgreSQL did not come up")
            time.sleep(0.1)

    def start_load(self, number):
        """Transactions of round `number` until the server is gone."""
        script = os.path.join(self.outside, "script")
        pathlib.Path(script).write_text(SCRIPT, encoding="utf-8")
        self.load = subprocess.Popen(
            self._client("pgbench", "-n", "-c", str(CLIENTS), "-j", "1", "-T", "3600", "-f", script,
                         "-D", "n=0", "-D", f"round={number}", "-l",
                         f"--log-prefix={self.outside}/commits-{number}", "postgres"),
            stdout=self.log, stderr=self.log)

    def end_load(self, number):
        """After the disk is gone: ends server and clients; returns, for each client, the time of each
        acknowledged commit."""
        self.stop(signal.SIGQUIT)
        # pgbench writes its log out when its last connection is lost.
        self.load.wait(timeout=END_WAIT_S)
        times = {client: [] for client in range(CLIENTS)}
        for path in glob.glob(f"{self.outside}/commits-{number}.*"):
            for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
                field = line.split()  # client, transaction, latency, script, seconds, microseconds
                times[int(field[0])].append(int(field[4]) + int(field[5]) / 1e6)
        return times

    def stop(self, how=signal.SIGINT):
        """SIGINT: a fast, clean stop; SIGQUIT: without a word to the disk."""
        if self.server is None:
            return
        if self.server.poll() is None:
            self.server.send_signal(how)
        try:
            self.server.wait(timeout=END_WAIT_S)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        self.server = None

    def close(self):
        """Whatever state this is in."""
        self.stop(signal.SIGQUIT)
        if self.load is not None and self.load.poll() is None:
            self.load.kill()
        if self.load is not None:
            self.load.wait()

    def committed(self):
        """{(round, client): how many}; a hole in the counts is a failure, and so is a sum that does not
        agree with the other tables' (a transaction that is there in part)."""
        sums = self._query("SELECT (SELECT sum(abalance) FROM pgbench_accounts), "
                           "(SELECT sum(tbalance) FROM pgbench_tellers), "
                           "(SELECT coalesce(sum(delta), 0) FROM pgbench_history), "
                           "(SELECT count(*) FROM pgbench_history), "
                           "(SELECT count(*) FROM committed)")[0]
        if len(set(sums[:3])) != 1 or sums[3] != sums[4]:
            raise AssertionError(f"accounts, tellers, history, rows do not agree: {sums}")
        counts = {}
        for number, client, rows, highest in self._query(
                "SELECT round, client, count(*), max(n) FROM committed GROUP BY 1, 2"):
            if rows != highest:
                raise AssertionError(f"round {number}, client {client}: {rows} commits, but the last "
                                     f"is number {highest}")
            counts[(int(number), int(client))] = int(rows)
        return counts
