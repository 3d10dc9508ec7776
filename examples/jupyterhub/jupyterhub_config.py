"""Each user's server runs in a container of its own, with a token of that user's."""

import asyncio
from subprocess import PIPE

CONTROLLERS = "ctl1,ctl2"

c = get_config()  # noqa: F821

c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.image = "slurm-notebook"
c.DockerSpawner.network_name = "jupyterhub"
c.DockerSpawner.remove = True
c.Spawner.environment = {"SLURM_CONF_SERVER": CONTROLLERS}


async def slurm_token(spawner):
    """A token for the user, out of the munge socket of the hub's host; only root gets it so."""
    command = ["straw", "token", "renew", CONTROLLERS, "--for", spawner.user.name, "--lifespan=1h"]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    printed, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"no Slurm token for {spawner.user.name}")
    token = printed.decode().strip().removeprefix("SLURM_JWT=")
    spawner.environment = {**spawner.environment, "SLURM_JWT": token}


c.Spawner.pre_spawn_hook = slurm_token
