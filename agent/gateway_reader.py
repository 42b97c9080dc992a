"""Reads a gateway file in a process of its own, for `agent.reading`: ``python -m agent.gateway_reader FILE``.

On standard output is one CBOR map: what the file says under ``config`` and its device models, with the hashes of their
files, under ``templates``; or the ``problems`` of the document, or the ``fault`` for which it cannot be used.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import cbor2

from agent.config import load_config
from agent.connections import plans
from agent.description import describe
from agent.models import load_template
from agent.plain_data import to_plain
from wire.errors import DocumentError, ShopfloorError


def answer(path: Path) -> dict[str, Any]:
    """Return what the gateway file says after everything that the agent will need of it was checked."""
    try:
        config = load_config(path)
        describe(config)
        list(plans(config))
    except DocumentError as error:
        return {"problems": error.problems}
    except ShopfloorError as error:
        return {"fault": str(error)}
    names = sorted({device.model for _, device in config.devices()})
    templates = {name: load_template(name) for name in names}
    return {"config": to_plain(config), "templates": to_plain(templates)}


def main(arguments: list[str]) -> None:
    """Answer on standard output; end without a word when nobody waits for it any more."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout.buffer.write(cbor2.dumps(answer(Path(arguments[0])), value_sharing=True))


if __name__ == "__main__":
    main(sys.argv[1:])
