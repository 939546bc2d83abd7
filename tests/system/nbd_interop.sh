#!/bin/bash
# NBD interoperability: real clients against one export. Everything on it is overwritten.
#
#   nbd_interop.sh --server PROGRAM     starts tests/system/nbd_memory_server, on a unix socket and on TCP
#   nbd_interop.sh --latte PROGRAM      creates and serves a hybrid disk on both, checks it offline at the end
#   nbd_interop.sh --local PROGRAM      the same with local disks, one thick, one thin
#   nbd_interop.sh --uri URI [--pid N]  against a server that runs (N: its process, to watch its memory);
#                                       the export has at least 64 MiB and is a multiple of 1 MiB
# Needs: nbdinfo, nbdcopy, qemu-img, qemu-io, fio, python3 with libnbd.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
server_pid=

cleanup() {
  if [[ -n "$server_pid" ]]; then
    kill "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap cleanup EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

step() { echo "- $*"; }

check_info() {
  step "nbdinfo"
  nbdinfo --size "$uri" >"$scratch/size"
  size=$(<"$scratch/size")
  nbdinfo --json "$uri" >"$scratch/info"
  grep -q '"can_multi_conn": true' "$scratch/info" || fail "no multi-conn: $(<"$scratch/info")"
  grep -q '"can_flush": true' "$scratch/info" || fail "no flush"
  grep -q '"can_fua": true' "$scratch/info" || fail "no FUA"
  grep -q 'base:allocation' "$scratch/info" || fail "no base:allocation"
  nbdinfo --list "$uri" >/dev/null
  nbdinfo --map "$uri" >/dev/null
}

check_copy() {
  step "nbdcopy both ways"
  # Data, zeroes and holes, no larger than the export.
  head -c 24M /dev/urandom >"$scratch/image"
  truncate -s 40M "$scratch/image"
  head -c 8M /dev/urandom >>"$scratch/image"
  truncate -s "$size" "$scratch/image"
  nbdcopy --flush "$scratch/image" "$uri"
  nbdcopy "$uri" "$scratch/back"
  cmp "$scratch/image" "$scratch/back" || fail "nbdcopy read back something else"
  nbdcopy --synchronous --connections=1 "$uri" - | cmp - "$scratch/image" || fail "nbdcopy sync"
}

check_qemu() {
  step "qemu-img convert and compare"
  nbdcopy "$uri" "$scratch/before"
  qemu-img convert -f raw -O qcow2 "$uri" "$scratch/copy.qcow2"
  qemu-img compare -f raw -F qcow2 "$uri" "$scratch/copy.qcow2" >/dev/null || fail "qemu-img compare"
  head -c 16M /dev/urandom >"$scratch/source"
  truncate -s "$size" "$scratch/source"
  qemu-img convert -n -f raw -O raw "$scratch/source" "$uri"
  qemu-img compare -f raw -F raw "$uri" "$scratch/source" >/dev/null || fail "qemu-img convert to it"

  step "qemu-io patterns"
  qemu-io -f raw "$uri" \
    -c 'write -P 0x11 0 1M' -c 'write -P 0x22 512 512' -c 'write -f -P 0x33 64k 4k' \
    -c 'write -z 128k 64k' -c 'write -z -u 192k 64k' -c 'discard 256k 64k' \
    -c 'aio_write -P 0x44 1M 64k' -c 'aio_write -P 0x55 2M 2M' -c 'aio_flush' -c 'flush' \
    -c 'read -P 0x11 0 512' -c 'read -P 0x22 512 512' -c 'read -P 0x11 1k 63k' \
    -c 'read -P 0x33 64k 4k' -c 'read -P 0x00 128k 128k' -c 'read -P 0x11 320k 64k' \
    -c 'read -P 0x44 1M 64k' -c 'read -P 0x55 2M 2M' >"$scratch/qemu-io" 2>&1 ||
    fail "qemu-io: $(<"$scratch/qemu-io")"
  ! grep -Eqi 'fail|error' "$scratch/qemu-io" || fail "qemu-io: $(<"$scratch/qemu-io")"
  # Beyond the end: refused, and the connection lives on.
  qemu-io -f raw "$uri" -c "read $size 512" -c 'read -P 0x11 0 512' >"$scratch/qemu-io" 2>&1 || true
  ! grep -q 'Pattern verification failed' "$scratch/qemu-io" || fail "after a read beyond the end"
}

fio_verify() { # bsrange, depth, pattern, jobs
  (cd "$scratch" && fio --name=verify --ioengine=nbd "--uri=$uri" --rw="$3" --bsrange="$1" \
    --iodepth="$2" --numjobs="$4" --size=$((16 / $4))M --offset_increment=16M --group_reporting \
    --verify=crc32c --verify_fatal=1 --randrepeat=0 >"$scratch/fio" 2>&1) ||
    fail "fio $*: $(<"$scratch/fio")"
}

check_fio() {
  step "fio with verify=crc32c"
  fio_verify 4k-4k 1 randwrite 1
  fio_verify 4k-4k 32 randwrite 1
  fio_verify 128k-128k 16 write 1
  fio_verify 4k-256k 16 randwrite 1
  fio_verify 4k-4k 16 randwrite 2
}

check_all() {
  uri=$1
  echo "== $uri"
  check_info
  check_copy
  check_qemu
  check_fio
  step "clients that misbehave"
  /usr/bin/python3 "$here/nbd_interop_client.py" "$uri" "${2:-}"
}

start_server() { # program, address
  rm -f "$scratch/ready" # a look at the last server's would be too early
  "$1" "$2" disk $((64 << 20)) >"$scratch/ready" 2>"$scratch/log" &
  server_pid=$!
  for _ in $(seq 100); do
    if grep -qs '^ready' "$scratch/ready"; then return; fi
    sleep 0.05
  done
  fail "the server did not start: $(<"$scratch/log")"
}

stop_server() {
  kill "$server_pid"
  wait "$server_pid" || fail "the server did not stop cleanly: $(<"$scratch/log")"
  server_pid=
}

check_socket_file() { # program
  step "socket in use, stale socket, file of that name"
  local address="unix:$scratch/nbd.sock"
  for _ in 1 2 3 4 5; do
    start_server "$1" "$address"
    kill -9 "$server_pid"
    wait "$server_pid" 2>/dev/null || true
  done
  start_server "$1" "$address"
  ! "$1" "$address" disk 1048576 >/dev/null 2>"$scratch/error" || fail "a second server started"
  grep -q "$scratch/nbd.sock" "$scratch/error" || fail "error names no socket: $(<"$scratch/error")"
  nbdinfo --size "nbd+unix:///disk?socket=$scratch/nbd.sock" >/dev/null || fail "the first suffered"
  kill -9 "$server_pid"
  wait "$server_pid" 2>/dev/null || true
  [[ -S "$scratch/nbd.sock" ]] || fail "no stale socket to try"
  start_server "$1" "$address"
  nbdinfo --size "nbd+unix:///?socket=$scratch/nbd.sock" >/dev/null || fail "stale socket not replaced"
  stop_server
  [[ ! -e "$scratch/nbd.sock" ]] || fail "the socket was not removed"
  echo precious >"$scratch/nbd.sock"
  ! "$1" "$address" disk 1048576 >/dev/null 2>"$scratch/error" || fail "a file was replaced"
  [[ $(<"$scratch/nbd.sock") == precious ]] || fail "a file was overwritten"
  rm "$scratch/nbd.sock"
}

check_stop_under_load() { # program
  step "stop under load"
  start_server "$1" "unix:$scratch/nbd.sock"
  (cd "$scratch" && fio --name=load --ioengine=nbd "--uri=nbd+unix:///disk?socket=$scratch/nbd.sock" \
    --rw=randrw --bs=4k --iodepth=32 --size=64M --time_based --runtime=30 >/dev/null 2>&1) &
  local load=$!
  sleep 1
  stop_server
  wait "$load" 2>/dev/null || true
}

hybrid_disks() {
  cat <<EOT
[pool]
path = "pool.img"
size = "256MiB"
[[disk]]
name = "u"
size = "64MiB"
cloud = "file:cloud/u"
cloud_log_size = "64MiB"
nbd = "unix:u.sock"
[[disk]]
name = "t"
size = "64MiB"
cloud = "file:cloud/t"
cloud_log_size = "64MiB"
durability = "cloud"
nbd = "tcp:127.0.0.1:0"
EOT
}

local_disks() {
  cat <<EOT
[pool]
path = "pool.img"
size = "12MiB"
volumes = "160MiB"
[[disk]]
name = "u"
kind = "local"
size = "64MiB"
nbd = "unix:u.sock"
[[disk]]
name = "t"
kind = "local"
size = "64MiB"
thin = true
nbd = "tcp:127.0.0.1:0"
EOT
}

# Two disks of its own, served on a unix socket and on TCP; what was written must check out afterwards.
check_latte() { # program, function that prints the configuration
  local uri
  mkdir "$scratch/latte"
  "$2" >"$scratch/latte/latte.toml"
  printf '[control]\nsocket = "latte.ctl"\n' >>"$scratch/latte/latte.toml"
  "$1" create -c "$scratch/latte/latte.toml" >/dev/null
  "$1" serve -c "$scratch/latte/latte.toml" >"$scratch/ready" 2>"$scratch/log" &
  server_pid=$!
  for _ in $(seq 100); do
    if grep -q '^ready' "$scratch/ready"; then break; fi
    sleep 0.1
  done
  for uri in $("$1" status -c "$scratch/latte/latte.toml" | grep -o 'nbd+\?[a-z]*://[^ ,]*'); do
    check_all "$uri" "$server_pid"
  done
  stop_server
  step "latte check"
  "$1" check -c "$scratch/latte/latte.toml" >/dev/null 2>"$scratch/error" ||
    fail "latte check: $(<"$scratch/error")"
}

main() {
  local program= given= pid= latte= disks=hybrid_disks
  while [[ $# -gt 0 ]]; do
    case $1 in
      --server) program=$2 ;;
      --uri) given=$2 ;;
      --latte) latte=$2 ;;
      --local) latte=$2 disks=local_disks ;;
      --pid) pid=$2 ;;
      *) fail "unknown argument $1" ;;
    esac
    shift 2
  done
  if [[ -n "$latte" ]]; then
    check_latte "$latte" "$disks"
  elif [[ -n "$given" ]]; then
    check_all "$given" "$pid"
  else
    [[ -n "$program" ]] || fail "--server, --latte, --local or --uri is needed"
    start_server "$program" "unix:$scratch/nbd.sock"
    check_all "nbd+unix:///disk?socket=$scratch/nbd.sock" "$server_pid"
    stop_server
    start_server "$program" tcp:127.0.0.1:0
    check_all "$(sed -n 's/^ready //p' "$scratch/ready")" "$server_pid"
    stop_server
    check_socket_file "$program"
    check_stop_under_load "$program"
  fi
  echo "all clean"
}

main "$@"
