# Removes what the cluster $1 left in Docker once its process has gone without a word.
#
# Standard input is a pipe whose other end that process holds. "done" means that it has removed
# everything itself; the end of the input means that it has died.
read -r word && [ "$word" = done ] && exit 0

label="label=straw-lab=$1"

# A `docker run` that was under way outlives the process that started it, so one empty look is not
# enough: the cluster is gone when several in a row find nothing.
quiet=0
looks=0
while [ "$quiet" -lt 4 ] && [ "$looks" -lt 120 ]; do
    looks=$((looks + 1))
    quiet=$((quiet + 1))
    for thing in $(docker ps -aq --filter "$label"); do
        quiet=0
        docker rm -f -v "$thing"
    done
    for thing in $(docker network ls -q --filter "$label"); do
        quiet=0
        docker network rm "$thing"
    done
    for thing in $(docker volume ls -q --filter "$label"); do
        quiet=0
        docker volume rm -f "$thing"
    done
    for thing in $(docker images -q --filter "$label"); do
        quiet=0
        docker rmi -f "$thing"
    done
    sleep 0.5
done >/dev/null 2>&1
