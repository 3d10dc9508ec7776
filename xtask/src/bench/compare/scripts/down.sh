# Ends the slurmd of a container, so that it does not register anew.
for process in /proc/[0-9]*; do
    read -r name <"$process/comm" 2>/dev/null || continue
    [ "$name" != slurmd ] || kill -KILL "${process#/proc/}"
done
