"""The way of SIP messages in and out of the machine. See `transport.SipTransport`."""

from services.core.config.sip import ListenerSettings
from services.sip_edge.transport.errors import BindError, CertificateError, TransportError, UnreachableError
from services.sip_edge.transport.limits import TransportLimits
from services.sip_edge.transport.transport import SipTransport

__all__ = [
    "BindError",
    "CertificateError",
    "ListenerSettings",
    "SipTransport",
    "TransportError",
    "TransportLimits",
    "UnreachableError",
]
