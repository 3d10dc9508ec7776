# As Debian's unit starts it; as root where there is no account slurm.
tar -x -C /
owner=$(id -un slurm 2>/dev/null) || owner=root
chown "$owner" /etc/slurm/slurm.key
install -d -o "$owner" -m 0755 /run/slurm
setpriv --reuid="$owner" --regid="$owner" --clear-groups \
    sackd -D --conf-server "$CONTROLLERS" </dev/null >/tmp/up.log 2>&1 &
await "$!" /run/slurm/conf/slurm.conf /run/slurm/sack.socket
