# timed LIMIT COMMAND...: its exit status and its milliseconds, as the last line.
limit=$1
shift
begin=$(date +%s%N)
timeout "$limit" "$@" >/dev/null
status=$?
echo "$status $((($(date +%s%N) - begin) / 1000000))"
