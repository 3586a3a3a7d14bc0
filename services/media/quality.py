"""How a stream sounds, by the E-model (ITU-T G.107, 06/2015): a rating R, and the mean opinion score made of it. Pure.

    R = Ro - Is - Id - Ie,eff        (A = 0: nobody forgives a desk phone anything)

Ro and Is are those of G.107's default values, Id depends on the delay, Ie,eff on codec and loss. What a relay cannot
know is assumed: the one-way delay from mouth to ear (`ASSUMED_DELAY_MS`), loss that falls at random (BurstR = 1), a
receiver that conceals it, and an echo of default level. So the score tells codecs and losses apart, not delays.

The scale is the narrow-band one, which ends at 4.5: a wide-band codec is scored as G.711 is, and no better.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log2, log10, sqrt
from types import MappingProxyType
from typing import Final

ASSUMED_DELAY_MS: Final = 100.0
"""20 ms of packet, 40 to 60 ms of playout buffer, the rest for the way: a call within a continent (G.114 II.2)."""

_RO: Final = 94.77
"""Basic signal-to-noise ratio (7.2) with the default values of table 2."""
_IS: Final = 1.41
"""Simultaneous impairment (7.3), likewise; its part that depends on the delay does not show at the default TELR."""
_ROE: Final = 94.77
"""-1.5 (No - RLR), for the talker's echo (7.4)."""
_TELR_DB: Final = 65.0
_WEPL_DB: Final = 110.0
_WORST: Final = 95.0
"""Where Ie,eff ends at total loss (7.5)."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a codec does to speech, on the scale of R (ITU-T G.113 appendix I)."""

    equipment: float
    """Ie, without loss."""
    robustness: float
    """Bpl: how well it takes random loss."""


_G711 = Impairment(0.0, 25.1)
"""With concealment (G.711 appendix I), as phones have it; without, Bpl would be 4.3."""

IMPAIRMENTS: Final[Mapping[str, Impairment]] = MappingProxyType(
    {
        **dict.fromkeys(("ulaw", "alaw"), _G711),
        **dict.fromkeys(("g722", "opus", "slin", "slin16", "slin24", "slin32", "slin48"), _G711),
        "g729": Impairment(11.0, 19.0),  # G.729A with VAD: RTP does not tell it from plain G.729
        "g723": Impairment(15.0, 16.1),  # 6.3 kbit/s with VAD
    }
)
"""By Asterisk's name. A codec without published figures is not here and gets no score."""


def opinion(codec: str, received: int, lost: int, delay_ms: float = ASSUMED_DELAY_MS) -> float | None:
    """The mean opinion score (MOS-CQE), 1 to 4.5, of a stream of which `received` packets came and `lost` did not.

    None when nothing came, or nobody published what the codec does.
    """
    impairment = IMPAIRMENTS.get(codec)
    if impairment is None or received <= 0:
        return None
    loss_percent = 100.0 * lost / (received + lost)
    return opinion_of(rating(impairment, loss_percent, delay_ms))


def rating(impairment: Impairment, loss_percent: float, delay_ms: float) -> float:
    """R, 0 to 100 (7.1); a bad enough stream is below 0."""
    return _RO - _IS - delay_impairment(delay_ms) - equipment_impairment(impairment, loss_percent)


def equipment_impairment(impairment: Impairment, loss_percent: float) -> float:
    """Ie,eff (7.5), with loss at random."""
    if loss_percent <= 0:
        return impairment.equipment
    share = loss_percent / (loss_percent + impairment.robustness)
    return impairment.equipment + (_WORST - impairment.equipment) * share


@lru_cache(16)
def delay_impairment(delay_ms: float) -> float:
    """Id (7.4): echo to the talker, echo to the listener, and the delay itself. `delay_ms` is one way."""
    return _talker_echo(delay_ms) + _listener_echo(2 * delay_ms) + _too_late(delay_ms)


def opinion_of(r: float) -> float:
    """The mean opinion score of a rating (annex B)."""
    if r >= 100:
        return 4.5
    # Below 6.5 the polynomial dips under 1, which is the worst that can be said.
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6) if r > 0 else 1.0


def _talker_echo(delay_ms: float) -> float:
    """Idte."""
    masked = _TELR_DB - 40 * log10((1 + delay_ms / 10) / (1 + delay_ms / 150)) + 6 * exp(-0.3 * delay_ms**2)
    half = (_ROE - (80 + 2.5 * (masked - 14))) / 2
    return (half + sqrt(half**2 + 100) - 1) * (1 - exp(-delay_ms))


def _listener_echo(round_trip_ms: float) -> float:
    """Idle."""
    half = (_RO - 10.5 * (_WEPL_DB + 7) / sqrt(sqrt(round_trip_ms + 1))) / 2
    return half + sqrt(half**2 + 169)


def _too_late(delay_ms: float) -> float:
    """Idd: nothing up to 100 ms."""
    if delay_ms <= 100:
        return 0.0
    x = log2(delay_ms / 100)
    return float(25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2))
