"""A client of the read API: one question at a time, asked again when the server or the way to it fails for a while.

Uses the standard library only, so that it works wherever the command is installed.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

from shopfloor.errors import ReadError, RefusedError
from wire.errors import fault_text

PREFIX = "/api/v1"
Parameters = Sequence[tuple[str, str]]
_TIMEOUT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 30.0
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Answer:
    """What the server sent."""

    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class ApiClient:
    """Asks one server.

    :param server: its address, such as ``https://evidence.example:8000``.
    :param token: sent as Bearer token; None where none is needed.
    :param authority: a file of certificates (PEM) to trust in the place of the system's.
    :param attempts: how often a question is asked before the client gives up.
    :raises RefusedError: a token would be sent in clear text to another machine, or a file cannot be used.
    """

    def __init__(self, server: str, token: str | None = None, authority: Path | None = None, attempts: int = 6) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise RefusedError(f"'{server}' is no address of a server; write it like https://host:8000")
        if token is not None and parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise RefusedError(f"{server}: a token is not sent in clear text; use https://")
        self._server = f"{parts.scheme}://{parts.netloc}"
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._attempts = attempts
        try:
            context = ssl.create_default_context(cafile=None if authority is None else str(authority))
        except OSError as error:
            raise RefusedError(f"{authority}: cannot be used as certificates: {fault_text(error)}") from error
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))

    def get(self, path: str, parameters: Parameters = ()) -> Answer:
        """The answer to one question.

        :raises RefusedError: the server says no; its reason is in the message.
        :raises ReadError: it does not answer, or breaks off, time and again.
        """
        address = f"{self._server}{PREFIX}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        request = urllib.request.Request(address, headers=self._headers)  # noqa: S310 - the scheme is checked above
        for attempt in range(1, self._attempts + 1):
            wait = min(2.0**attempt / 4, _LONGEST_WAIT_SECONDS)
            try:
                with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                    return Answer(response.read(), {key.lower(): value for key, value in response.headers.items()})
            except urllib.error.HTTPError as error:
                reason = _reason(error)
                if error.code < _SERVER_ERROR:
                    raise RefusedError(f"{self._server} refuses ({error.code}): {reason}") from error
                wait = min(float(error.headers.get("retry-after", wait)), _LONGEST_WAIT_SECONDS)
            except (urllib.error.URLError, OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", "")) or str(error) or type(error).__name__
                if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                    raise ReadError(f"{self._server}: its certificate is not trusted: {reason}; see --ca") from error
            if attempt < self._attempts:
                time.sleep(wait)
        raise ReadError(f"{self._server} cannot be read from: {reason}; asked {self._attempts} times")

    def pages(
        self, path: str, parameters: Parameters, cursor: str | None = None
    ) -> Iterator[tuple[Answer, str | None]]:
        """The pages of an answer from ``cursor`` on, each with the cursor behind it; None behind the last one."""
        while True:
            asked = [*parameters, *([("cursor", cursor)] if cursor else [])]
            answer = self.get(path, asked)
            cursor = next_cursor(answer)
            yield answer, cursor
            if cursor is None:
                return


def next_cursor(answer: Answer) -> str | None:
    """The cursor in the header that leads to the next page (RFC 8288), None on the last one."""
    link = answer.headers.get("link", "")
    if not link.endswith('; rel="next"'):
        return None
    query = urlsplit(link.removeprefix("<").partition(">")[0]).query
    return dict(part.split("=", 1) for part in query.split("&"))["cursor"]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirection would carry the token to wherever it leads."""

    def redirect_request(  # noqa: PLR0917 - the signature is that of urllib
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow nothing: the redirection becomes an error."""


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError, OSError, HTTPException):
        return error.reason


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
