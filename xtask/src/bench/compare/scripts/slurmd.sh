# A node of its own, which no line of slurm.conf has to name (-Z).
install -d /var/log/slurm
slurmd -D -Z -N "$(hostname)" --conf-server "$CONTROLLERS" </dev/null >/tmp/up.log 2>&1 &
await "$!" /run/slurm/conf/slurm.conf
