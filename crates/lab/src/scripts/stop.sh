# Ends slurmctld, whose process number is in the file $1, and waits until it is gone.
pid=$(cat "$1" 2>/dev/null) || exit 0
kill -TERM "$pid" 2>/dev/null || exit 0
tries=0
while kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    # It may be held up by a peer that does not answer.
    [ "$tries" -ne 200 ] || kill -KILL "$pid"
    [ "$tries" -lt 240 ] || exit 1
    sleep 0.05
done
rm -f "$1"
