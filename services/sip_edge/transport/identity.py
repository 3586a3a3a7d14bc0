"""Whose certificate it is: the SIP domains in a certificate, and whether one is asked for (RFC 5922). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.core.address import AddressError, is_ip, parse_ip

PeerCertificate = Mapping[str, Any]
"""As `ssl.SSLObject.getpeercert()` gives it."""


def identities(certificate: PeerCertificate) -> tuple[str, ...]:
    """Who a certificate speaks for, lower case (RFC 5922 section 7.1).

    The hosts of its SIP URIs; only if there is none, its DNS names; its addresses always. The common name counts when
    there is no subjectAltName at all.
    """
    names = certificate.get("subjectAltName", ())
    if not names:
        subject = certificate.get("subject", ())
        return tuple([value.lower() for part in subject for name, value in part if name == "commonName"])
    uris = [domain for kind, value in names if kind == "URI" and (domain := _sip_domain(value))]
    domains = uris or [value.lower().rstrip(".") for kind, value in names if kind == "DNS"]
    addresses = [_address(value) for kind, value in names if kind == "IP Address"]
    return (*domains, *addresses)


def speaks_for(certificate: PeerCertificate, host: str) -> bool:
    """Whether a certificate may stand for `host`, a name or an address.

    Whole names are compared, without regard to case; `*.example.com` stands for nothing (RFC 5922 section 7.2).
    """
    wanted = parse_ip(host) if is_ip(host) else host.lower().rstrip(".")
    return wanted in identities(certificate)


def _sip_domain(uri: str) -> str:
    """The domain of `sip:example.com`; "" for URIs of users and of other schemes, which name no domain."""
    scheme, _, rest = uri.partition(":")
    host = rest.partition(";")[0].partition("?")[0].lower().rstrip(".")
    return host if scheme.lower() == "sip" and "@" not in host and ":" not in host else ""


def _address(text: str) -> str:
    """OpenSSL prints IPv6 addresses in full and in capitals, with a line end behind them."""
    try:
        return parse_ip(text.strip())
    except AddressError:
        return ""
