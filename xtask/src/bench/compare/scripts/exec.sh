# straw stays beside a command of alice's, which stands for her notebook.
setpriv --reuid=alice --regid=alice --clear-groups \
    straw exec --refresh "$REFRESH" --store /tmp/cluster -- sh -c ': >/tmp/ready; exec sleep infinity' \
    </dev/null >/tmp/up.log 2>&1 &
await "$!" /tmp/ready
