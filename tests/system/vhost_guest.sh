#!/usr/bin/env bash
# A Debian guest in QEMU (TCG) with a Latte disk over vhost-user-blk, then with a local one; queues on two threads:
#   1. split rings, the server killed (SIGKILL), and replaced (serve --replace), again and again under verified load:
#      mkfs.ext4, fio verify=crc32c, fstrim. The next end comes when the guest has been served for a while.
#   2. a second boot, packed rings: e2fsck, the files' checksums, mkfs.xfs, fio verify, xfs_repair; the server is
#      replaced and killed meanwhile
#   3. a thin local disk, packed rings: mkfs.ext4, fio verify, fstrim gives space back, the disk grows under the mounted
#      file system (latte volume resize), resize2fs, fio verify on what is new
#   4. a second boot of that: e2fsck, the files' checksums, mkfs.xfs, fio verify, xfs_repair
# Usage: vhost_guest.sh --latte PATH [--guest DIR] [--kills N] [--replaces N]
# Needs qemu-system-x86 fio e2fsprogs xfsprogs kmod python3; fetches a kernel by apt the first time (exit 77: can't).
set -euo pipefail
latte= guest_dir= kills=5 replaces=3
while [ $# -gt 0 ]; do
  case $1 in
    --latte) latte=$2 ;;
    --guest) guest_dir=$2 ;;
    --kills) kills=$2 ;;
    --replaces) replaces=$2 ;;
    *) sed -n '2,12p' "$0"; exit 2 ;;
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
server= guest_group=
cleanup() {
  [ -z "$guest_group" ] || kill -- "-$guest_group" 2>/dev/null || true
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

replace_server() {
  local old=$server
  start_server --replace
  wait "$old" || { echo "the server that was replaced ended with $?"; exit 1; }
}
kill_server() {
  kill -KILL "$server"
  wait "$server" 2>/dev/null || true
  start_server
}
# begin_guest NAME SOCKET [VARIABLE=VALUE...]: runs the commands in $work/NAME in a guest; the variables are for `guest`.
begin_guest() {
  local name=$1 socket=$2
  shift 2
  set -m  # a process group of its own
  ( code=0
    env LOG="$work/$name.console" QUEUES=2 TIMEOUT=120 "$@" \
      "$guest" run "$guest_dir" "$socket" "$work/$name" > "$work/$name.out" 2>&1 || code=$?
    echo $code > "$work/$name.exit" ) &
  guest_group=$!
  set +m
}
# wait_for WORD NAME: until the guest has written WORD, or has ended.
wait_for() {
  until grep -qs "$1" "$work/$2.console" || [ -f "$work/$2.exit" ]; do sleep 0.2; done
}
# end_guest NAME: its output, and the server's log if it failed.
end_guest() {
  until [ -f "$work/$1.exit" ]; do sleep 0.2; done
  guest_group=
  # What QEMU says about each lost connection is no news.
  grep -v "^qemu-system" "$work/$1.out" || true
  [ "$(cat "$work/$1.exit")" = 0 ] || { echo "the guest failed: $(cat "$work/$1.exit")"; tail -20 "$work/log"; exit 1; }
  ! grep -q "err=[^ ]*[1-9]" "$work/$1.out"
}
# Prints how many requests the running server has answered the guest.
served() {
  "$latte" status -c "$work/run.toml" --json |
    python3 -c 'import json, sys; disk = json.load(sys.stdin)["disks"][0]; print(disk["reads"] + disk["writes"])'
}
# disturb KILLS REPLACES REQUESTS EXIT_FILE: ends the server as often, each time when it has answered so many requests,
# more than a guest could have left it, and has gone on for up to two seconds. Stops when the guest has ended.
disturb() {
  local left_kills=$1 left_replaces=$2 requests=$3 guest_exit=$4 waited
  ended=0 longest_ms=0
  while [ $((left_kills + left_replaces)) -gt 0 ] && [ ! -f "$guest_exit" ]; do
    if [ $((ended % 3)) = 2 ] && [ "$left_replaces" -gt 0 ] || [ "$left_kills" = 0 ]; then
      replace_server
      left_replaces=$((left_replaces - 1))
    else
      kill_server
      left_kills=$((left_kills - 1))
    fi
    ended=$((ended + 1))
    waited=$(date +%s%3N)
    until [ "$(served)" -ge "$requests" ] || [ -f "$guest_exit" ]; do
      [ $(($(date +%s%3N) - waited)) -lt 30000 ] ||
        { echo "end $ended of the server: the guest is not served any more"; tail -20 "$work/log"; exit 1; }
      sleep 0.1
    done
    waited=$(($(date +%s%3N) - waited))
    [ "$waited" -le "$longest_ms" ] || longest_ms=$waited
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
  done
}

cat > "$work/first" <<GUEST
set -e
mkfs.ext4 -q /dev/vda
mount /dev/vda /mnt
dd if=/dev/urandom of=/mnt/file bs=64k count=128 2>/dev/null
md5sum /mnt/file > /mnt/sum
echo LOAD-BEGINS
fio --name=v --directory=/mnt --size=24M --rw=randwrite --bs=4k-64k --verify=crc32c --do_verify=1 \
  --ioengine=libaio --direct=1 --iodepth=16 --time_based --runtime=$((4 * (kills + replaces) + 5)) | grep -E "err=|^ *lat .*max="
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
  --ioengine=libaio --direct=1 --iodepth=16 --time_based --runtime=13 | grep err=
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

packed="-global vhost-user-blk.packed=on"
start_server
echo "--- first boot, split rings, kills"
begin_guest first "$work/disk.vhost" RECONNECT=1 TIMEOUT=$((8 * (kills + replaces) + 120))
# A server that is away when the guest's driver starts the device loses it for good: that is QEMU's.
wait_for LOAD-BEGINS first
disturb "$kills" "$replaces" 200 "$work/first.exit"
[ ! -f "$work/first.exit" ] || touch "$work/too-early"
end_guest first
echo "kills and replacements: $ended; the guest was served again after $longest_ms ms at most"
[ ! -f "$work/too-early" ] || { echo "the load ended before the server was killed as often as it should"; exit 1; }

echo "--- second boot, packed rings"
begin_guest second "$work/disk.vhost" RECONNECT=1 QEMU_EXTRA="$packed"
wait_for GUEST-UP second
sleep 1
disturb 1 1 1 "$work/second.exit"
end_guest second
[ "$ended" = 2 ] || { echo "the server was not killed and replaced meanwhile"; exit 1; }

allocated() { "$latte" volume ls -c "$work/run.toml" --json | sed 's/.*"allocated_bytes":\([0-9]*\).*/\1/'; }
echo "--- a local disk that grows, packed rings"
begin_guest third "$work/local.vhost" QEMU_EXTRA="$packed"
wait_for GROW-ME third
trimmed=$(allocated)
"$latte" volume resize -c "$work/run.toml" local 384MiB
end_guest third
echo "allocated after fstrim: $trimmed, at the end: $(allocated)"
[ "$trimmed" -lt 67108864 ] || { echo "fstrim gave nothing back"; exit 1; }
echo "--- its second boot, split rings"
rm "$work/second.exit"
begin_guest second "$work/local.vhost"
end_guest second
kill "$server"; wait "$server"; server=
"$latte" check -c "$work/run.toml"
echo "guest: passed"
