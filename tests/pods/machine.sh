#!/bin/sh
# machine.sh FOLDER: the first process of a node, whose mounts and processes are its own and end with it.
set -eu
folder=$1
mount --make-rshared /
for place in /run /var/lib /var/log; do
	mount -t tmpfs -o size=1g,mode=755 none "$place"
done
mkdir -p /run/netns
# The kubelet sets these for the whole machine, unless they are what it wants.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	file=$folder/sysctl/${setting%=*}
	mkdir -p "${file%/*}"
	echo "${setting#*=}" >"$file"
	mount --bind "$file" "/proc/sys/${setting%=*}"
done
echo up
# Processes whose parents have ended become this one's children, and the shell collects them.
while sleep 1; do :; done
