#!/bin/bash
# enter.sh TREE ro|rw NETWORK WORKDIR [SOURCE TARGET]... -- [KEY=VALUE]... COMMAND...
# Second half of enter.py, inside the new namespaces: mounts, then the command in the tree. The tree itself
# is read-only (but while it is made), so that no build leaves anything behind for the next.
set -euo pipefail
umask 022
tree=$1 access=$2 network=$3 workdir=$4; shift 4
binds=()
while [ "$1" != -- ]; do
    # The mount point, in the tree while it can still be written.
    if [ -d "$1" ]; then mkdir -p "$tree$2"; else [ -e "$tree$2" ] || : > "$tree$2"; fi
    binds+=("$1" "$2")
    shift 2
done
shift
if [ "$network" = yes ]; then
    for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
        [ -e "$file" ] || continue
        [ -e "$tree$file" ] || : > "$tree$file"
        binds+=("$(readlink -f "$file")" "$file")
    done
fi
mount --bind "$tree" "$tree"
mount -o "remount,bind,$access" "$tree"
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
for place in root tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$tree/$place"; done
mount -t tmpfs -o mode=0755 tmpfs "$tree/run"
set -- "${binds[@]}" -- "$@"
while [ "$1" != -- ]; do
    # Below one of the above, if the checkout lies there (/root, /tmp): the mount point once more.
    if [ -d "$1" ]; then mkdir -p "$tree$2"; else [ -e "$tree$2" ] || : > "$tree$2"; fi
    mount --rbind "$1" "$tree$2"
    shift 2
done
shift
[ "$network" = yes ] || chroot "$tree" /usr/bin/ip link set lo up
exec chroot "$tree" /usr/bin/env -i -C "$workdir" "$@"
