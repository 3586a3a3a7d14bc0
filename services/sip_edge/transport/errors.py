"""What goes wrong below SIP.

TransportError            a socket could not be had or did not lead anywhere
  BindError               an address of ours cannot be listened on: the setting is wrong, or the port is taken
  CertificateError        a certificate, key or authority cannot be used
  UnreachableError        no flow toward a peer: no listener of its family, no route, connection refused, no trust
"""

from __future__ import annotations

import errno
import os
import ssl

from services.core.address import Address

FAMILY_MISSING = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT))
REASONS = {
    errno.EADDRINUSE: "the port is taken by another program",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this machine has no such address family",
    errno.EACCES: "ports below 1024 need privileges",
    errno.EINVAL: "the address needs an interface (link-local), or is none to listen on",
}


def reason_of(error: OSError) -> str:
    """What an error means, without the call and the address that asyncio writes into its own."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return os.strerror(error.errno).lower() if error.errno else str(error)


class TransportError(Exception):
    """See the module."""


class BindError(TransportError):
    """A listener could not be opened. One line for the operator: where it was asked for, what, and why not."""

    def __init__(self, transport: str, address: Address, origin: str, error: OSError) -> None:
        self.transport = transport
        self.address = address
        self.origin = origin
        """The setting, `sip.conf:3`."""
        self.reason = REASONS.get(error.errno or 0) or reason_of(error)
        self.errno = error.errno or 0
        super().__init__(f"{origin}: cannot listen on {address} ({transport.upper()}): {self.reason}")

    @property
    def family_missing(self) -> bool:
        """The machine lacks the address or its family: no more than a warning for a listener that nobody named."""
        return self.errno in FAMILY_MISSING


class CertificateError(TransportError):
    """A file of TLS cannot be used. One line for the operator."""

    def __init__(self, origin: str, message: str) -> None:
        self.origin = origin
        super().__init__(f"{origin}: {message}")


class UnreachableError(TransportError):
    """No flow toward `remote`; to be taken as a 503 from there (RFC 3261 §8.1.3.1)."""

    def __init__(self, transport: str, remote: Address, reason: str) -> None:
        self.transport = transport
        self.remote = remote
        self.reason = reason
        super().__init__(f"cannot reach {remote} over {transport.upper()}: {reason}")
