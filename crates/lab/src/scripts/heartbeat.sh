# Waits until there is the heartbeat $1 of a controller in charge.
tries=0
until [ -e "$1" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || exit 1
    sleep 0.05
done
