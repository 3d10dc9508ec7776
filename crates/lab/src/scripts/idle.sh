# Waits until the node is idle.
tries=0
until [ "$(sinfo --noheader --nodes=node1 --format=%t 2>/tmp/sinfo.log)" = idle ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { cat /tmp/sinfo.log >&2; sinfo >&2; exit 1; }
    sleep 0.1
done
