"""The settings of sip.conf, as declarations."""

from __future__ import annotations

import re

from services.core.address import Family
from services.core.config import secure, values
from services.core.config.codecs import DEFAULT, KNOWN
from services.core.config.table import BadValue, Setting, Table


def caller_id(text: str) -> tuple[str, str]:
    """`"Alice Liddell" <100>`, `Alice <100>`, `<100>`, `100`, or a name alone, as (name, number)."""
    name, bracket, rest = text.rpartition("<")
    if bracket:
        number, closing, after = rest.partition(">")
        if not closing or after.strip():
            raise BadValue(f"{text!r} has no proper <number>", 'as in "Alice Liddell" <100>')
        return _unquoted(name), number.strip()
    if re.fullmatch(r"[0-9*#+.()\- ]+", text):
        return "", re.sub(r"[^0-9*#+]", "", text)
    return _unquoted(text), ""


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def md5(text: str) -> str:
    """32 hexadecimal digits, in lower case."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise BadValue("is not an MD5 sum of 32 hexadecimal digits", "md5sum of name:realm:secret without a line end")
    return text.lower()


def secret(text: str) -> str:
    """A password; an empty one is refused, so that nobody opens a phone by a slip."""
    if not text:
        raise BadValue("is empty", "give a password, or remove the line to let anybody use this phone")
    return text


def insecure(text: str) -> frozenset[str]:
    """`invite`, `port`, both, or `no`."""
    words = {word.strip().lower() for word in text.split(",")} - {"", "no"}
    unknown = words - {"invite", "port"}
    if unknown:
        raise BadValue(f"{', '.join(sorted(unknown))!r} is not known", "invite, port, or invite,port")
    return frozenset(words)


def host_or_dynamic(text: str) -> str:
    """`dynamic`, an address without brackets, or a name."""
    return "dynamic" if text.lower() == "dynamic" else values.host(text)


def codec_names(text: str) -> str:
    """Kept as text; the list is edited line by line by `codecs.edit`."""
    return text


_CODECS = "all, or names with commas between: " + ", ".join(KNOWN)
_ADVERTISED = "HOST or HOST:PORT; an IPv6 address with a port wears brackets"

BINDADDR = Setting(
    name="bindaddr",
    read=values.bind,
    form="`10.1.1.1`, `10.1.1.1:5060`, `[2001:db8::1]`, `[2001:db8::1]:5060`, then optionally `advertise=HOST[:PORT]`",
    repeated=True,
    doc="An address to listen on, over UDP and TCP. Any number of lines of either family. A family without one "
    "listens on its wildcard, `0.0.0.0` or `[::]`. A bare IPv6 address is taken when it cannot be read as an address "
    "and a port; `2001:db8::1:5060` can, and is refused. With `advertise=`, Via and Contact of this listener show "
    "that name or address (behind a load balancer or a 1:1 NAT).",
)
BINDPORT = Setting(
    name="bindport",
    read=values.number(0, 65535),
    form="0 to 65535",
    default="5060",
    doc="The port of every `bindaddr` without one, and of the wildcards. 0 takes a free port, for tests.",
)
IPV4 = Setting(
    name="ipv4",
    read=values.yes_no,
    form="yes or no",
    default="yes",
    doc="`no` switches IPv4 off altogether, as `--no-ipv4` does: its `bindaddr` lines are passed over.",
)
IPV6 = Setting(
    name="ipv6",
    read=values.yes_no,
    form="yes or no",
    default="yes",
    doc="`no` switches IPv6 off altogether, as `--no-ipv6` does.",
)
UDPENABLE = Setting(
    name="udpenable", read=values.yes_no, form="yes or no", default="yes", doc="Whether listeners take UDP."
)
TCPENABLE = Setting(
    name="tcpenable",
    read=values.yes_no,
    form="yes or no",
    default="yes",
    doc="Whether listeners take TCP, on the same ports (RFC 3261 18.2.1 wants both).",
)
EXTERNADDR = Setting(
    name="externaddr",
    aliases=("externip",),
    read=values.advertised(Family.IP4),
    form=_ADVERTISED,
    doc="What IPv4 listeners show in Via and Contact, unless their own line says `advertise=`.",
)
EXTERNADDR6 = Setting(
    name="externaddr6",
    read=values.advertised(Family.IP6),
    form=_ADVERTISED,
    doc="The same for IPv6 listeners.",
)
CONTEXT = Setting(
    name="context",
    read=values.word,
    form="a context of extensions.conf",
    default="default",
    doc="Where calls enter the dialplan, unless the phone has a `context` of its own.",
)
DISALLOW = Setting(
    name="disallow",
    read=codec_names,
    form=_CODECS,
    repeated=True,
    doc="Takes codecs off the list. Lines of `allow` and `disallow` work in their order; `disallow=all` comes first.",
)
ALLOW = Setting(
    name="allow",
    read=codec_names,
    form=_CODECS,
    repeated=True,
    doc=f"Adds codecs at the end of the list; earlier means preferred. The list starts as {', '.join(DEFAULT)}; a "
    "phone's starts as the one of [general]. `!name` in a line takes one off (`allow=!all,ulaw`).",
)
REALM = Setting(
    name="realm",
    read=values.plain,
    form="text",
    default="asterisk",
    doc="The realm of digest challenges. The default is Asterisk's, because every `md5secret` was made with a realm "
    "and those of an Asterisk keep working.",
)
DOMAIN = Setting(
    name="domain",
    read=values.word,
    form="a domain name or address",
    repeated=True,
    doc="A domain that is ours besides our own addresses. Without any, every domain is: a phone may use whatever "
    "name leads here.",
)
ALLOWGUEST = Setting(
    name="allowguest",
    read=values.yes_no,
    form="yes or no",
    default="no",
    doc="Whether callers that are nobody in this file may call, into the context of [general]. Asterisk's default is "
    "yes; toll fraud has made it no here.",
)
USERAGENT = Setting(
    name="useragent",
    read=values.plain,
    form="text",
    default="sixfold-pbx",
    doc="Server and User-Agent headers of ours.",
)
MINEXPIRY = Setting(
    name="minexpiry",
    read=values.number(1, 86400),
    form="seconds, 1 to 86400",
    default="60",
    doc="Registrations shorter than this are refused with 423 and told this minimum.",
)
MAXEXPIRY = Setting(
    name="maxexpiry",
    read=values.number(1, 604800),
    form="seconds, 1 to 604800",
    default="3600",
    doc="Longer registrations are shortened to this.",
)
DEFAULTEXPIRY = Setting(
    name="defaultexpiry",
    read=values.number(1, 604800),
    form="seconds, 1 to 604800",
    default="120",
    doc="For a registration that says no time.",
)
MAX_CONTACTS = Setting(
    name="max_contacts",
    read=values.number(1, 1000),
    form="1 to 1000",
    default="10",
    doc="How many devices may be registered under one name at a time; one more is refused with 403.",
)
TIMERT1 = Setting(
    name="timert1",
    read=values.number(10, 10000),
    form="milliseconds, 10 to 10000",
    default="500",
    doc="T1, the estimate of the round trip that SIP's retransmissions start with (RFC 3261 17.1.1.1).",
)
MAXCALLS = Setting(
    name="maxcalls",
    read=values.number(1, 1_000_000),
    form="1 to 1000000",
    default="2000",
    doc="Calls at a time; one more is answered with 503.",
)
MAXTRANSACTIONS = Setting(
    name="maxtransactions",
    read=values.number(100, 1_000_000),
    form="100 to 1000000",
    default="20000",
    doc="SIP transactions at a time; further requests are answered with 503.",
)
MAXCONNECTIONS = Setting(
    name="maxconnections",
    read=values.number(1, 100_000),
    form="1 to 100000",
    default="4096",
    doc="Connections (TCP, TLS, WebSocket) of each listener; further ones are closed at once.",
)
TCPIDLE = Setting(
    name="tcpidle",
    read=values.number(10, 86400),
    form="seconds, 10 to 86400",
    default="3900",
    doc="A TCP connection on which nothing comes for this long is closed. Longer than the longest registration, "
    "since calls to a phone behind a NAT need the connection it registered on.",
)

TYPE = Setting(
    name="type",
    read=values.one_of("friend", "peer", "user"),
    form="friend, peer or user",
    doc="`friend` calls and is called; `peer` is called, and recognised by its address when it calls; `user` only "
    "calls.",
)
HOST = Setting(
    name="host",
    read=host_or_dynamic,
    form="`dynamic`, an address without brackets, or a name",
    doc="Where the phone or trunk is. `dynamic`: it registers and says so itself.",
)
PORT = Setting(
    name="port",
    read=values.port,
    form="1 to 65535",
    doc="The port at `host`; without it RFC 3263 decides (SRV records for a name, 5060 for an address).",
)
SECRET = Setting(
    name="secret",
    read=secret,
    form="text",
    secret=True,
    doc="The password, for digest authentication (SHA-256 or MD5). A phone with neither this nor `md5secret` is open "
    "to everybody, and named in a warning at every start.",
)
MD5SECRET = Setting(
    name="md5secret",
    read=md5,
    form="32 hexadecimal digits",
    secret=True,
    doc="MD5 of `name:realm:secret` in place of the secret. Such a phone can only use MD5.",
)
DEFAULTUSER = Setting(
    name="defaultuser",
    aliases=("username",),
    read=values.word,
    form="a user name",
    doc="The user name we give when a trunk asks for a password; the section's name unless set.",
)
PEER_CONTEXT = Setting(
    name="context",
    read=values.word,
    form="a context of extensions.conf",
    doc="Where its calls enter the dialplan; the `context` of [general] unless set.",
)
CALLERID = Setting(
    name="callerid",
    read=caller_id,
    form='`"Name" <number>`, `<number>` or `Name`',
    doc="Who it is shown as when it calls. Without it, the name and user of its own From.",
)
DENY = Setting(
    name="deny",
    read=values.plain,
    form="a network: `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32`, or an address",
    repeated=True,
    doc="Source addresses that may not register or call. `deny` and `permit` work in their order: the last line that "
    "covers an address decides, and what no line covers may pass. `0.0.0.0/0` says nothing of IPv6: `::/0` does.",
)
PERMIT = Setting(
    name="permit",
    read=values.plain,
    form="a network, as for deny",
    repeated=True,
    doc="Source addresses that may, where a line of `deny` above covers them.",
)
PEER_MAX_CONTACTS = Setting(
    name="max_contacts",
    read=values.number(1, 1000),
    form="1 to 1000",
    doc="How many devices may be registered under this name; the number of [general] unless set.",
)
INSECURE = Setting(
    name="insecure",
    read=insecure,
    form="`invite`, `port`, or both with a comma",
    doc="For a trunk with `host=ADDRESS`. `invite`: its calls need no password. `port`: it may send from any port.",
)
TRANSPORT = Setting(
    name="transport",
    read=values.one_of("udp", "tcp", "tls"),
    form="udp, tcp or tls",
    doc="How a `host` that is not dynamic is reached; over `tls`, its port is 5061 unless set, its certificate must "
    "name the `host`, and its calls come over TLS too. A phone that registers is reached as it registered.",
)
ALLOWTRANSFER = Setting(
    name="allowtransfer",
    read=values.yes_no,
    form="yes or no",
    default="yes",
    doc="Whether it may hand a call on: REFER (blind and attended) and INVITE with Replaces.",
)

_BUILT_IN = "it is always so here"
_RELAYED = "media is always relayed"
_LATER = "not supported yet"
_REPORTED = dict.fromkeys(
    (
        *("accountcode", "allowoverlap", "allowsubscribe", "amaflags", "busylevel", "call-limit"),
        *("callcounter", "callgroup", "cc_agent_policy", "cid_number"),
        *("fromdomain", "fromuser", "fullname", "hasvoicemail", "language", "mailbox", "mohinterpret", "mohsuggest"),
        *("namedcallgroup", "namedpickupgroup", "notifyhold", "notifyringing", "parkinglot", "pickupgroup"),
        *("progressinband", "promiscredir", "qualify", "qualifyfreq", "qualifygap", "register", "sendrpid", "setvar"),
        *("session-expires", "session-minse", "session-refresher", "session-timers", "srvlookup", "subscribecontext"),
        *("subscribemwi", "timerb", "tos_audio", "tos_sip", "cos_audio", "cos_sip", "trustrpid", "usereqphone"),
        *("videosupport", "vmexten", "localnet", "externrefresh", "t38pt_udptl", "trunkname", "useclientcode"),
        *("autoframing", "g726nonstandard", "ignoresdpversion", "outboundproxy", "regcontext", "rfc2833compensate"),
    ),
    _LATER,
) | {
    "nat": "answers always follow the source address (RFC 3581) and media always latches",
    "alwaysauthreject": _BUILT_IN,
    "tcpbindaddr": "TCP listens where UDP does: use bindaddr",
    "directmedia": _RELAYED,
    "canreinvite": _RELAYED,
    "dtmfmode": "digits are taken as RFC 4733 events and as INFO",
    "relaxdtmf": _BUILT_IN,
    "compactheaders": _BUILT_IN,
    **secure.WITHOUT_EFFECT,
}
_REFUSED = {
    "udpbindaddr": "write bindaddr",
    "tlscapath": "use tlscafile",
    "encryption": "SRTP comes later; remove the line to go on without encryption",
    "contactdeny": "use deny",
    "contactpermit": "use permit",
    "contactacl": "use deny and permit",
    "acl": "write the deny and permit lines here",
    "auth": "use secret or md5secret",
    "remotesecret": "use secret",
    "rtptimeout": "it stands in rtp.conf",
    "rtpholdtimeout": "it stands in rtp.conf",
    "media_address": "write externaddr or externaddr6 in rtp.conf",
    "externhost": "write externaddr",
    "match_auth_username": "the phone is found by the user name it authenticates with",
    "avpf": "WebRTC comes later",
    "dtlsenable": "WebRTC comes later",
    "icesupport": "ICE comes later",
}

GENERAL = Table(
    file="sip",
    section="general",
    intro="Listeners, and what holds for everybody.",
    settings=(
        *(BINDADDR, BINDPORT, IPV4, IPV6, UDPENABLE, TCPENABLE, EXTERNADDR, EXTERNADDR6),
        *secure.SETTINGS,
        *(CONTEXT, DISALLOW, ALLOW, REALM, DOMAIN, ALLOWGUEST, USERAGENT),
        *(MINEXPIRY, DEFAULTEXPIRY, MAXEXPIRY, MAX_CONTACTS),
        *(MAXCALLS, MAXTRANSACTIONS, MAXCONNECTIONS, TCPIDLE, TIMERT1),
    ),
    without_effect=_REPORTED,
    refused=_REFUSED,
)
PEER = Table(
    file="sip",
    section="NAME",
    intro="A phone or a trunk; the section's name is its user name. In the names of environment variables every "
    "character but letters and digits is an underscore: `PBX_SIP_DEV1_SECRET`.",
    settings=(
        *(TYPE, HOST, PORT, SECRET, MD5SECRET, DEFAULTUSER, PEER_CONTEXT, DISALLOW, ALLOW, CALLERID, DENY, PERMIT),
        *(PEER_MAX_CONTACTS, INSECURE, TRANSPORT, ALLOWTRANSFER),
    ),
    without_effect=_REPORTED,
    refused=_REFUSED,
)
