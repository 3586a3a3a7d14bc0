"""sip.conf: SIP over TLS and over WebSocket, as declarations and as settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from services.core.config import values
from services.core.config.conf import Entry
from services.core.config.table import BadValue, Setting, Values

TLS_PORT = 5061
"""RFC 3261 section 18.2.1."""
WS_PORT = 8088
WSS_PORT = 8089
"""Asterisk's ports of its HTTP server, where its WebSockets are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """A certificate to show, or a directory of them."""

    certificate: Path
    """PEM, the certificate first and then those between it and its root; or a directory of such files."""
    key: Path | None = None
    """PEM; None: it is in the certificate's file, or beside it with the suffix `.key`."""
    origin: str
    """Where it was asked for, `sip.conf:3`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How we speak TLS, as a server and as a client."""

    certificates: tuple[CertificateFiles, ...] = ()
    """The first one is shown to whoever names no server, or none of ours. Without any, nobody can connect."""
    ca_file: Path | None = None
    """Authorities for the certificates of clients, and of trunks besides those the system trusts."""
    verify_client: str = "no"
    """`no`, `optional` (one that is shown must be good) or `yes`."""
    verify_server: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """Who may open a WebSocket."""

    path: str = "/ws"
    origins: tuple[str, ...] = ()
    """Origins of web pages, `https://phone.example.com`, or `*`; empty: pages of the host that was connected to."""


def origin(text: str) -> str:
    """`https://phone.example.com`, `http://[2001:db8::1]:8080`, or `*`: what browsers send, lower case."""
    if text == "*":
        return text
    try:
        parts = urlsplit(text.lower())
        usable = parts.scheme in ("http", "https") and parts.hostname and not (parts.path or parts.query)
        port = parts.port
    except ValueError:
        usable, port = False, None
    if not usable:
        raise BadValue(f"{text!r} is no origin", "as in https://phone.example.com, without a path, or *")
    if port == {"http": 80, "https": 443}[parts.scheme]:
        return f"{parts.scheme}://{parts.netloc.rpartition(':')[0]}"
    return f"{parts.scheme}://{parts.netloc}"


def path(text: str) -> str:
    """The path of a URL."""
    if not text.startswith("/") or any(character in text for character in " ?#") or not text.isprintable():
        raise BadValue(f"{text!r} is no path", "as in /ws")
    return text


_BIND_FORM = "as `bindaddr`"

TLSENABLE = Setting(
    name="tlsenable",
    read=values.yes_no,
    form="yes or no",
    default="no",
    doc="Whether SIP is taken over TLS (1.2 or later; RFC 3261 26.2). Needs `tlscertfile`.",
)
TLSBINDADDR = Setting(
    name="tlsbindaddr",
    read=values.bind,
    form=_BIND_FORM,
    repeated=True,
    doc="An address to listen on over TLS, in the forms of `bindaddr`, with `advertise=` too. Any number of lines. A "
    "family without one listens on its wildcard. Without a port: 5061.",
)
TLSCERTFILE = Setting(
    name="tlscertfile",
    read=values.plain,
    form="a file or a directory; relative to the configuration directory",
    repeated=True,
    doc="A certificate in PEM form with the ones between it and its root, or a directory of such files (`*.pem`, "
    "`*.crt`). Of several, the one is shown whose names cover the server name the peer asks for (SNI), else the first. "
    "Certificates are read again within 5 seconds after a file changed; one that cannot be used is named in the log "
    "and the earlier one stays. Connections that are up keep theirs.",
)
TLSPRIVATEKEY = Setting(
    name="tlsprivatekey",
    read=values.plain,
    form="a file; relative to the configuration directory",
    repeated=True,
    doc="The private key in PEM form; as many lines as `tlscertfile` has, in the same order. Without any, the key is "
    "in the certificate's file, or beside it in a file of the same name that ends in `.key`.",
)
TLSCAFILE = Setting(
    name="tlscafile",
    read=values.plain,
    form="a file; relative to the configuration directory",
    doc="Certificates of authorities, PEM: the only ones trusted for clients, and trusted for trunks besides those of "
    "the system.",
)
TLSVERIFYCLIENT = Setting(
    name="tlsverifyclient",
    read=values.one_of("no", "optional", "yes"),
    form="no, optional or yes",
    default="no",
    doc="Certificates of phones. `yes`: without one that `tlscafile` vouches for there is no connection. `optional`: "
    "one that is shown must be good. A phone still needs its password.",
)
TLSDONTVERIFYSERVER = Setting(
    name="tlsdontverifyserver",
    read=values.yes_no,
    form="yes or no",
    default="no",
    doc="`yes` takes any certificate of a trunk with `transport=tls`. Otherwise an authority must vouch for it, and it "
    "must name the trunk's `host` (RFC 5922: a SIP URI or a DNS name in the subjectAltName, no wildcards; for an "
    "address, an iPAddress).",
)
WS_BINDADDR = Setting(
    name="ws_bindaddr",
    read=values.bind,
    form=_BIND_FORM,
    repeated=True,
    doc="An address to take WebSockets on (RFC 7118), in the forms of `bindaddr`. Without a port: 8088. Without any "
    "line, none are taken. Browsers only use this for pages of their own machine; or a proxy in front speaks TLS.",
)
WSS_BINDADDR = Setting(
    name="wss_bindaddr",
    read=values.bind,
    form=_BIND_FORM,
    repeated=True,
    doc="The same over TLS, with the certificates of `tlscertfile`. Without a port: 8089.",
)
WS_PATH = Setting(
    name="ws_path", read=path, form="a path", default="/ws", doc="Where WebSockets are; other paths get 404."
)
WS_ORIGIN = Setting(
    name="ws_origin",
    read=origin,
    form="`https://phone.example.com`, with a port if it has one, or `*`",
    repeated=True,
    doc="Web pages that may open a WebSocket. Without any line, those that came from the host that is connected to. "
    "Programs that are no browsers send no origin and may.",
)

SETTINGS = (
    *(TLSENABLE, TLSBINDADDR, TLSCERTFILE, TLSPRIVATEKEY, TLSCAFILE, TLSVERIFYCLIENT, TLSDONTVERIFYSERVER),
    *(WS_BINDADDR, WSS_BINDADDR, WS_PATH, WS_ORIGIN),
)
WITHOUT_EFFECT = dict.fromkeys(
    ("tlsclientmethod", "tlsdisablev1", "tlsdisablev11", "tlsdisablev12"), "TLS 1.2 and 1.3 are spoken, always"
) | {"tlscipher": "the ciphers are those of OpenSSL", "tlsservercipherorder": "the ciphers are those of OpenSSL"}


def read_tls(general: Values, folder: Path) -> TlsSettings:
    """The TLS settings of [general]. Files that are not there are problems; what is in them shows when it starts."""
    ca_file = general.optional(TLSCAFILE)
    verify_client = general.get(TLSVERIFYCLIENT)
    ca_entry, verify_entry = general.entry(TLSCAFILE), general.entry(TLSVERIFYCLIENT)
    if ca_entry is not None and ca_file is not None:
        _must_exist(general, ca_entry, folder / ca_file)
    elif verify_client != "no" and verify_entry is not None:
        general.fail(verify_entry, "certificates of clients need an authority to be checked by", "add tlscafile=")
    return TlsSettings(
        certificates=_certificates(general, folder),
        ca_file=None if ca_file is None else folder / ca_file,
        verify_client=verify_client,
        verify_server=not general.get(TLSDONTVERIFYSERVER),
    )


def read_websocket(general: Values) -> WebSocketSettings:
    """The WebSocket settings of [general]."""
    return WebSocketSettings(path=general.get(WS_PATH), origins=tuple(value for _, value in general.each(WS_ORIGIN)))


def _certificates(general: Values, folder: Path) -> tuple[CertificateFiles, ...]:
    files, keys = general.each(TLSCERTFILE), general.each(TLSPRIVATEKEY)
    if keys and len(keys) != len(files):
        message = f"{len(files)} lines of tlscertfile and {len(keys)} of tlsprivatekey do not go together"
        general.fail(keys[-1][0], message, "give each certificate its key, in the same order")
        return ()
    found = []
    for number, (entry, name) in enumerate(files):
        _must_exist(general, entry, folder / name)
        key = None
        if keys:
            key = folder / keys[number][1]
            if (folder / name).is_dir():
                general.fail(keys[number][0], f"{name} is a directory, whose keys are in it", "remove tlsprivatekey")
            else:
                _must_exist(general, keys[number][0], key)
        found.append(CertificateFiles(certificate=folder / name, key=key, origin=entry.where))
    return tuple(found)


def _must_exist(general: Values, entry: Entry, file: Path) -> None:
    if not file.exists():
        general.fail(entry, f"{entry.key}: {file} does not exist")
