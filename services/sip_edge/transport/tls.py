"""TLS: the contexts of our listeners and of our own connections, made from files and made again when those change.

TLS 1.2 is the least (RFC 8446; RFC 7525). A listener shows the certificate whose names cover the server name it is
asked for (RFC 6066 section 3), else the first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from services.core.config.secure import CertificateFiles, TlsSettings
from services.sip_edge.transport.errors import CertificateError
from services.sip_edge.transport.identity import PeerCertificate, identities, speaks_for

log = logging.getLogger(__name__)

_SUFFIXES = frozenset((".pem", ".crt"))
"""What counts as a certificate in a directory of them."""
_VERIFY = {"no": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "yes": ssl.CERT_REQUIRED}

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(slots=True)
class _Shown:
    """The certificates of one reading of the files."""

    first: ssl.SSLContext | None = None
    by_name: dict[str, ssl.SSLContext] = field(default_factory=dict)
    """By server name, lower case; `*.example.com` for the names one label below."""

    def choose(self, server_name: str) -> ssl.SSLContext | None:
        """The context for a server name; None when no certificate covers it."""
        name = server_name.lower().rstrip(".")
        return self.by_name.get(name) or self.by_name.get(f"*.{name.partition('.')[2]}")


class Tls:
    """The certificates of one process. Make it, `load` it, and `refresh` it now and then."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._shown = _Shown()
        self._client: ssl.SSLContext | None = None
        self._fingerprint: Fingerprint = ()

    def load(self) -> None:
        """Read every file. Raises CertificateError, and changes nothing then."""
        fingerprint = self._look()
        shown, client = self._read_shown(), self._read_client()
        self._shown, self._client, self._fingerprint = shown, client, fingerprint

    def refresh(self) -> bool | None:
        """Read the files again if one has changed. None: nothing new; False: they cannot be used, which is logged, and
        the former ones stay until the next change."""
        fingerprint = self._look()
        if fingerprint == self._fingerprint:
            return None
        try:
            self.load()
        except CertificateError as error:
            self._fingerprint = fingerprint
            log.warning("%s; going on with the certificates read before", error)
            return False
        log.info("TLS certificates were read again")
        return True

    @property
    def server(self) -> ssl.SSLContext | None:
        """For connections that come in; None without any certificate of ours."""
        return self._shown.first

    @property
    def client(self) -> ssl.SSLContext:
        """For connections of ours. It checks the chain; the name is left to `objection`."""
        if self._client is None:
            self._client = self._read_client()
        return self._client

    def objection(self, certificate: PeerCertificate | None, host: str) -> str:
        """Why a server's certificate is not taken for `host`; "" when it is (RFC 5922 section 7.3)."""
        if not self._settings.verify_server or speaks_for(certificate or {}, host):
            return ""
        named = ", ".join(identities(certificate or {})) or "nobody"
        return f"its certificate is for {named}, not for {host}"

    # --- reading -----------------------------------------------------------------------------------------------

    def _look(self) -> Fingerprint:
        """What tells one state of the files from another. Cheap: no file is opened."""
        found = []
        for path in self._files():
            try:
                about = os.stat(path)
            except OSError:
                continue
            found.append((str(path), about.st_mtime_ns, about.st_size, about.st_ino))
        return tuple(found)

    def _files(self) -> Iterator[Path]:
        for files in self._settings.certificates:
            for certificate, key in _pairs(files):
                yield certificate
                yield key
        if self._settings.ca_file is not None:
            yield self._settings.ca_file

    def _read_shown(self) -> _Shown:
        shown = _Shown()

        def choose(connection: ssl.SSLObject, server_name: str | None, _: ssl.SSLContext) -> None:
            chosen = shown.choose(server_name) if server_name else None
            if chosen is not None:
                connection.context = chosen

        for files in self._settings.certificates:
            for certificate, key in _pairs(files):
                context = self._read_certificate(certificate, key, files.origin)
                for name in _names(certificate):
                    shown.by_name.setdefault(name, context)
                if shown.first is None:
                    shown.first = context
                    context.sni_callback = choose
        if self._settings.certificates and shown.first is None:
            first = self._settings.certificates[0]
            raise CertificateError(first.origin, f"there is no certificate in {first.certificate}")
        return shown

    def _read_certificate(self, certificate: Path, key: Path, origin: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        _use(context, certificate, key, origin)
        context.verify_mode = _VERIFY[self._settings.verify_client]
        self._trust(context)
        return context

    def _read_client(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # OpenSSL's own check takes wildcards, and knows nothing of SIP URIs.
        context.check_hostname = False
        if self._settings.verify_server:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            self._trust(context)
        else:
            context.verify_mode = ssl.CERT_NONE
        # A trunk may ask for a certificate of ours.
        pairs = [(*pair, files.origin) for files in self._settings.certificates for pair in _pairs(files)]
        if pairs:
            _use(context, *pairs[0])
        return context

    def _trust(self, context: ssl.SSLContext) -> None:
        if self._settings.ca_file is None:
            return
        try:
            context.load_verify_locations(self._settings.ca_file)
        except OSError as error:
            raise CertificateError("tlscafile", f"{self._settings.ca_file}: {_reason(error)}") from error


def _use(context: ssl.SSLContext, certificate: Path, key: Path, origin: str) -> None:
    try:
        # An encrypted key would have OpenSSL ask on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        where = certificate if certificate == key else f"{certificate} with {key}"
        raise CertificateError(origin, f"{where} cannot be used: {_reason(error)}") from error


def _pairs(files: CertificateFiles) -> list[tuple[Path, Path]]:
    """Certificates and their keys, in the order of their names."""
    if files.key is not None:
        return [(files.certificate, files.key)]
    found = [files.certificate]
    with contextlib.suppress(OSError):
        if files.certificate.is_dir():
            found = sorted(path for path in files.certificate.iterdir() if path.suffix in _SUFFIXES)
    return [(path, beside if (beside := path.with_suffix(".key")).exists() else path) for path in found]


def _names(certificate: Path) -> list[str]:
    """The DNS names of the certificate in a file that OpenSSL has taken; its common name when it has none."""
    try:
        read = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError):
        # OpenSSL is the judge of certificates; a name we cannot read is one we are not asked for.
        return []
    try:
        extension = read.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    if not names:
        names = [str(part.value) for part in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [name.lower().rstrip(".") for name in names]


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "it is not PEM, or has a password"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
