"""Certificates made at run time: an authority, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(kw_only=True)
class Authority:
    """Signs certificates, and keeps the files of them in a folder."""

    folder: Path
    name: str = "ca"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @cached_property
    def certificate(self) -> x509.Certificate:
        subject = _named(f"authority {self.name}")
        builder = _builder(subject, subject, self.key.public_key(), days=30)
        return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
            self.key, hashes.SHA256()
        )

    def issue(
        self, file: str, *, dns: tuple[str, ...] = (), ips: tuple[str, ...] = (), uris: tuple[str, ...] = (),
        common_name: str = "pbx", days: int = 30,
    ) -> Path:  # fmt: skip
        """A certificate and its key, in one file; `days` below zero: it ended that long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(common_name), self.certificate.subject, key.public_key(), days=days)
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        alternatives += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        alternatives += [x509.UniformResourceIdentifier(uri) for uri in uris]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        pem = signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.folder / file
        # In one step, as programs that renew certificates do.
        path.with_suffix(".new").write_bytes(pem)
        os.replace(path.with_suffix(".new"), path)
        return path

    def client(self, certificate: Path | None = None) -> ssl.SSLContext:
        """How a phone connects that trusts this authority and compares no name."""
        context = ssl.create_default_context(cafile=str(self.file))
        context.check_hostname = False
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def server(self, certificate: Path) -> ssl.SSLContext:
        """How a trunk listens."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY - _DAY * max(0, -days))
        .not_valid_after(now + days * _DAY)
    )
