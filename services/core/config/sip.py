"""sip.conf: where to listen, and the phones and trunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from services.core.address import Address, Family, HostPort
from services.core.config import acl, codecs, secure
from services.core.config.conf import Entry, Section
from services.core.config.secure import TlsSettings, WebSocketSettings
from services.core.config.sip_tables import (
    ALLOW,
    ALLOWGUEST,
    ALLOWTRANSFER,
    BINDADDR,
    BINDPORT,
    CALLERID,
    CONTEXT,
    DEFAULTEXPIRY,
    DEFAULTUSER,
    DENY,
    DISALLOW,
    DOMAIN,
    EXTERNADDR,
    EXTERNADDR6,
    GENERAL,
    HOST,
    INSECURE,
    IPV4,
    IPV6,
    MAX_CONTACTS,
    MAXCALLS,
    MAXCONNECTIONS,
    MAXEXPIRY,
    MAXTRANSACTIONS,
    MD5SECRET,
    MINEXPIRY,
    PEER,
    PEER_CONTEXT,
    PEER_MAX_CONTACTS,
    PERMIT,
    PORT,
    REALM,
    SECRET,
    TCPENABLE,
    TCPIDLE,
    TIMERT1,
    TRANSPORT,
    TYPE,
    UDPENABLE,
    USERAGENT,
)
from services.core.config.table import BadValue, Findings, Setting, Values, by_name
from services.core.config.values import WILDCARDS, Bind, family_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """One address SIP is listened for on."""

    address: Address
    """Port included; port 0 takes a free one."""
    udp: bool
    tcp: bool
    tls: bool = False
    ws: bool = False
    wss: bool = False
    """UDP and TCP share a port; of the others, each has a listener of its own."""
    advertised: HostPort | None = None
    """What Via and Contact show instead of the address; without a port, the port that is listened on."""
    origin: str
    """Where it was asked for, `sip.conf:3`."""
    implied: bool = False
    """The wildcard of a family that nobody named: a machine without that family starts without it, with a warning."""

    @property
    def transports(self) -> tuple[str, ...]:
        """What is spoken there, in the words of a flow."""
        spoken = (("udp", self.udp), ("tcp", self.tcp), ("tls", self.tls), ("ws", self.ws), ("wss", self.wss))
        return tuple([word for word, on in spoken if on])


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A phone, a trunk, or both: one section of sip.conf."""

    name: str
    type: str
    """`friend`, `peer` (it is called, and recognised by its address) or `user` (it calls, and is not called)."""
    host: HostPort | None = None
    """Where it is; None for `dynamic`, which registers. A name is resolved by whoever sends there."""
    secret: str | None = field(default=None, repr=False)
    md5secret: str | None = field(default=None, repr=False)
    """MD5 of `name:realm:secret` in lower-case hexadecimal, in place of the secret."""
    auth_user: str
    """User name for challenges of the peer's own (`defaultuser`), the section's name when not set."""
    context: str
    codecs: tuple[str, ...]
    callerid_name: str = ""
    callerid_number: str = ""
    acl: tuple[acl.AclRule, ...] = ()
    max_contacts: int
    insecure_invite: bool = False
    """Calls from its address are taken without a password (`insecure=invite`)."""
    insecure_port: bool = False
    """It is recognised by its address whatever port it sends from (`insecure=port`)."""
    transport: str | None = None
    """`udp`, `tcp` or `tls` toward a `host` that is not dynamic; None leaves it to RFC 3263."""
    allow_transfer: bool = True
    """It may hand a call on by REFER, or take one over by Replaces."""
    origin: str

    @property
    def dynamic(self) -> bool:
        """Whether it registers."""
        return self.host is None

    @property
    def open(self) -> bool:
        """Whether it has no password: whoever reaches us may register and call as this phone."""
        return self.secret is None and self.md5secret is None

    def permits(self, ip_text: str) -> bool:
        """Whether `deny` and `permit` let this source address in."""
        return acl.permits(self.acl, ip_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SipSettings:
    """All of sip.conf."""

    listeners: tuple[ListenerSettings, ...]
    context: str
    """Where guests enter the dialplan, and the default of every phone."""
    realm: str
    domains: tuple[str, ...]
    """Names we answer for besides our addresses; empty: any."""
    allow: tuple[str, ...]
    """Codec names, preferred first."""
    allow_guest: bool
    user_agent: str
    peers: Mapping[str, Peer]
    min_expiry_s: int
    max_expiry_s: int
    default_expiry_s: int
    timer_t1_s: float
    max_calls: int
    max_transactions: int
    max_connections: int
    """Connections per listener."""
    tcp_idle_s: int
    tls: TlsSettings
    websocket: WebSocketSettings


def read_sip(
    sections: Sequence[Section], env: Mapping[str, str], findings: Findings, folder: Path = Path()
) -> SipSettings:
    """The settings in the sections of sip.conf. Problems go to `findings`, defaults stand in. Never raises.

    Names of files are relative to `folder`.
    """
    groups = by_name(sections)
    for name, same in groups.items():
        for again in same[1:]:
            first = f"[{name}] is already at {same[0].where}"
            findings.problems.append(again.problem(first, f"join them, or write [{name}](+)"))
    general_section = groups.pop("general", [None])[0]
    general = Values(GENERAL, "general", general_section, env, findings)
    default_codecs = codecs.edit(codecs.DEFAULT, general.entries(ALLOW, DISALLOW), findings)
    listeners = _listeners(general)
    minimum, default, maximum = (general.get(setting) for setting in (MINEXPIRY, DEFAULTEXPIRY, MAXEXPIRY))
    if not minimum <= default <= maximum:
        entry = general.entry(DEFAULTEXPIRY) or general.entry(MAXEXPIRY) or general.entry(MINEXPIRY)
        assert entry is not None, "the defaults are in order"
        general.fail(entry, f"{minimum} (minexpiry), {default} (defaultexpiry), {maximum} (maxexpiry) must rise")
    domains = tuple(name for _, name in general.each(DOMAIN))
    realm = general.get(REALM)
    defaults = _PeerDefaults(general.get(CONTEXT), default_codecs, general.get(MAX_CONTACTS), realm)
    peers = {name: _peer(name, same[0], defaults, env, findings) for name, same in groups.items()}
    tls = secure.read_tls(general, folder)
    _check_tls(general, tls, listeners, peers, groups, findings)
    return SipSettings(
        listeners=listeners,
        context=defaults.context,
        realm=realm,
        domains=domains,
        allow=default_codecs,
        allow_guest=general.get(ALLOWGUEST),
        user_agent=general.get(USERAGENT),
        peers=MappingProxyType(peers),
        min_expiry_s=minimum,
        max_expiry_s=maximum,
        default_expiry_s=default,
        timer_t1_s=general.get(TIMERT1) / 1000,
        max_calls=general.get(MAXCALLS),
        max_transactions=general.get(MAXTRANSACTIONS),
        max_connections=general.get(MAXCONNECTIONS),
        tcp_idle_s=general.get(TCPIDLE),
        tls=tls,
        websocket=secure.read_websocket(general),
    )


# --- listeners ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Listeners of one setting."""

    bind: Setting[Bind]
    port: int
    port_origin: Entry | None = None
    """The line that says the port, or asks for the listeners, where no address does."""
    wildcards: bool = True
    """Whether a family without an address listens on its wildcard."""
    spoken: Mapping[str, bool]


def _listeners(general: Values) -> tuple[ListenerSettings, ...]:
    udp, tcp = general.get(UDPENABLE), general.get(TCPENABLE)
    if not (udp or tcp):
        entry = general.entry(TCPENABLE) or general.entry(UDPENABLE)
        assert entry is not None, "both are on unless a line says otherwise"
        general.fail(entry, "neither UDP nor TCP is enabled", "set udpenable=yes or tcpenable=yes")
    families = _families(general)
    found: list[ListenerSettings] = []
    for kind in _kinds(general, udp=udp, tcp=tcp):
        _listen(general, kind, families, found)
    return tuple(found)


def _kinds(general: Values, *, udp: bool, tcp: bool) -> list[_Kind]:
    plain = {"udp": udp, "tcp": tcp}
    kinds = [_Kind(bind=BINDADDR, port=general.get(BINDPORT), port_origin=general.entry(BINDPORT), spoken=plain)]
    unencrypted = {"udp": False, "tcp": False}
    tls_entry, tls_bind = general.entry(secure.TLSENABLE), general.entry(secure.TLSBINDADDR)
    if general.get(secure.TLSENABLE):
        tls = {**unencrypted, "tls": True}
        kinds.append(_Kind(bind=secure.TLSBINDADDR, port=secure.TLS_PORT, port_origin=tls_entry, spoken=tls))
    elif tls_bind is not None:
        general.warn(tls_bind, "tlsbindaddr has no effect", "add tlsenable=yes")
    for bind, port, word in (
        (secure.WS_BINDADDR, secure.WS_PORT, "ws"),
        (secure.WSS_BINDADDR, secure.WSS_PORT, "wss"),
    ):
        kinds.append(_Kind(bind=bind, port=port, wildcards=False, spoken={**unencrypted, word: True}))
    return kinds


def _listen(general: Values, kind: _Kind, families: Sequence[Family], found: list[ListenerSettings]) -> None:
    """Add the listeners of one kind to those found before."""
    external = {Family.IP4: general.optional(EXTERNADDR), Family.IP6: general.optional(EXTERNADDR6)}
    if kind.bind is not BINDADDR:
        # Their port is the one of SIP in the clear.
        external = {family: shown and HostPort(shown.host, None) for family, shown in external.items()}
    named: set[Family] = set()
    for entry, bind in general.each(kind.bind):
        named.add(bind.family)
        if bind.family not in families:
            continue
        address = Address(bind.host, kind.port if bind.port is None else bind.port)
        clash = next((other for other in found if _overlap(other.address, address)), None)
        if clash is not None:
            message = f"{kind.bind.name}: {address} is already listened on by {clash.address} of {clash.origin}"
            general.fail(entry, message)
            continue
        advertised = bind.advertised or external[bind.family]
        found.append(ListenerSettings(address=address, advertised=advertised, origin=entry.where, **kind.spoken))
    for family in families if kind.wildcards else ():
        if family not in named:
            origin = kind.port_origin
            found.append(
                ListenerSettings(
                    address=Address(WILDCARDS[family], kind.port),
                    advertised=external[family],
                    origin=origin.where if origin else f"default of {family_name(family)}",
                    implied=True,
                    **kind.spoken,
                )
            )


def _check_tls(
    general: Values,
    tls: TlsSettings,
    listeners: Sequence[ListenerSettings],
    peers: Mapping[str, Peer],
    sections: Mapping[str, Sequence[Section]],
    findings: Findings,
) -> None:
    """TLS needs certificates, and trunks over TLS need TLS."""
    entry = general.entry(secure.TLSENABLE) if general.get(secure.TLSENABLE) else general.entry(secure.WSS_BINDADDR)
    if entry is not None and not general.entries(secure.TLSCERTFILE):
        general.fail(entry, f"{entry.key} needs a certificate", "add tlscertfile=")
    if any(listener.tls for listener in listeners):
        return
    for name, peer in peers.items():
        if peer.transport == "tls" and not peer.dynamic:
            problem = sections[name][0].problem(f"[{name}] is reached over TLS, which is off", "add tlsenable=yes")
            findings.problems.append(problem)


def _families(general: Values) -> list[Family]:
    families = [family for family, setting in ((Family.IP6, IPV6), (Family.IP4, IPV4)) if general.get(setting)]
    if not families:
        entry = general.entry(IPV4) or general.entry(IPV6)
        assert entry is not None, "both are on unless a line says otherwise"
        general.fail(entry, "both address families are switched off", "leave one of ipv4 and ipv6 on")
    return families


def _overlap(one: Address, other: Address) -> bool:
    """Whether the kernel would refuse to bind both."""
    if one.family is not other.family or one.port != other.port or one.port == 0:
        return False
    return one.host == other.host or WILDCARDS[one.family] in (one.host, other.host)


# --- phones and trunks -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _PeerDefaults:
    context: str
    codecs: tuple[str, ...]
    max_contacts: int
    realm: str


def _peer(name: str, section: Section, defaults: _PeerDefaults, env: Mapping[str, str], findings: Findings) -> Peer:
    values = Values(PEER, name, section, env, findings)
    if any(character in name for character in ' /&@,;:<>"') or not name.isprintable():
        findings.problems.append(
            section.problem(f"[{name}] cannot be dialled or register", "use letters, digits, - _ . + only")
        )
    kind = values.optional(TYPE)
    if kind is None and values.entry(TYPE) is None:
        findings.problems.append(section.problem(f"[{name}] has no type", "add type=friend, peer or user"))
    host = _peer_host(values, section)
    insecure = values.optional(INSECURE) or frozenset()
    name_part, number_part = values.optional(CALLERID) or ("", "")
    peer = Peer(
        name=name,
        type=kind or "friend",
        host=host,
        secret=values.optional(SECRET),
        md5secret=values.optional(MD5SECRET),
        auth_user=values.optional(DEFAULTUSER) or name,
        context=values.optional(PEER_CONTEXT) or defaults.context,
        codecs=codecs.edit(defaults.codecs, values.entries(ALLOW, DISALLOW), findings),
        callerid_name=name_part,
        callerid_number=number_part,
        acl=_acl(values),
        max_contacts=values.optional(PEER_MAX_CONTACTS) or defaults.max_contacts,
        insecure_invite="invite" in insecure and host is not None,
        insecure_port="port" in insecure and host is not None,
        transport=values.optional(TRANSPORT),
        allow_transfer=values.get(ALLOWTRANSFER),
        origin=section.where,
    )
    _check_peer(peer, section, values, defaults.realm)
    return peer


def _peer_host(values: Values, section: Section) -> HostPort | None:
    entry, port = values.entry(HOST), values.entry(PORT)
    host = values.optional(HOST)
    if entry is None and values.optional(TYPE) != "user":
        section_problem = section.problem(f"[{values.name}] has no host", "add host=dynamic if it registers")
        values.findings.problems.append(section_problem)
    if host is None or host == "dynamic":
        if port is not None and host == "dynamic":
            values.warn(port, "port has no effect: a phone with host=dynamic says its port when it registers")
        return None
    return HostPort(host, values.optional(PORT))


def _acl(values: Values) -> tuple[acl.AclRule, ...]:
    rules = []
    for entry in values.entries(DENY, PERMIT):
        try:
            rules.append(acl.AclRule(entry.name == "permit", acl.network(entry.value)))
        except BadValue as bad:
            values.fail(entry, f"{entry.key}: {bad.message}", bad.remedy)
    for mine, other in ((4, 6), (6, 4)):
        everything = next(
            (e for e, r in zip(values.entries(DENY, PERMIT), rules, strict=False) if _denies_all(r, mine)), None
        )
        if everything is not None and not any(rule.network.version == other for rule in rules):
            values.warn(
                everything,
                f"deny={everything.value} says nothing of IPv{other}, from where [{values.name}] is open",
                f"add deny={'::/0' if other == 6 else '0.0.0.0/0'}",
            )
    return tuple(rules)


def _denies_all(rule: acl.AclRule, version: int) -> bool:
    return not rule.allows and rule.network.version == version and rule.network.prefixlen == 0


def _check_peer(peer: Peer, section: Section, values: Values, realm: str) -> None:
    secret = values.entry(SECRET)
    if peer.secret is not None and peer.md5secret is not None and secret is not None:
        values.fail(secret, f"[{peer.name}] has both secret and md5secret", "keep one of them")
    if not peer.codecs:
        entry = values.entry(DISALLOW)
        problem = entry.problem if entry else section.problem
        values.findings.problems.append(problem(f"[{peer.name}] is left without any codec", "add allow=ulaw"))
    if peer.dynamic and peer.open and secret is None and values.entry(MD5SECRET) is None and peer.type != "user":
        values.findings.warnings.append(
            section.problem(
                f"[{peer.name}] has no secret: ANYBODY who reaches this machine can register and call as {peer.name}",
                "add secret=",
            )
        )
    insecure = values.entry(INSECURE)
    if insecure is not None and peer.dynamic:
        values.warn(
            insecure, "insecure has no effect with host=dynamic: a phone shows its password", "give host=ADDRESS"
        )
