# Deletes every node but the cluster's own.
scontrol -o show nodes | sed -n 's/^NodeName=\([^ ]*\).*/\1/p' | while read -r node; do
    [ "$node" = node1 ] || scontrol delete "nodename=$node" || exit
done
