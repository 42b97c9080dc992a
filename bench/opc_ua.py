"""An OPC UA server (asyncua) on loopback in a process of its own: 50 doubles that move every second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import subprocess
import sys
from collections.abc import Iterator

from asyncua import Server, ua

NODES = tuple((f"power-{n:02}", f"ns=2;s=Power{n:02}") for n in range(50))
"""Names of series and their NodeIds."""

PERIOD_S = 1.0


@contextlib.contextmanager
def opc_ua_server() -> Iterator[str]:
    """Run the server while the block lasts; yields its address."""
    process = subprocess.Popen([sys.executable, "-m", "bench.opc_ua"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


async def _serve() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"opc.tcp://127.0.0.1:{port}/line"
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(url)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    await server.register_namespace("urn:shopfloor:bench")
    nodes = [
        await server.nodes.objects.add_variable(ua.NodeId.from_string(node), name, 50.0, ua.VariantType.Double)
        for name, node in NODES
    ]
    source = random.Random(1)  # noqa: S311 - reproducible, not secret
    async with server:
        print(url, flush=True)
        while True:
            for node in nodes:
                await node.write_value(50.0 + source.randrange(100) / 10)
            await asyncio.sleep(PERIOD_S)


if __name__ == "__main__":
    asyncio.run(_serve())
