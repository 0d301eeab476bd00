"""A real mail server and a real receiver of webhooks for tests; both can be told to misbehave."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cradle.config import Settings

USER, PASSWORD = "nights", "correct horse battery staple"


def certificate(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "mail.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


class MailServer(Controller):
    """Keeps what it takes in `mails`; refuses addresses that begin with `refused`."""

    def __init__(self, pem: Path | None = None, *, login: bool = False) -> None:
        self.mails: list[EmailMessage] = []
        self.logins = 0
        context = None
        if pem is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pem)
        super().__init__(
            self,
            hostname="127.0.0.1",
            port=0,
            tls_context=context,
            authenticator=self._check,
            auth_required=login,
            auth_require_tls=context is not None,
        )

    def _trigger_server(self) -> None:
        """Learn the port that the system gave, which the base class does not expect."""
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    def factory(self) -> SMTP:
        """Speak as a server that asks for TLS when it has a certificate."""
        return SMTP(self.handler, require_starttls=self.SMTP_kwargs.get("tls_context") is not None, **self.SMTP_kwargs)

    def _check(self, server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.logins += good
        return AuthResult(success=good)

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse some addresses for good."""
        if address.startswith("refused"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        """Keep a mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"

    @property
    def url(self) -> str:
        """Its address as the setting has it."""
        return f"smtp://127.0.0.1:{self.port}"

    def subjects(self) -> list[str]:
        """The subjects of all mails, sorted."""
        return sorted(str(mail["Subject"]) for mail in self.mails)


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted in `posts`; `answer` is a status, `hang`, `close` or `redirect`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.answer: int | str = 200
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, which is a secret."""
        return f"http://127.0.0.1:{self.server_address[1]}/services/T00/B00/very-secret-path"

    def stop(self) -> None:
        """End it, and what hangs in it."""
        self.over.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.paths.append(self.path)
        answer = self.server.answer
        if answer == "hang":
            self.server.over.wait()
        if answer in ("hang", "close"):
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if answer == "redirect":
            self.send_response(302)  # which many clients follow, with a GET
            self.send_header("Location", f"/elsewhere{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if answer == 200:
            self.server.posts.append(json.loads(body))
        self.send_response(int(answer))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def told(settings: Settings, customer: str, **alerts: object) -> None:
    """Write whom a customer's file names."""
    path = settings.customers / f"{customer}.yaml"
    content = yaml.safe_load(path.read_text())
    content["operation"]["alerts"] = alerts
    path.write_text(yaml.safe_dump(content))


def by_mail(settings: Settings, mail: MailServer, *customers: str) -> Settings:
    """Settings with which these customers' alerts go to one mailbox."""
    for customer in customers or ("demo",):
        told(settings, customer, email=["nights@example.com"])
    return settings.model_copy(update={"smtp": mail.url, "airflow_url": "https://airflow.example.com/"})
