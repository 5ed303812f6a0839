#!/bin/sh
# First process of the initial RAM disk: load the drivers of the disks that are there, mount the root
# file system, start the system on it.

b=/bin/busybox
$b mount -t proc -o nosuid,nodev,noexec proc /proc
$b mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
$b mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
PATH=/bin:/sbin
$b --install -s /bin

root= flags= type= init=/sbin/init mode=ro wait=30 panic=
for word in $(cat /proc/cmdline); do
    case $word in
        root=*) root=${word#root=} ;;
        rootflags=*) flags=,${word#rootflags=} ;;
        rootfstype=*) type=${word#rootfstype=} ;;
        rootwait=*) wait=${word#rootwait=} ;;
        init=*) init=${word#init=} ;;
        panic=*) panic=${word#panic=} ;;
        ro | rw) mode=$word ;;
    esac
done

fail() {
    echo "initrd: $1" >/dev/console
    echo "initrd: block devices:" >/dev/console
    for device in /sys/class/block/*; do
        [ -e "$device/size" ] || { echo "initrd:   none" >/dev/console; continue; }
        name=${device##*/}
        echo "initrd:   $name $(($(cat "$device/size") / 2048)) MiB" >/dev/console
    done
    if [ -n "$panic" ]; then
        sleep "$panic"
        reboot -f
    fi
    echo "initrd: starting a shell" >/dev/console
    exec setsid cttyhack sh
}

# A driver may bring a bus with new devices (virtio_pci does), so this is called until root is there.
load_drivers() {
    find /sys/devices -name modalias -exec cat {} + 2>/dev/null | sort -u >/tmp/seen
    cmp -s /tmp/seen /tmp/served && return
    mv /tmp/seen /tmp/served
    modprobe -a -q -b $(cat /tmp/served) 2>/dev/null
}

seconds() {
    read -r up _ </proc/uptime
    echo "${up%.*}"
}

# The GUID of a GPT partition, read from the table: entry N of 128 bytes lies behind two blocks.
partuuid() {
    number=$(cat "$1/partition")
    disk=$(readlink -f "$1/..")
    block=$(cat "$disk/queue/logical_block_size")
    dd if="/dev/${disk##*/}" bs=1 skip=$((2 * block + (number - 1) * 128 + 16)) count=16 2>/dev/null |
        hexdump -v -e '1/4 "%08x-" 2/2 "%04x-" 2/1 "%02x" "-" 6/1 "%02x"'
}

# Prints $3 bytes at $2 of $1, in hexdump's format $4.
bytes() {
    dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null | hexdump -v -e "$4"
}

# BusyBox may lack findfs (Debian 11): looks for UUID= and LABEL= in the superblocks of ext2 to ext4,
# which begin at byte 1024.
find_ext() {
    for device in /sys/class/block/*; do
        device=/dev/${device##*/}
        [ "$(bytes "$device" 1080 2 '1/2 "%04x"')" = ef53 ] || continue
        uuid=$(bytes "$device" 1128 16 '4/1 "%02x" "-" 2/1 "%02x" "-" 2/1 "%02x" "-" 2/1 "%02x" "-" 6/1 "%02x"')
        label=$(dd if="$device" bs=1 skip=1144 count=16 2>/dev/null | tr -d '\000')
        case $root in
            "LABEL=$label" | "UUID=$uuid") echo "$device"; return ;;
        esac
    done
}

# Prints the device that root= names, if it is there.
find_root() {
    case $root in
        UUID=* | LABEL=*) findfs "$root" 2>/dev/null || find_ext ;;
        PARTUUID=*)
            wanted=$(echo "${root#PARTUUID=}" | tr A-F a-f)
            for device in /sys/class/block/*/partition; do
                [ -e "$device" ] || continue
                device=$(readlink -f "${device%/partition}")
                if [ "$(partuuid "$device")" = "$wanted" ]; then
                    echo "/dev/${device##*/}"
                    return
                fi
            done
            ;;
        /dev/*) [ -b "$root" ] && echo "$root" ;;
    esac
}

[ -n "$root" ] || fail "the kernel parameter root= is missing"
modprobe -a -q crc32c_generic crc32c_intel ext4 2>/dev/null

device=
limit=$(($(seconds) + wait))
while :; do
    load_drivers
    device=$(find_root)
    [ -n "$device" ] && break
    [ "$(seconds)" -lt "$limit" ] || fail "root file system $root did not appear within $wait s"
    usleep 50000
done

mount -o "$mode$flags" ${type:+-t "$type"} "$device" /root || fail "cannot mount $device as root"
[ -x "/root$init" ] || [ -L "/root$init" ] || fail "there is no $init on $device"

mount -o move /dev /root/dev
mount -o move /sys /root/sys
mount -o move /proc /root/proc
exec switch_root -c /dev/console /root "$init"
