"""Walks the address space of an OPC UA server: which variables are there, of what type, and what do they say now?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from asyncua import ua

from agent.clock import Clock
from agent.opc_ua.samples import sample_of
from agent.opc_ua.session import OpcUaSession
from wire.node import OPC_BAD, NodeValue, Variant

OBJECTS = "i=85"
"""The folder that everything of the server's own stands below (OPC 10000-5, 8.2.4)."""

SERVER = "i=2253"
"""The server's description of itself (OPC 10000-5, 8.3.2): diagnostics, not the machine."""


@dataclass(frozen=True, slots=True)
class VariableFound:
    """A variable: NodeId, path of browse names, built-in type, engineering unit as the server names it, and value.

    ``status`` is the status code of the value; ``variant`` is `Variant.NULL` when records cannot carry it.
    """

    node: str
    path: str
    variant: Variant
    unit: str
    status: int
    value: NodeValue | None


async def walk(
    session: OpcUaSession,
    clock: Clock,
    *,
    start: str = OBJECTS,
    pattern: str = "*",
    limit: int = 10_000,
    tell: Callable[[int, str], None] | None = None,
) -> list[VariableFound]:
    """Return the variables below ``start`` whose path or NodeId matches the glob ``pattern``, in the order of the tree.

    Every node is visited once, at most ``limit``; ``tell`` is called with how many were visited, and where the walk is.
    Raises as `OpcUaSession.read`.
    """
    seen = {start, SERVER}
    waiting = deque([(start, "")])
    matching: list[tuple[str, str]] = []
    units: dict[str, str] = {}
    while waiting and len(seen) < limit:
        node, path = waiting.popleft()
        if tell is not None:
            tell(len(seen), path)
        for found in await session.browse(node):
            if found.name == "EngineeringUnits":
                units[node] = found.node
            if found.node in seen:
                continue
            seen.add(found.node)
            below = f"{path}/{found.name}" if path else found.name
            waiting.append((found.node, below))
            if found.is_variable and (fnmatchcase(below, pattern) or fnmatchcase(found.node, pattern)):
                matching.append((found.node, below))
    properties = set(units.values())
    listed = [(node, path) for node, path in matching if node not in properties]
    said = await session.read([*(node for node, _ in listed), *units.values()])
    named = {node: _unit_name(value) for node, value in zip(units, said[len(listed) :], strict=True)}
    time_ms = clock.now_ms()
    variables = []
    for (node, path), value in zip(listed, said, strict=False):
        sample, variant = sample_of(value, time_ms)
        kept = sample.value if sample.status < OPC_BAD else None
        variables.append(VariableFound(node, path, variant, named.get(node, ""), sample.status, kept))
    return variables


def _unit_name(value: ua.DataValue) -> str:
    """Return the display name in a property EngineeringUnits (OPC 10000-8, 6.3.4), nothing when there is none."""
    information = None if value.Value is None else value.Value.Value
    text = getattr(getattr(information, "DisplayName", None), "Text", None)
    return text if isinstance(text, str) else ""
