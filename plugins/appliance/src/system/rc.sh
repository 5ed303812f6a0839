#!/bin/sh
# Started by init before anything else: mounts what a system expects, runs the template's scripts,
# says on every console that the system is ready.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
b=/bin/busybox
$b mount -t proc -o nosuid,nodev,noexec proc /proc
$b mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
$b mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
$b --install -s 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
hostname -F /etc/hostname
ifconfig lo 127.0.0.1 up

say() {
    for console in /dev/ttyS0 /dev/tty0; do
        echo "appliance: $1" 2>/dev/null >"$console"
    done
}

for script in /etc/rc.d/*; do
    [ -x "$script" ] || continue
    "$script" </dev/null >/dev/console 2>&1 || say "$script failed with exit code $?"
done
say "$(hostname) is ready"
