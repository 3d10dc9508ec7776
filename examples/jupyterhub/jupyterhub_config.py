"""Each user's server runs in a container of its own, with a token of that user's."""

import asyncio
import os
import pwd
import shutil
from pathlib import Path
from urllib.parse import quote

CONTROLLERS = "ctl1,ctl2"
# SlurmUser, whatever its number is: its token opens as much as root's.
NEVER = {"root", "slurm"}
# The user of the image, whatever the cluster calls the one who is logged in.
IMAGE_USER = 1000
# On the hub's host. Nobody but root comes in here, so the files may belong to that number.
TOKENS = Path("/run/slurm-notebooks")

c = get_config()  # noqa: F821

# The hub's host as containers see it that are in Docker's own network.
c.JupyterHub.hub_ip = c.JupyterHub.hub_connect_ip = "172.17.0.1"
c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.image = "slurm-notebook"
c.DockerSpawner.remove = True
c.Spawner.environment = {"SLURM_CONF_SERVER": CONTROLLERS}


def directory_of(spawner):
    return TOKENS / quote(f"{spawner.user.name}@{spawner.name}", safe="@")


async def slurm_token(spawner):
    """Has a token made for the user, out of the munge socket of the hub's host, and mounts it."""
    # The hub is root, who gets a token for anybody: so never for root, slurm, or another of the system's.
    try:
        account = pwd.getpwnam(spawner.user.name)
    except KeyError:
        raise PermissionError(f"no account {spawner.user.name} here") from None
    # Debian's own accounts are below 1000 and from 60000 on: its slurm has 64030.
    uid = account.pw_uid
    if uid < 1000 or 60000 <= uid < 65536 or account.pw_name in NEVER:
        raise PermissionError(f"{account.pw_name} is an account of the system's, not a person's")

    TOKENS.mkdir(mode=0o700, exist_ok=True)
    directory = directory_of(spawner)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    token = directory / "token"
    renew = ["straw", "token", "renew", CONTROLLERS, "--lifespan=1h"]
    renew += [f"--for={account.pw_name}", f"--write={token}"]
    process = await asyncio.create_subprocess_exec(*renew)
    if await process.wait() != 0:
        raise RuntimeError(f"no Slurm token for {account.pw_name}")
    os.chown(token, IMAGE_USER, IMAGE_USER)
    os.chown(directory, IMAGE_USER, IMAGE_USER)
    spawner.volumes = {**spawner.volumes, str(directory): "/run/slurm-token"}


def remove_token(spawner):
    shutil.rmtree(directory_of(spawner), ignore_errors=True)


c.Spawner.pre_spawn_hook = slurm_token
c.Spawner.post_stop_hook = remove_token
