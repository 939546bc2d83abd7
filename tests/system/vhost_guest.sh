#!/usr/bin/env bash
# A Debian guest in QEMU (TCG) with a Latte disk over vhost-user-blk, then with a local one; queues on two threads:
#   1. split rings, the server killed (SIGKILL) and started again every few seconds under verified load, every third
#      time replaced instead (serve --replace): mkfs.ext4, fio verify=crc32c, fstrim
#   2. a second boot, packed rings: e2fsck, the files' checksums, mkfs.xfs, fio verify, xfs_repair; the server is
#      replaced meanwhile
#   3. a thin local disk, packed rings: mkfs.ext4, fio verify, fstrim gives space back, the disk grows under the mounted
#      file system (latte volume resize), resize2fs, fio verify on what is new
#   4. a second boot of that: e2fsck, the files' checksums, mkfs.xfs, fio verify, xfs_repair
# Usage: vhost_guest.sh --latte PATH [--guest DIR] [--seconds N]   (N: how long the load runs at least)
# Needs qemu-system-x86 fio e2fsprogs xfsprogs kmod; fetches a kernel by apt the first time (exit 77: can't).
set -euo pipefail
latte= guest_dir= seconds=20
while [ $# -gt 0 ]; do
  case $1 in
    --latte) latte=$2 ;;
    --guest) guest_dir=$2 ;;
    --seconds) seconds=$2 ;;
    *) sed -n '2,13p' "$0"; exit 2 ;;
  esac
  shift 2
done
[ -x "$latte" ] || { echo "--latte PATH is missing" >&2; exit 2; }
latte=$(realpath "$latte")
guest=$(dirname "$(realpath "$0")")/guest
guest_dir=${guest_dir:-$(dirname "$latte")/guest}
command -v qemu-system-x86_64 >/dev/null || { echo "no qemu-system-x86_64 here: skipped"; exit 77; }
[ -f "$guest_dir/initramfs" ] || "$guest" build "$guest_dir" || { echo "no guest: skipped"; exit 77; }

work=$(mktemp -d /tmp/latte-guest-XXXXXX)
server=
cleanup() {
  touch "$work/stop"
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  wait || true
  rm -rf "$work"
}
trap cleanup EXIT

cat > "$work/run.toml" <<TOML
[pool]
path = "pool.img"
size = "256MiB"
volumes = "448MiB"

[control]
socket = "control.sock"

[reactor]
threads = 2

[[disk]]
name = "guest"
size = "1GiB"
cloud = "file:cloud"
vhost = "unix:disk.vhost"
vhost_queues = 2

[[disk]]
name = "local"
kind = "local"
thin = true
size = "288MiB"
vhost = "unix:local.vhost"
vhost_queues = 2
TOML
"$latte" create -c "$work/run.toml"

start_server() {  # [--replace]
  : > "$work/out"
  "$latte" serve -c "$work/run.toml" "$@" > "$work/out" 2>> "$work/log" &
  server=$!
  for _ in $(seq 200); do
    grep -q ready "$work/out" && return
    kill -0 "$server" 2>/dev/null || { echo "the server ended:"; tail -3 "$work/log"; exit 1; }
    sleep 0.1
  done
  echo "the server does not come up"; tail -3 "$work/log"; exit 1
}

cat > "$work/first" <<GUEST
set -e
mkfs.ext4 -q /dev/vda
mount /dev/vda /mnt
dd if=/dev/urandom of=/mnt/file bs=64k count=128 2>/dev/null
md5sum /mnt/file > /mnt/sum
fio --name=v --directory=/mnt --size=24M --rw=randwrite --bs=4k-64k --verify=crc32c --do_verify=1 \
  --ioengine=libaio --direct=1 --iodepth=16 --time_based --runtime=$seconds | grep -E "err=|^ *lat .*max="
fio --name=w --directory=/mnt --size=24M --rw=randwrite --bs=4k --verify=crc32c --do_verify=1 \
  --ioengine=libaio --direct=1 --iodepth=32 | grep err=
fstrim -v /mnt
umount /mnt
GUEST
cat > "$work/second" <<'GUEST'
set -e
e2fsck -fn /dev/vda
mount /dev/vda /mnt
md5sum -c /mnt/sum
umount /mnt
modprobe xfs
mkfs.xfs -q -f /dev/vda
mount -t xfs /dev/vda /mnt
fio --name=x --directory=/mnt --size=16M --rw=randwrite --bs=4k-64k --verify=crc32c --do_verify=1 \
  --ioengine=libaio --direct=1 --iodepth=16 | grep err=
fstrim -v /mnt
umount /mnt
xfs_repair -n /dev/vda 2>&1 | tail -1
GUEST
cat > "$work/third" <<'GUEST'
set -e
mkfs.ext4 -q /dev/vda
mount /dev/vda /mnt
dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null
md5sum /mnt/file > /mnt/sum
fio --name=v --directory=/mnt --size=32M --rw=randwrite --bs=4k-64k --verify=crc32c --do_verify=1 \
  --ioengine=libaio --direct=1 --iodepth=16 | grep err=
rm /mnt/v.*; sync
fstrim -v /mnt
size=$(blockdev --getsize64 /dev/vda)
echo "GROW-ME $size"
i=0; while [ $(blockdev --getsize64 /dev/vda) = $size ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done
echo "grown to $(blockdev --getsize64 /dev/vda)"
[ $(blockdev --getsize64 /dev/vda) = 402653184 ]
resize2fs /dev/vda 2>/dev/null
fio --name=w --directory=/mnt --size=300M --rw=write --bs=256k --verify=crc32c --do_verify=1 \
  --ioengine=libaio --direct=1 --iodepth=8 | grep err=
umount /mnt
GUEST

start_server
echo "--- first boot, split rings, kills"
( code=0
  LOG="$work/console" RECONNECT=1 QUEUES=2 TIMEOUT=240 \
    "$guest" run "$guest_dir" "$work/disk.vhost" "$work/first" > "$work/first.out" 2>&1 || code=$?
  echo $code > "$work/first.exit" ) &
# A server that is away when the guest's driver starts the device loses it for good: that is QEMU's.
until grep -qs GUEST-UP "$work/console" || [ -f "$work/first.exit" ]; do sleep 0.2; done
kills=0
while [ ! -f "$work/first.exit" ]; do
  sleep 3
  [ ! -f "$work/first.exit" ] || break
  if [ $((kills % 3)) = 2 ]; then
    old=$server
    start_server --replace
    wait "$old" || { echo "the server that was replaced ended with $?"; exit 1; }
    kills=$((kills + 1))
    continue
  fi
  kill -KILL "$server"
  wait "$server" 2>/dev/null || true
  kills=$((kills + 1))
  start_server
done
# What QEMU says about each lost connection is no news.
grep -v "^qemu-system" "$work/first.out" || true
echo "kills and replacements: $kills"
[ "$(cat "$work/first.exit")" = 0 ] || { tail -20 "$work/log"; exit 1; }
! grep -q "err=[^ ]*[1-9]" "$work/first.out"
[ "$kills" -ge 3 ] || { echo "too few kills to say anything"; exit 1; }

echo "--- second boot, packed rings"
( code=0
  LOG="$work/console2" QEMU_EXTRA="-global vhost-user-blk.packed=on" RECONNECT=1 QUEUES=2 TIMEOUT=120 \
    "$guest" run "$guest_dir" "$work/disk.vhost" "$work/second" > "$work/second.out" 2>&1 || code=$?
  echo $code > "$work/second.exit" ) &
until grep -qs GUEST-UP "$work/console2" || [ -f "$work/second.exit" ]; do sleep 0.2; done
sleep 2
if [ ! -f "$work/second.exit" ]; then
  old=$server
  start_server --replace
  wait "$old" || { echo "the server that was replaced ended with $?"; exit 1; }
  touch "$work/replaced"
fi
until [ -f "$work/second.exit" ]; do sleep 0.2; done
grep -v "^qemu-system" "$work/second.out" || true
[ "$(cat "$work/second.exit")" = 0 ] || { tail -20 "$work/log"; exit 1; }
[ -f "$work/replaced" ] || { echo "the server was not replaced meanwhile"; exit 1; }

allocated() { "$latte" volume ls -c "$work/run.toml" --json | sed 's/.*"allocated_bytes":\([0-9]*\).*/\1/'; }
echo "--- a local disk that grows, packed rings"
( code=0
  LOG="$work/console3" QEMU_EXTRA="-global vhost-user-blk.packed=on" QUEUES=2 TIMEOUT=120 \
    "$guest" run "$guest_dir" "$work/local.vhost" "$work/third" > "$work/third.out" 2>&1 || code=$?
  echo $code > "$work/third.exit" ) &
until grep -qs GROW-ME "$work/console3" || [ -f "$work/third.exit" ]; do sleep 0.2; done
trimmed=$(allocated)
"$latte" volume resize -c "$work/run.toml" local 384MiB
until [ -f "$work/third.exit" ]; do sleep 0.2; done
cat "$work/third.out"
[ "$(cat "$work/third.exit")" = 0 ] || { tail -20 "$work/log"; exit 1; }
echo "allocated after fstrim: $trimmed, at the end: $(allocated)"
[ "$trimmed" -lt 67108864 ] || { echo "fstrim gave nothing back"; exit 1; }
echo "--- its second boot, split rings"
QUEUES=2 TIMEOUT=120 "$guest" run "$guest_dir" "$work/local.vhost" "$work/second" || { tail -20 "$work/log"; exit 1; }
kill "$server"; wait "$server"; server=
"$latte" check -c "$work/run.toml"
echo "guest: passed"
