#!/bin/bash
# enter.sh TREE NETWORK WORKDIR [SOURCE TARGET]... -- [KEY=VALUE]... COMMAND...
# Second half of enter.py, inside the new namespaces: mounts, then the command in the tree.
set -euo pipefail
umask 022
tree=$1 network=$2 workdir=$3; shift 3
mount --bind "$tree" "$tree"
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$tree/run"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$tree$2"; else [ -e "$tree$2" ] || : > "$tree$2"; fi
    mount --rbind "$1" "$tree$2"
    shift 2
done
shift
if [ "$network" = yes ]; then
    for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
        [ -e "$file" ] || continue
        [ -e "$tree$file" ] || : > "$tree$file"
        mount --bind "$(readlink -f "$file")" "$tree$file"
    done
else
    ip link set lo up 2>/dev/null || true
fi
exec chroot "$tree" /usr/bin/env -i -C "$workdir" "$@"
