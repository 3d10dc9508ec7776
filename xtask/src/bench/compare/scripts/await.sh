# await PROCESS FILE...: waits until all the files are there. A process that ends before has said why.
await() {
    process=$1
    shift
    trap 'cat /tmp/up.log >&2; exit 124' TERM
    for file; do
        until [ -e "$file" ]; do
            kill -0 "$process" 2>/dev/null || { cat /tmp/up.log >&2; exit 1; }
            sleep 0.02
        done
    done
}
ulimit -n 4096
