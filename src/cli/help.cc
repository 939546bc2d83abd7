#include "cli/help.h"

namespace latte {

const CommandHelp kMainHelp = {
    "Latte: disks made of a fast local drive and a cloud volume, served to clients and guests.",
    R"(A disk's writes go to a log on the local pool and from there, in order, to the cloud; reads come from
the pool while it holds the block. `latte COMMAND --help` says more about each command.

EXIT STATUS
  0   done
  1   failed (check: damage was found)
  2   could not begin: wrong usage or configuration (check, takeover: the pool is in use, too)

EXAMPLE
  latte create -c run.toml          make the pool and the disks
  latte serve  -c run.toml &        serve them; prints "ready"
  nbdinfo 'nbd+unix:///db?socket=/srv/latte/db.sock'
  latte status -c run.toml

FILES
  The configuration is described in docs/reference/configuration.md.)"};

const CommandHelp kCreateHelp = {
    "Make the pool and the disks that are missing, and say which",
    R"(Leaves everything that exists alone and never overwrites anything: a pool file with something else in
it and a block device that holds data are refused, a disk that belongs to another host is named and left
alone. The pool file is written with zeroes in full, so this takes as long as writing it does; progress is
on stderr. Running it again does what is still missing.

EXIT STATUS
  0   everything is there
  1   something could not be made
  2   wrong usage or configuration

EXAMPLE
  latte create -c run.toml)"};

const CommandHelp kServeHelp = {
    "Serve all disks over NBD, in the foreground",
    R"(Prints the one line "ready" on stdout when every disk is served; the log is on stderr. Never creates
or adopts anything. SIGTERM or SIGINT stops cleanly: requests under way are answered, everything is
flushed; the disks stay dirty in the pool, `latte drain` empties them into the cloud. A second signal ends
at once. A crash or SIGKILL loses no acknowledged write: the next start recovers.

--replace takes the place of the server that runs with this configuration, under load: it lets that one
stop as by SIGTERM over control.socket, waits for its end, and serves. A guest whose QEMU reconnects sees a
pause, no error; an NBD client loses its connection and has to come back by itself. The configuration is
read before, so that one with a mistake leaves the running server alone. Without a running server it just
serves.

If a disk can't be served, that is said and nothing is; with --keep-going the others are served, and
`latte status` shows the disk as "failed" with the reason. With --standby the disks of other hosts wait for
`latte takeover`; their cloud volumes are open already.

With pool.write_buffer, a start after a crash needs the write buffer of the server before: writes that were
acknowledged may be nowhere else. If it is gone although the machine was not restarted, the start is refused.

EXIT STATUS
  0   stopped by a signal
  1   the pool or a disk can't be served (another latte serve has the pool, for example)
  2   wrong usage or configuration

EXAMPLES
  latte serve -c run.toml
  /usr/local/bin/latte-new serve --replace -c run.toml)"};

const CommandHelp kStatusHelp = {"Show what the running server does",
                                 R"(Asks the server over control.socket.

EXIT STATUS
  0   shown
  1   no server answers
  2   wrong usage or configuration

EXAMPLES
  latte status -c run.toml
  latte status -c run.toml --json | jq '.disks[] | {name, lag_seconds}')"};

const CommandHelp kDrainHelp = {
    "Write everything of a disk, or of all, into its base image",
    R"(Afterwards the base image in the cloud is the disk's whole content. Works with a running server, which
goes on serving, and without one. Progress with rate and time left is on stderr. Interrupting it does no
harm; the next one goes on. While clients go on writing, what they wrote meanwhile is drained too.

EXIT STATUS
  0   clean
  1   not drained
  2   wrong usage or configuration

EXAMPLES
  latte drain -c run.toml
  latte drain -c run.toml db)"};

const CommandHelp kCheckHelp = {
    "Verify pool, cloud logs and bases, offline",
    R"(Reads every byte that has a checksum, and the base images once through. Writes nothing. Findings are on
stdout, one a line, beginning with "damage:" or "note:"; progress is on stderr. The server must not run.

EXIT STATUS
  0   clean
  1   damage
  2   could not run: wrong usage or configuration, the pool is in use or missing, I/O errors

EXAMPLE
  latte check -c run.toml)"};

const CommandHelp kTakeoverHelp = {
    "Make this host the owner of a disk that another host had",
    R"(For when the other host, or its pool, is gone for good. The other host can't write to the disk any
more, from this moment on, whatever it does. What it had not yet shipped to the cloud is lost: at most
max_lag, and nothing flushed with durability = "cloud". A disk that was handed over is adopted: nothing
is lost. The pool must exist (latte create). A server that runs on it serves the disk as soon as it owns it,
from the base and the cloud log as they are; without one, latte serve does. On a disk that this host owns it
does nothing.

An NBD server can't fence. There the old owner's lease is watched until it has not been renewed for its whole
duration; while it is, the take-over is refused. --force-unfenced DISKID takes the disk all the same; use it
only when the old owner can't write any more. No server may run on the pool then.

EXIT STATUS
  0   this host owns the disk
  1   failed
  2   could not begin: wrong usage or configuration, no such disk

EXAMPLES
  latte create   -c run.toml        (a fresh pool; leaves the other host's disk alone)
  latte takeover -c run.toml db
  latte serve    -c run.toml

  latte serve    -c run.toml --standby &     (beforehand)
  latte takeover -c run.toml db              (on the day)
)"};

const CommandHelp kHandoverHelp = {
    "Give a disk up, with everything in the cloud, so that another host can adopt it",
    R"(Ships what the cloud does not have while clients go on, then holds their requests, ships the rest and
makes the disk nobody's: from then on they get errors here. `latte takeover` on another host adopts it
without loss. If the cloud does not answer within 10 s, the held requests go on and nothing has changed.

EXIT STATUS
  0   handed over
  1   failed; the disk is served here as before
  2   could not begin: wrong usage or configuration, no such disk

EXAMPLE
  latte handover -c a.toml db       (on the host that has it)
  latte takeover -c b.toml db       (on the host that gets it))"};

const CommandHelp kResizeHelp = {
    "Make a disk larger or smaller, while it is served or not",
    R"(What a disk gains reads as zeroes. It becomes smaller only if nothing but zeroes lies behind the new end;
with --force what lies there is lost. A guest (vhost) sees the new size at once; NBD clients see it when
they connect again. The base image in the cloud grows with the disk and never becomes smaller; on an
NBD server, which can't be told to grow an export, it has to be large enough before.

The new size is kept with the disk and counts from then on, whatever `size` the configuration says; the
server warns until that is corrected.

EXIT STATUS
  0   done
  1   failed; the disk keeps its size unless the message says otherwise
  2   could not begin: wrong usage or configuration

EXAMPLE
  latte resize -c run.toml db 200GiB)"};

const CommandHelp kVolumeHelp = {
    "Make, list, remove and resize volumes: what local disks are made of",
    R"(Volumes lie in the part of the pool's device that pool.volumes keeps for them; a disk with kind = "local"
serves the volume of its name. Works with a running server and without one; a volume that is served can be
resized, and a guest learns its new size at once, an NBD client with its next connection.

`rm` needs a volume that no server serves; what was in it is gone. `resize` to less than the volume has
needs --force: what lies behind the new end is lost. SIZE is as in the configuration, such as 20GiB.

EXIT STATUS
  0   done
  1   failed
  2   wrong usage or configuration

EXAMPLES
  latte volume create -c run.toml scratch 20GiB --thin
  latte volume ls -c run.toml
  latte volume resize -c run.toml scratch 40GiB
  latte volume rm -c run.toml scratch)"};

const CommandHelp kModelHelp = {"Device models: prediction, fitting a drive",
                                R"(Needs no configuration and no server.

`predict` trains the dispatcher's linear model on some seeds of six kinds of load and reports on others:
how often it names the faster tier, and what that gains, beside simple rules. With --log the same for logs
of real drives (lines of t_us,lat_us,rw,size,off; packed with zstd or gzip or not) against a modelled cloud.

`fit` measures FILE with direct I/O at several queue depths, at most 4 GiB a point, fits the model of a
NVMe drive to it, and says how far the model is off. It reads only; with --overwrite it also writes all
over FILE, and what was in it is gone.

EXIT STATUS
  0   done
  1   failed
  2   wrong usage

EXAMPLES
  latte model predict --log drive.csv.zst
  latte model fit /srv/latte/pool.img)"};

const CommandHelp kReplayHelp = {
    "Run block traces through cache policies and compare them",
    R"(Reads traces of the forms csv (timestamp_us,op,offset_bytes,length_bytes), msr, vscsi1, vscsi2, fio
(iolog 2 and 3) and blkparse, plain or packed with zstd or gzip, and says for every policy and cache size
which share of the blocks read was in the cache and how many blocks were written to it because of reads.
Policies: fifo, lru, arc, s3fifo, second-miss, belady (a bound: it knows the future), ours. Results depend
on trace, options and seed only. With --engine the requests run through the engine itself, in virtual time on
models of a drive and a cloud disk (docs/reference/replay.md), and the report says what the cloud volume needs
and, with -c, costs. A bad record ends the run with its line; --lenient skips and counts it.

--paper reads no trace: it prints the tables of the paper that Latte follows - IOPS and bandwidth of three
generations, latency over queue depth, reads from both tiers at once, cost - from device models, the paper's
figures beside ours, and what was assumed.

EXIT STATUS
  0   done
  1   a trace can't be read, or a report can't be written
  2   wrong usage

EXAMPLE
  latte replay disk.csv.zst --size 10%,25%,1GiB --policy lru,s3fifo,ours --html report.html
  latte replay --paper)"};

const CommandHelp kTraceHelp = {
    "Record what clients ask of a disk that is served",
    R"(`record` asks the running server over control.socket for every request that clients make of a disk,
hybrid or local, over NBD or vhost-user-blk, and writes them to FILE as a trace that `latte replay` reads:
timestamp_us,op,offset_bytes,length_bytes. No data is recorded. A signal ends it early, and the file is
whole. Write-zeroes count as discards; where requests of one microsecond meet, the later one gets the next.
A disk that comes to this host meanwhile (`latte takeover`) is recorded from then on. While nobody records,
a disk does no more than look whether somebody does.

EXIT STATUS
  0   done
  1   no server answers, it has no room for all requests, or FILE can't be written
  2   wrong usage or configuration, or FILE exists

EXAMPLE
  latte trace record -c run.toml db monday.csv.zst --seconds 3600
  latte replay monday.csv.zst --size 10%,25%)"};

const CommandHelp kSnapshotHelp = {
    "Keep a disk as it is now under a name: create, list, rm, rollback",
    R"(A snapshot is the disk after one of its writes: everything that was acknowledged when `create` was
called is in it, and nothing without what was written before it. Clients go on meanwhile; what the pool has
is shipped first, then shipping pauses for the moment that the cluster takes. A file system in it is as after
a power cut: freeze it before (fsfreeze), or let its journal do. Only disks on rbd: have snapshots; the
server that serves the disk must run, but for `rollback`. `latte clone` makes a disk of one.

`rollback` makes the disk itself what it was, for good; the snapshots stay. Nobody may have the disk: hand it
over before (`latte handover`), and adopt it afterwards (`latte takeover`). It takes as long as copying the
images takes; progress is on stderr. One that is interrupted leaves no disk - nobody can adopt it, the error
says why - until `rollback`, to this or another snapshot, has been run to its end.

The images' own snapshots have the same name. An image's snapshot that somebody else made is left alone. A
snapshot that clones depend on stays in the cluster for as long as they do, even when it was removed.

EXIT STATUS
  0   done
  1   not done: the name exists or does not, the disk is not served here, the cluster does not answer
  2   wrong usage or configuration

EXAMPLES
  latte snapshot create -c run.toml db before-upgrade
  latte snapshot list -c run.toml db --json
  latte snapshot rm -c run.toml db before-upgrade
  latte handover -c run.toml db && latte snapshot rollback -c run.toml db before-upgrade &&
    latte takeover -c run.toml db)"};

const CommandHelp kCloneHelp = {
    "Make a new disk out of a snapshot",
    R"(CLONE is a disk of the configuration, on rbd: in the same pool of images, of the snapshot's size, that does
not exist yet. It shares its data with the snapshot until it is written to. The log that the snapshot holds is
applied to it first, which can take as long as writing that much; progress is on stderr. Nobody owns it then:
`latte create` adopts it, or `latte takeover` through a server that stands by. No server needs to run, and the
snapshot's disk may be served by anybody meanwhile. An interrupted clone is no disk; the next one begins anew.

EXIT STATUS
  0   made
  1   not made: no such disk or snapshot, the images exist, the cluster does not answer
  2   wrong usage or configuration

EXAMPLE
  latte clone -c run.toml db before-upgrade test-db && latte create -c run.toml)"};

}  // namespace latte
