# Starts slurmctld and waits until it listens on its port, 6817 (1AA1). The port is looked up and
# not tried: a connection that says nothing would be an error in slurmctld's log.
slurmctld || exit
tries=0
until grep -qE '^ *[0-9]+: [0-9A-F]+:1AA1 [0-9A-F]+:0000 0A' /proc/net/tcp /proc/net/tcp6; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || exit 1
    sleep 0.05
done
