"""A line with an OPC UA server (asyncua), told what to do by JSON on standard input, one command a line.

Arguments: port, folder for certificates (it makes its own, trusts every client), "users" to refuse anonymous clients,
"one-session" to have no room for a second session, as small controllers have for few.
Commands: {"set": name, "value": v, "type": variant, "status": code, "source": ms}, {"add": name}, {"forget":
"subscriptions"} (as if they had never been made, without a word to anybody), {"forget": "items"}. Each is answered with
a line; the first line says that the server is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import logging
import sys
from pathlib import Path
from typing import Any

from asyncua import Node, Server, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_session import InternalSession
from asyncua.server.user_managers import UserManager
from cryptography.x509.oid import ExtendedKeyUsageOID

logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class Operators(UserManager):
    """Knows one operator, by password or by certificate."""

    def __init__(self, folder: Path) -> None:
        self._operator = folder / "operator.der"

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        del iserver
        by_password = (username, password) == ("line", "secret")
        by_certificate = username is None and self._operator.exists() and certificate == self._operator.read_bytes()
        return User(role=UserRole.User, name="line") if by_password or by_certificate else None


class Line:
    """The nodes of the line, by name."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.nodes: dict[str, Node] = {}

    async def add(self, name: str, value: Any, variant: ua.VariantType) -> None:
        node = await self.server.nodes.objects.add_variable(ua.NodeId(name, 2), name, value, variant)
        self.nodes[name] = node

    async def obey(self, command: dict[str, Any]) -> None:
        if "set" in command:
            await self._set(command)
        elif "add" in command:
            await self.add(command["add"], 1.5, ua.VariantType.Double)
        else:
            await self._forget(command["forget"])

    async def _set(self, command: dict[str, Any]) -> None:
        variant = ua.VariantType[command.get("type", "Double")]
        source = command.get("source", 0) / 1000 or datetime.datetime.now(datetime.UTC).timestamp()
        stamp = datetime.datetime.fromtimestamp(source, datetime.UTC)
        value = ua.DataValue(
            ua.Variant(command["value"], variant),
            ua.StatusCode(ua.UInt32(command.get("status", 0))),
            SourceTimestamp=stamp,
            ServerTimestamp=stamp,
        )
        await self.nodes[command["set"]].write_value(value)

    async def _forget(self, what: str) -> None:
        service = self.server.iserver.subscription_service
        for subscription in list(service.subscriptions.values()):
            if what == "items":
                items = list(subscription.monitored_item_srv._monitored_items)
                subscription.monitored_item_srv.delete_monitored_items(items)
            else:
                await service.delete_subscriptions([subscription.data.SubscriptionId])


async def main(port: int, folder: Path, *, users: bool) -> None:
    server = Server(user_manager=Operators(folder) if users else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/line")
    server.set_security_policy(
        [
            ua.SecurityPolicyType.NoSecurity,
            ua.SecurityPolicyType.Basic256Sha256_Sign,
            ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
            ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
            ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
            ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
            ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
        ]
    )
    uri = "urn:test:line"
    await server.set_application_uri(uri)
    await setup_self_signed_certificate(
        folder / "key.pem", folder / "certificate.der", uri, "127.0.0.1", [ExtendedKeyUsageOID.SERVER_AUTH], {}
    )
    await server.load_certificate(folder / "certificate.der")
    await server.load_private_key(folder / "key.pem")
    await server.register_namespace("urn:test:line:nodes")
    line = Line(server)
    await line.add("Power", 10.0, ua.VariantType.Double)
    await line.add("GoodCount", 7, ua.VariantType.UInt32)
    await line.add("Running", True, ua.VariantType.Boolean)
    await line.add("Order", "A-1", ua.VariantType.String)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with server:
        print("ready", flush=True)  # noqa: T201 - the protocol with the test
        while text := await reader.readline():
            with contextlib.suppress(json.JSONDecodeError):
                await line.obey(json.loads(text))
            print("done", flush=True)  # noqa: T201


if __name__ == "__main__":
    if "one-session" in sys.argv[3:]:
        InternalSession.max_connections = 1
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), users="users" in sys.argv[3:]))
