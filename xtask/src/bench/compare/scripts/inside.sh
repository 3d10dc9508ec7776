# What runs in the container beside the process that keeps it: a line for each process with its
# memory (KiB) and its time on the processor (ticks), and one for each port that it listens on.
for process in /proc/[0-9]*; do
    read -r name <"$process/comm" 2>/dev/null || continue
    case $name in docker-init | tini | sleep | sh) continue ;; esac
    memory=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "$process/status")
    ticks=$(cut -d' ' -f14,15 "$process/stat" | tr ' ' +)
    [ -z "$memory" ] || echo "process $name $memory $(($ticks))"
done
# 0B00007F is Docker's own name server.
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _; do
    case $state-$local in
    0A-0B00007F:*) ;;
    0A-*) echo "port $((0x${local##*:}))" ;;
    esac
done | sort -u
