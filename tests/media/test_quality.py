"""The E-model against figures that others published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media.quality import (
    ASSUMED_DELAY_MS,
    IMPAIRMENTS,
    delay_impairment,
    equipment_impairment,
    opinion,
    opinion_of,
    rating,
)

G711 = IMPAIRMENTS["ulaw"]


def test_the_default_connection_of_g107_is_rated_93_2() -> None:
    assert rating(G711, 0.0, 0.0) == pytest.approx(93.2, abs=0.05)
    assert opinion_of(93.2) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("r", "score"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (100, 4.5), (0, 1)]
)
def test_ratings_become_scores_as_g107_table_b1_has_them(r: float, score: float) -> None:
    assert opinion_of(r) == pytest.approx(score, abs=0.01)


@pytest.mark.parametrize(
    ("codec", "loss_percent", "impairment"),
    [
        *(("ulaw", 0, 0), ("ulaw", 2, 7), ("ulaw", 3, 10), ("ulaw", 5, 15)),
        *(("g729", 0, 11), ("g729", 0.5, 13), ("g729", 1, 15), ("g729", 2, 19), ("g729", 4, 26), ("g729", 8, 36)),
        *(("g729", 16, 49), ("g723", 0, 15), ("g723", 2, 24)),
    ],
)
def test_loss_impairs_as_g113_appendix_i_measured(codec: str, loss_percent: float, impairment: float) -> None:
    assert equipment_impairment(IMPAIRMENTS[codec], loss_percent) == pytest.approx(impairment, abs=1)


@pytest.mark.parametrize("delay_ms", [0, 20, 50, 100, 150, 177.3, 200, 250, 300])
def test_delay_impairs_as_cole_and_rosenbluth_fitted(delay_ms: float) -> None:
    """Their two lines for G.107 with default values (2001); the curve is farthest from them at their bend."""
    fitted = 0.024 * delay_ms + 0.11 * max(0.0, delay_ms - 177.3)
    assert delay_impairment(delay_ms) == pytest.approx(fitted, abs=1.1)


def test_a_clean_stream_sounds_as_its_codec_does() -> None:
    assert opinion("alaw", 1000, 0) == pytest.approx(4.35, abs=0.02)
    assert opinion("g729", 1000, 0) == pytest.approx(4.02, abs=0.02)
    assert opinion("g722", 1000, 0) == opinion("ulaw", 1000, 0)


def test_half_of_the_packets_is_not_a_call() -> None:
    lost_half = opinion("ulaw", 500, 500)
    assert lost_half is not None
    assert lost_half < 2


def test_there_is_no_score_without_packets_or_for_a_codec_nobody_measured() -> None:
    assert opinion("ulaw", 0, 0) is None
    assert opinion("ulaw", 0, 50) is None
    assert opinion("lpc10", 1000, 0) is None
    assert opinion("", 1000, 0) is None


packets = st.integers(min_value=1, max_value=1 << 32)
losses = st.integers(min_value=0, max_value=1 << 32)
codecs = st.sampled_from(sorted(IMPAIRMENTS))
delays = st.floats(min_value=0, max_value=10_000)


@given(codecs, packets, losses, delays)
def test_every_score_is_on_the_scale(codec: str, received: int, lost: int, delay_ms: float) -> None:
    score = opinion(codec, received, lost, delay_ms)
    assert score is not None
    assert 1.0 <= score <= 4.5


@given(codecs, packets, losses, losses)
def test_more_loss_never_sounds_better(codec: str, received: int, some: int, more: int) -> None:
    fewer, greater = sorted((some, more))
    better, worse = opinion(codec, received, fewer), opinion(codec, received, greater)
    assert better is not None
    assert worse is not None
    assert better >= worse


def test_the_assumed_delay_is_one_that_nobody_notices() -> None:
    assert delay_impairment(ASSUMED_DELAY_MS) < 3
