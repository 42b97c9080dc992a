"""Users, tokens, and where pages and API may be served: as a person at the command line meets them."""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shopfloor.access.listening import is_loopback
from shopfloor.access.login import COOKIE
from shopfloor.main import main

PASSWORD = "correct horse battery staple"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - where nothing may be served as it is


@dataclass(frozen=True)
class Files:
    """What a server beyond loopback needs."""

    users: Path
    certificate: Path
    key: Path

    @property
    def options(self) -> list[str]:
        return ["--users", str(self.users), "--tls-cert", str(self.certificate), "--tls-key", str(self.key)]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Files:
    """One user, and a certificate of 127.0.0.1 that signs itself."""
    found = Files(tmp_path / "users.yaml", tmp_path / "server.crt", tmp_path / "server.key")
    add(monkeypatch, found.users, "li.wei")
    capsys.readouterr()
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    found.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    found.key.touch(0o600)
    found.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


def add(monkeypatch: pytest.MonkeyPatch, users: Path, name: str, password: str = PASSWORD) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    return main(["users", "add", name, "--users", str(users), "--password-stdin"])


def test_users_are_added_listed_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    users = tmp_path / "users.yaml"
    assert add(monkeypatch, users, "li.wei") == 0
    assert add(monkeypatch, users, "zhang@example.com") == 0
    assert users.stat().st_mode & 0o777 == 0o600
    first = users.read_text("utf-8")
    assert PASSWORD not in first
    assert first.count("$argon2id$") == 2
    assert add(monkeypatch, users, "li.wei") == 0
    assert users.read_text("utf-8") != first, "the same password has another salt"
    capsys.readouterr()
    assert main(["users", "list", "--users", str(users), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"users": ["li.wei", "zhang@example.com"]}
    assert main(["users", "remove", "li.wei", "--users", str(users)]) == 0
    assert main(["users", "remove", "li.wei", "--users", str(users)]) == 2
    assert "known are: zhang@example.com" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["users.yaml"]


@pytest.mark.parametrize(
    ("name", "password", "message"),
    [
        ("li wei", PASSWORD, "cannot be a user name"),
        ("", PASSWORD, "cannot be a user name"),
        ("li.wei", "short", "12 to 1024 characters"),
        ("li.wei", "x" * 1025, "12 to 1024 characters"),
    ],
)
def test_names_and_passwords_that_are_not_accepted(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    password: str,
    message: str,
) -> None:
    users = tmp_path / "users.yaml"
    assert add(monkeypatch, users, name, password) == 2
    assert message in capsys.readouterr().err
    assert not users.exists()


def test_a_file_of_users_that_others_may_read_is_not_used(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.users.chmod(0o644)
    assert main(["users", "list", "--users", str(files.users)]) == 2
    assert f"chmod 600 {files.users}" in capsys.readouterr().err


def test_a_token_is_shown_once_listed_without_itself_and_revoked(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    database = ["--database", database_url]
    asking = ["ingest", "token", "create", "report", "--scope", "read:samples", "--gateway", "gw-01", "--days", "90"]
    assert main([*asking, *database]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("shopfloor_")
    assert main([*asking, *database]) == 2
    assert "there is a token 'report' already" in capsys.readouterr().err
    assert main(["ingest", "token", "list", *database, "--json"]) == 0
    shown = capsys.readouterr().out
    assert token not in shown
    (listed,) = json.loads(shown)["tokens"]
    assert (listed["scopes"], listed["gateways"], listed["valid"]) == (["read:samples"], ["gw-01"], True)
    assert listed["expires_ms"] - listed["created_ms"] == 90 * 86_400_000
    assert main(["ingest", "token", "revoke", "report", *database]) == 0
    assert main(["ingest", "token", "revoke", "report", *database]) == 1
    capsys.readouterr()
    assert main(["ingest", "token", "list", *database]) == 0
    assert "report: worthless, read:samples, gw-01" in capsys.readouterr().out
    assert main([*asking, *database]) == 0, "the name is free again"


def test_a_mistyped_scope_is_an_error_with_a_suggestion(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asking = ["ingest", "token", "create", "x", "--scope", "read:sample", "--database", database_url]
    assert main(asking) == 2
    assert "did you mean 'read:samples'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("::", False),
        ("", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
    ],
)
def test_what_loopback_is(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


SERVERS = {
    "dashboards": ["dashboards", "run", "--port", "0", "--host"],
    "ingest": [
        "ingest",
        "run",
        "--broker",
        "mqtt://127.0.0.1:1",
        "--server-key",
        "{key}",
        "--http",
        "0",
        "--http-host",
    ],
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    "left_out", [("--users",), ("--tls-cert",), ("--tls-key",), ("--users", "--tls-cert", "--tls-key")]
)
def test_beyond_loopback_nothing_is_served_without_tls_and_users(
    *,
    database_url: str,
    files: Files,
    tmp_path: Path,
    server: str,
    left_out: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [word.format(key=tmp_path / "signing.key") for word in SERVERS[server]]
    pairs = zip(files.options[::2], files.options[1::2], strict=True)
    given = [word for name, value in pairs if name not in left_out for word in (name, value)]
    assert main([*command, EVERYWHERE, "--database", database_url, *given]) == 2
    message = capsys.readouterr().err
    assert f"{EVERYWHERE}, which others can reach" in message
    assert all(name in message for name in left_out)


def test_a_login_is_not_offered_without_tls_on_loopback_either(
    database_url: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*SERVERS["dashboards"], "127.0.0.1", "--database", database_url, "--users", str(files.users)]
    assert main(command) == 2
    assert "--tls-cert, --tls-key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no-users", "names nobody"),
        ("open-key", "chmod 600"),
        ("no-certificate", "cannot be read"),
        ("other-key", "no certificate chain (PEM) and its private key"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    database_url: str, files: Files, damage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if damage == "no-users":
        files.users.write_text("users: {}\n", encoding="utf-8")
    elif damage == "open-key":
        files.key.chmod(0o640)
    elif damage == "no-certificate":
        files.certificate.unlink()
    else:
        files.key.write_text("no key\n", encoding="ascii")
    assert main([*SERVERS["dashboards"], EVERYWHERE, "--database", database_url, *files.options]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def server_log(tmp_path: Path) -> Path:
    """Where `served` logs to."""
    return tmp_path / "server.log"


@pytest.fixture
def served(database_url: str, files: Files, server_log: Path) -> Iterator[str]:
    """A server of pages and API on all addresses of this machine, as a process; the address to ask."""
    command = [sys.executable, "-m", "shopfloor", *SERVERS["dashboards"], EVERYWHERE]
    with (
        server_log.open("w") as log,
        subprocess.Popen(
            [*command, "--database", database_url, *files.options], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith(f"dashboards at https://{EVERYWHERE}:"), line
        yield f"https://localhost:{line.strip().rpartition(':')[2]}"
        process.terminate()


def test_a_server_beyond_loopback_speaks_tls_and_lets_in_who_logs_in(
    served: str, files: Files, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusting = ssl.create_default_context(cafile=str(files.certificate))
    with httpx2.Client(base_url=served, verify=trusting) as browser:
        assert browser.get("/live.json").status_code == 401
        assert browser.get("/", headers={"accept": "text/html"}).headers["location"] == "/login?next=%2F"
        form = {"user": "li.wei", "password": PASSWORD, "next": "/live.json"}
        answer = browser.post("/login", data=form, headers={"sec-fetch-site": "same-origin"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/live.json")
        assert COOKIE in browser.cookies
        assert browser.get("/live.json").status_code == 200
        assert browser.get("/api/v1/gateways").json() == {"gateways": [], "next": None}
        assert "server" not in answer.headers
    main(["ingest", "token", "create", "reader", "--scope", "read:gateways", "--database", database_url])
    token = tmp_path / "token"
    token.write_text(capsys.readouterr().out, encoding="ascii")
    asking = ["read", "gateways", "--server", served, "--ca", str(files.certificate)]
    assert main([*asking, "--token-file", str(token)]) == 0
    assert main(asking) == 2
    assert "refuses (401)" in capsys.readouterr().err
    assert main([*asking[:-2], "--token-file", str(token)]) == 3
    assert "is not trusted" in capsys.readouterr().err


def test_clear_text_is_not_understood_and_what_was_refused_is_logged(served: str, server_log: Path) -> None:
    with socket.create_connection(("127.0.0.1", int(served.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            answer = connection.recv(1024)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP")
    assert "shows a foreign certificate: HTTP_REQUEST" in server_log.read_text()


def test_old_versions_of_tls_are_refused_and_logged(served: str, server_log: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    port = int(served.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)
    assert "shows a foreign certificate: UNSUPPORTED_PROTOCOL" in server_log.read_text()
