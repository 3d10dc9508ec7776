"""The recipe's configuration, without containers and with a user who needs no password."""

import json
from pathlib import Path

load_subconfig("/srv/recipe.py")  # noqa: F821
c = get_config()  # noqa: F821

c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
# What the image would run.
c.Spawner.cmd = json.loads(Path("/srv/command.json").read_text())
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.services = [{"name": "test", "api_token": Path("/srv/token").read_text()}]
scopes = ["admin:users", "admin:servers", "access:servers"]
c.JupyterHub.load_roles = [{"name": "test", "scopes": scopes, "services": ["test"]}]
