# Makes a host of a fresh container: the files from standard input, a munge daemon where $2 is
# "munge", and the directories of Slurm's daemons, which run as $1.
set -e
rm -f /etc/slurm/plugstack.conf
tar -xf - -C / --no-same-owner

if [ "$2" = munge ]; then
    chown -R munge:munge /etc/munge
    install -d -o munge -g munge -m 0755 /run/munge
    runuser -u munge -- munged
fi

install -d -m 0755 /var/spool/slurmd
install -d -o "$1" -m 0755 /var/spool/slurmctld /run/slurmctld /var/log/slurm
for file in jwt_hs256.key jwks.json slurm.key; do
    if [ -e "/etc/slurm/$file" ]; then
        chown "$1" "/etc/slurm/$file"
    fi
done
