"""The recipe's configuration, without containers and with a user who needs no password."""

import json
import subprocess
from pathlib import Path

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Dict

load_subconfig("/srv/recipe.py")  # noqa: F821
c = get_config()  # noqa: F821


class ProcessSpawner(LocalProcessSpawner):
    """Mounts the volumes as Docker would."""

    volumes = Dict()

    async def start(self):
        for volume, place in self.volumes.items():
            Path(place).mkdir(exist_ok=True)
            subprocess.run(["mount", "--bind", volume, place], check=True)
        return await super().start()


c.JupyterHub.hub_ip = c.JupyterHub.hub_connect_ip = "127.0.0.1"
c.JupyterHub.spawner_class = ProcessSpawner
# What the image would run.
c.Spawner.cmd = json.loads(Path("/srv/command.json").read_text())
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.services = [{"name": "test", "api_token": Path("/srv/token").read_text()}]
scopes = ["admin:users", "admin:servers", "access:servers"]
c.JupyterHub.load_roles = [{"name": "test", "scopes": scopes, "services": ["test"]}]
