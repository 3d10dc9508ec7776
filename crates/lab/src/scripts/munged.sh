# Makes a host of a fresh container: the files from standard input, a munge daemon, and the
# directories of Slurm's daemons, which run as $1.
set -e
rm -f /etc/slurm/plugstack.conf
tar -xf - -C / --no-same-owner

chown -R munge:munge /etc/munge
install -d -o munge -g munge -m 0755 /run/munge
runuser -u munge -- munged

install -d -m 0755 /var/spool/slurmd
install -d -o "$1" -m 0755 /var/spool/slurmctld /run/slurmctld /var/log/slurm
if [ -e /etc/slurm/jwt_hs256.key ]; then
    chown "$1" /etc/slurm/jwt_hs256.key
fi
