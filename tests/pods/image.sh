#!/bin/sh
# image.sh NAME FOLDER: makes FOLDER/image.tar, an image called NAME without a registry: busybox, all of its commands,
# and a default that waits. So it is a pod's sandbox, too.
set -eu
name=$1 folder=$2
busybox=$(command -v busybox)
mkdir -p "$folder/root/bin"
cp "$busybox" "$folder/root/bin/busybox"
for command in $("$busybox" --list); do
	[ "$command" = busybox ] || ln -sf busybox "$folder/root/bin/$command"
done
tar -C "$folder/root" --owner=0 --group=0 -cf "$folder/layer.tar" .
digest=$(sha256sum "$folder/layer.tar" | cut -d' ' -f1)
cat >"$folder/config.json" <<-JSON
	{"os": "linux", "architecture": "$(dpkg --print-architecture)",
	 "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "infinity"]},
	 "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]}}
JSON
printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]\n' "$name" >"$folder/manifest.json"
tar -C "$folder" -cf "$folder/image.tar" manifest.json config.json layer.tar
