# Starts systemd as the first process of a container that has CAP_SYS_ADMIN, on hosts with control
# groups of version 2, or of both.
set -e
groups=/run/cgroup
mkdir "$groups"
mount -t cgroup2 none "$groups"
# What containers that are gone have left where Docker does not know of it.
for old in "$groups"/straw-lab-*; do
    if grep -qs 'populated 0' "$old/cgroup.events"; then
        find "$old" -depth -type d -exec rmdir {} + || :
    fi
done
# Another container may remove it again before this process is in it.
own=$groups/straw-lab-$(hostname)
for try in 1 2 3; do
    mkdir -p "$own"
    if echo $$ > "$own/cgroup.procs"; then break; fi
done
# With a namespace of its own it sees nothing of the host's. Credentials are mounted by helpers, which
# takes shared mounts.
exec unshare --cgroup sh -ec '
    umount "$0"
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount --make-rshared /
    exec /lib/systemd/systemd' "$groups"
