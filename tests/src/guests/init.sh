#!/bin/busybox sh
# The first process of a guest: what a program expects of a machine, the modules, the command, and the end.
/bin/busybox --install -s /busybox
export PATH=/busybox HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm
for folder in /dev/shm /run; do mount -t tmpfs tmpfs "$folder"; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# The line carries bytes, not a terminal's idea of them.
stty -F /dev/ttyS1 raw -echo
exec 3>/dev/ttyS1
status=0
while read -r module; do insmod "$module" >&3 2>&1 || status=126; done </modules/order
ip link set lo up
if [ "$status" = 0 ]; then
	sh /command </dev/null >&3 2>&1 3>&-
	status=$?
fi
printf '\nguest: exit status %s\n' "$status" >&3
# Closing the line waits until all of it has gone out.
exec 3>&-
poweroff -f
