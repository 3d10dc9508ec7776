# Starts stunnel in the directory $1 with the configuration from standard input, and waits until it
# listens on the port $2.
cd "$1" || exit
cat >stunnel.conf
stunnel stunnel.conf >stunnel.err 2>&1 || { cat stunnel.err >&2; exit 1; }
port=$(printf %04X "$2")
tries=0
until grep -qE "^ *[0-9]+: [0-9A-F]+:$port [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { cat stunnel.err >&2; exit 1; }
    sleep 0.05
done
