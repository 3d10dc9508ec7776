"""Sees that the hub starts no server for those who are not to have one. Then it has a server started
for alice, types a command into a terminal of that server's, and prints what comes back from there."""

import asyncio
import json
import re
import sys
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

HUB = "127.0.0.1:8000"
HEADERS = {"Authorization": "token " + Path("/srv/token").read_text()}


async def ask(method, path):
    body = "{}" if method == "POST" else None
    request = HTTPRequest(f"http://{HUB}{path}", method, HEADERS, body, request_timeout=60)
    reply = await AsyncHTTPClient().fetch(request)
    return json.loads(reply.body or "null")


async def until(what, condition):
    while True:
        try:
            if answer := await condition():
                return answer
        except (OSError, HTTPClientError):
            pass  # The proxy may be there before the hub is.
        print("waiting:", what, file=sys.stderr)
        await asyncio.sleep(0.5)


async def refused(name):
    await ask("POST", f"/hub/api/users/{name}")
    try:
        await ask("POST", f"/hub/api/users/{name}/server")
    except HTTPClientError as error:
        if error.code == 500:
            return
        raise
    raise AssertionError(f"a server for {name} starts")


async def main(typed, awaited, *others):
    await until("hub", lambda: ask("GET", "/hub/api/"))
    for name in others:
        await refused(name)
    await ask("POST", "/hub/api/users/alice")
    await ask("POST", "/hub/api/users/alice/server")

    async def ready():
        servers = (await ask("GET", "/hub/api/users/alice"))["servers"]
        return servers and servers[""]["ready"]

    await until("server", ready)
    name = (await ask("POST", "/user/alice/api/terminals"))["name"]
    address = f"ws://{HUB}/user/alice/terminals/websocket/{name}"
    terminal = await websocket_connect(HTTPRequest(address, headers=HEADERS))
    await terminal.write_message(json.dumps(["stdin", typed + "\r"]))
    shown = ""
    while not re.search(awaited, shown):
        message = await terminal.read_message()
        if message is None:
            raise EOFError(shown)
        kind, *rest = json.loads(message)
        shown += rest[0] if kind == "stdout" else ""
    print(shown)


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 100))
