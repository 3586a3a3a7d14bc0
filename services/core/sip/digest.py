"""Digest authentication, server and client side (RFC 7616, RFC 8760; RFC 3261 22).

Algorithms are SHA-256 and MD5, qop is `auth` and required; `-sess` and `auth-int` are not offered. The server keeps no
challenge (see `nonces.py`, also for what a cluster has to know about replays).

Both challenges of an answer carry the same nonce, and the SHA-256 one an `opaque` that reads `ALGORITHM=MD5`. SIPp up
to 3.6 looks for the text `algorithm=` anywhere in the first challenge, gives up when it is not followed by MD5, and
never reads the second challenge; so it finds that text, and answers by MD5 with the right nonce.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.core.sip.lexical import quote
from services.core.sip.nonces import Nonces, StaleCause

WS = " \t"
NONCE_LIFETIME_S = 300
MAX_NONCES = 65536
"""Nonces whose counts are kept. Only a right password makes an entry; one takes about 250 bytes."""

_HEX = "0123456789abcdefABCDEF"


class Algorithm(enum.Enum):
    """Hash of a challenge; the value is its name on the wire."""

    SHA256 = "SHA-256"
    MD5 = "MD5"


BOTH = (Algorithm.SHA256, Algorithm.MD5)
"""What is offered, best first (RFC 8760 2.3)."""
ONLY_MD5 = (Algorithm.MD5,)

_BY_NAME = {"": Algorithm.MD5, "md5": Algorithm.MD5, "sha-256": Algorithm.SHA256}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def algorithms_for(user_agent: str) -> tuple[Algorithm, ...]:
    """What to offer to a client that names itself so in User-Agent.

    libre before 3.12 (baresip 1.0 is in Debian 12) gives up with ENOSYS when any challenge names an algorithm it does
    not have, instead of passing over it as RFC 7616 3.7 wants.
    """
    if not user_agent.startswith("baresip v"):
        return BOTH
    major, _, rest = user_agent[9:].partition(".")
    version = (major[:4], rest[:4].partition(".")[0])
    if not all(number.isascii() and number.isdecimal() for number in version):
        return BOTH
    return ONLY_MD5 if (int(version[0]), int(version[1])) < (3, 12) else BOTH


# --- secrets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Password:
    """A password in clear (`secret=`): good for every algorithm."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Md5Secret:
    """The hash of `user:realm:password` (`md5secret=`): good for MD5 and the realm it was made for.

    A phone that has only this must be challenged by MD5 alone, or it may choose SHA-256 and never get in.
    """

    ha1: str = field(repr=False)
    """32 hexadecimal digits."""


Secret = Password | Md5Secret


def ha1(algorithm: Algorithm, user: str, realm: str, secret: Secret) -> str:
    """H(A1) of RFC 7616 3.4.2. Raises ValueError for an `Md5Secret` and another algorithm."""
    if isinstance(secret, Password):
        hashed = _md5 if algorithm is Algorithm.MD5 else _sha256
        return hashed(f"{user}:{realm}:{secret.text}")
    if algorithm is not Algorithm.MD5:
        raise ValueError("an md5secret answers only MD5")
    return secret.ha1.lower()


def _response(
    algorithm: Algorithm, hashed_a1: str, nonce: str, *, count: str, cnonce: str, qop: str, method: str, uri: str
) -> str:
    """`response` of RFC 7616 3.4.1; the form of RFC 2069 when `qop` is empty."""
    hashed = _md5 if algorithm is Algorithm.MD5 else _sha256
    hashed_a2 = hashed(f"{method}:{uri}")
    if not qop:
        return hashed(f"{hashed_a1}:{nonce}:{hashed_a2}")
    return hashed(f"{hashed_a1}:{nonce}:{count}:{cnonce}:{qop}:{hashed_a2}")


# --- reading a header ------------------------------------------------------------------------------------------------


def parse_digest(text: str) -> dict[str, str] | None:
    """The parameters of a Digest challenge or of credentials, names in lower case, values without quotes.

    None when the scheme is another one. Raises ValueError for an open quote, text round a quoted value, a value without
    a name and a parameter that comes twice. Linear in the text.
    """
    text = text.strip(WS)
    if text[:6].lower() != "digest" or text[6:7] not in (" ", "\t", ""):
        return None
    params: dict[str, str] = {}
    # What clients send has no escapes, no commas in quotes, no odd spacing: half the cost of the careful way.
    pieces = text[7:].replace(", ", ",").split(",")
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if value[:1] == '"':
            if value.find('"', 1) != len(value) - 1:
                break
            value = value[1:-1]
        elif not equals or '"' in value or value.strip(WS) != value:
            break
        params[name.lower()] = value
    if len(params) == len(pieces) and "\\" not in text and _has_no_blanks("".join(params)) and "" not in params:
        return params
    return _parse_carefully(text)


def _has_no_blanks(text: str) -> bool:
    return " " not in text and "\t" not in text


def _parse_carefully(text: str) -> dict[str, str]:
    """`parse_digest` for odd spacing, empty elements, escapes and commas inside quotes."""
    params: dict[str, str] = {}
    at = 6
    while True:
        equals = text.find("=", at)
        if equals < 0:
            if text[at:].strip(" \t,"):
                raise ValueError("a parameter without value")
            return params
        name = text[at:equals].strip(" \t,").lower()
        at = equals + 1
        while text[at : at + 1] in (" ", "\t"):
            at += 1
        if text.startswith('"', at):
            value, at = _quoted(text, at + 1)
            comma = text.find(",", at)
            if text[at : comma if comma >= 0 else len(text)].strip(WS):
                raise ValueError("text behind a quoted value")
        else:
            comma = text.find(",", at)
            value = text[at : comma if comma >= 0 else len(text)].strip(WS)
            if '"' in value:
                raise ValueError("text before a quoted value")
        if not name or name in params:
            raise ValueError("a parameter twice, or without name")
        params[name] = value
        if comma < 0:
            return params
        at = comma + 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    """The quoted-string whose text begins at `at`, and the index behind its closing quote."""
    close = text.find('"', at)
    if close < 0:
        raise ValueError("a quote without end")
    value = text[at:close]
    if "\\" not in value:
        return value, close + 1
    plain: list[str] = []
    while True:
        backslash = text.find("\\", at)
        close = text.find('"', at)
        if close < 0:
            raise ValueError("a quote without end")
        if backslash < 0 or close < backslash:
            plain.append(text[at:close])
            return "".join(plain), close + 1
        plain.append(text[at:backslash])
        plain.append(text[backslash + 1 : backslash + 2])
        at = backslash + 2


# --- server ----------------------------------------------------------------------------------------------------------


class Fault(enum.Enum):
    """Why credentials were not taken; the value is the label of `pbx_auth_failures_total`."""

    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    QOP = "qop"
    UNKNOWN_USER = "unknown_user"
    WRONG_PASSWORD = "wrong_password"
    URI = "uri"


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The sender knows the password of `user`. Whether that user may do this is the caller's question."""

    user: str
    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class Stale:
    """The password was right, the nonce is used up: challenge again with `stale=True` and no one is asked anything."""

    user: str
    cause: StaleCause


@dataclass(frozen=True, slots=True)
class Failed:
    """Credentials for our realm that are wrong. The answer is a new challenge whatever the fault (RFC 3261 22.1)."""

    user: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Missing:
    """No credentials for our realm."""


AuthResult = Authenticated | Stale | Failed | Missing
MISSING = Missing()


class UriRule(enum.Enum):
    """How the `uri` of credentials must agree with the Request-URI."""

    EXACT = "exact"
    """Byte for byte (RFC 7616 3.4.6)."""
    SAME_USER = "same user"
    """Byte for byte, or naming the same user, or naming none but only a server.

    RFC 3261 22.4 (6) allows the two to differ, and clients make use of it: SIPp signs `sip:<address it sends to>`,
    unbracketed with IPv6. What must not pass is credentials for one extension used to call another.
    """


class DigestServer:
    """Makes challenges and checks credentials. One per realm and process; not thread-safe.

    `key` signs the nonces. Times are Unix seconds.
    """

    def __init__(
        self,
        realm: str,
        key: bytes,
        nonce_lifetime_s: float = NONCE_LIFETIME_S,
        *,
        algorithms: Sequence[Algorithm] = BOTH,
        uri_rule: UriRule = UriRule.SAME_USER,
        max_nonces: int = MAX_NONCES,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.realm = realm
        self._algorithms = tuple(algorithms)
        self._uri_rule = uri_rule
        self._nonces = Nonces(realm, key, nonce_lifetime_s, max_nonces, random_bytes)
        # Stands in for the password of a user that does not exist: the same work, and never right.
        self._nobody = Password(random_bytes(16).hex())

    def challenge(self, now: float, stale: bool = False, algorithms: Sequence[Algorithm] | None = None) -> list[str]:
        """WWW-Authenticate (or Proxy-Authenticate) values, one row each, in this order; all with one new nonce.

        `algorithms` narrows what is offered this once (`algorithms_for`), unless nothing would be left.
        """
        nonce = self._nonces.new(now)
        tail = ', qop="auth", stale=true' if stale else ', qop="auth"'
        offered = self._algorithms
        if algorithms is not None:
            offered = tuple([algorithm for algorithm in offered if algorithm in algorithms]) or offered
        # The opaque comes before the algorithm, or it would not help (see the top of this file).
        hint = 'opaque="ALGORITHM=MD5", ' if len(offered) > 1 else ""
        return [
            f'Digest realm={quote(self.realm)}, nonce="{nonce}", '
            f"{hint if algorithm is not Algorithm.MD5 else ''}algorithm={algorithm.value}{tail}"
            for algorithm in offered
        ]

    def check(
        self,
        header_values: Sequence[str],
        method: str,
        credentials: Callable[[str], Secret | None],
        now: float,
        request_uri: str | None = None,
    ) -> AuthResult:
        """Check the Authorization (or Proxy-Authorization) rows of a request. Never raises, whatever they hold.

        `credentials` finds the secret of a user. `request_uri` is the Request-URI's text as received; None leaves the
        comparison out. Rows for other realms and schemes are passed over (RFC 3261 22.3).
        """
        try:
            params = self._ours(header_values)
            if params is None:
                return MISSING
            return self._judge(params, method, credentials, now, request_uri)
        except (ValueError, UnicodeError):
            return Failed("", Fault.MALFORMED)

    def _ours(self, header_values: Sequence[str]) -> dict[str, str] | None:
        """The parameters of the first row for this realm. Raises ValueError when the only candidate is malformed."""
        fault: ValueError | None = None
        for value in header_values:
            try:
                params = parse_digest(value)
            except ValueError as error:
                fault = error
                continue
            if params is not None and params.get("realm") == self.realm:
                return params
        if fault is not None:
            raise fault
        return None

    def _judge(
        self,
        params: dict[str, str],
        method: str,
        credentials: Callable[[str], Secret | None],
        now: float,
        request_uri: str | None,
    ) -> AuthResult:
        user = params.get("username", "")
        algorithm = _BY_NAME.get(params.get("algorithm", "").lower())
        if algorithm is None or algorithm not in self._algorithms:
            return Failed(user, Fault.ALGORITHM)
        qop = params.get("qop", "")
        if qop.lower() != "auth":
            return Failed(user, Fault.QOP)
        nonce, count, uri = params.get("nonce", ""), params.get("nc", ""), params.get("uri", "")
        cnonce, response = params.get("cnonce", ""), params.get("response", "").lower()
        # strip, since int() would take '+', '_', '0x' and blanks too.
        if not (user and nonce and uri and cnonce) or len(count) != 8 or count.strip(_HEX):
            return Failed(user, Fault.MALFORMED)
        number = int(count, 16)
        secret = credentials(user)
        # One hash of A1 in every case, so that the time tells nothing about who exists.
        password = secret if isinstance(secret, Password) else self._nobody
        hashed_a1 = ha1(algorithm, user, self.realm, password)
        if isinstance(secret, Md5Secret) and algorithm is Algorithm.MD5:
            hashed_a1 = secret.ha1.lower()
        expected = _response(algorithm, hashed_a1, nonce, count=count, cnonce=cnonce, qop=qop, method=method, uri=uri)
        right = hmac.compare_digest(expected.encode(), response.encode("utf-8", "surrogateescape"))
        if not right or secret is None:
            return Failed(user, Fault.UNKNOWN_USER if secret is None else Fault.WRONG_PASSWORD)
        if request_uri is not None and uri != request_uri and not self._may_differ(uri, request_uri):
            return Failed(user, Fault.URI)
        cause = self._nonces.spend(nonce, number, now)
        return Authenticated(user, algorithm) if cause is None else Stale(user, cause)

    def _may_differ(self, uri: str, request_uri: str) -> bool:
        if self._uri_rule is UriRule.EXACT or uri[:4].lower() == "tel:":
            return False
        return "@" not in uri or _user_part(uri) == _user_part(request_uri)


def _user_part(uri: str) -> str:
    """The userinfo of a SIP URI as it stands, without reading the rest; "" when there is none."""
    before, at, _ = uri.partition("@")
    return before.partition(":")[2] if at else ""


# --- client ----------------------------------------------------------------------------------------------------------


class DigestError(Exception):
    """None of the challenges can be answered; the message says why."""


class DigestClient:
    """Answers challenges of registrars and proxies with one user's password; remembers the nonce for later requests.

    `new_cnonce` gives a fresh unguessable token for every answer.
    """

    def __init__(self, user: str, secret: Secret, new_cnonce: Callable[[], str]) -> None:
        self.user = user
        self._secret = secret
        self._new_cnonce = new_cnonce
        self._challenge: dict[str, str] = {}
        self._algorithm = Algorithm.MD5
        self._count = 0

    def answer(self, challenges: Sequence[str], method: str, uri: str) -> str:
        """The Authorization (for 401) or Proxy-Authorization (for 407) value.

        The best algorithm both sides have is taken (RFC 8760 2.4). `uri` is the Request-URI as it is sent. Raises
        DigestError when no challenge is one of ours. Answering again without `stale=true` means the password is wrong:
        see `is_stale`.
        """
        best: tuple[int, dict[str, str], Algorithm] | None = None
        for value in challenges:
            usable = self._usable(value)
            if usable is not None:
                rank = BOTH.index(usable[1])
                if best is None or rank < best[0]:
                    best = (rank, *usable)
        if best is None:
            raise DigestError(f"no challenge that can be answered among {len(challenges)}")
        _, challenge, self._algorithm = best
        if challenge["nonce"] != self._challenge.get("nonce"):
            self._count = 0
        self._challenge = challenge
        return self._credentials(method, uri)

    def again(self, method: str, uri: str) -> str | None:
        """Credentials for the next request with the last nonce; None before the first challenge."""
        return self._credentials(method, uri) if self._challenge else None

    def _usable(self, value: str) -> tuple[dict[str, str], Algorithm] | None:
        try:
            params = parse_digest(value)
        except ValueError:
            return None
        if params is None or not params.get("nonce") or "realm" not in params:
            return None
        algorithm = _BY_NAME.get(params.get("algorithm", "").lower())
        if algorithm is None or (isinstance(self._secret, Md5Secret) and algorithm is not Algorithm.MD5):
            return None
        offered = [name.strip(WS).lower() for name in params.get("qop", "").split(",")]
        if "auth" not in offered and offered != [""]:
            return None
        return params, algorithm

    def _credentials(self, method: str, uri: str) -> str:
        challenge, algorithm = self._challenge, self._algorithm
        realm, nonce = challenge["realm"], challenge["nonce"]
        qop = "auth" if challenge.get("qop") else ""
        self._count += 1
        count, cnonce = f"{self._count:08x}", self._new_cnonce()
        hashed_a1 = ha1(algorithm, self.user, realm, self._secret)
        response = _response(algorithm, hashed_a1, nonce, count=count, cnonce=cnonce, qop=qop, method=method, uri=uri)
        text = (
            f"Digest username={quote(self.user)}, realm={quote(realm)}, nonce={quote(nonce)}, "
            f'uri={quote(uri)}, response="{response}", algorithm={algorithm.value}'
        )
        if qop:
            text += f", cnonce={quote(cnonce)}, qop={qop}, nc={count}"
        if "opaque" in challenge:
            text += f", opaque={quote(challenge['opaque'])}"
        return text


def is_stale(challenges: Sequence[str]) -> bool:
    """Whether the password was right and only the nonce old (`stale=true`), so that answering again makes sense."""
    for value in challenges:
        try:
            params = parse_digest(value)
        except ValueError:
            continue
        if params is not None and params.get("stale", "").lower() == "true":
            return True
    return False
