"""A short fuzz of everything that reads the network, the same one each time; `tests.fuzz.run` goes on for longer."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import Mutator
from tests.fuzz.run import fuzz, main
from tests.fuzz.targets import TARGETS, seeds

MUTATIONS = {"sip": 2500, "stream": 1200, "sdp": 1500, "ng": 5000, "uri": 8000}
EVERY_TARGET = pytest.mark.parametrize("target", TARGETS)


@EVERY_TARGET
def test_the_corpus_holds_nothing_that_breaks_its_reader(target: str) -> None:
    corpus = seeds(target)
    assert len(corpus) >= 5
    for data in corpus:
        fuzz(target, data)


@EVERY_TARGET
def test_mutations_of_the_corpus_break_nothing_and_take_no_time(target: str) -> None:
    mutator = Mutator(seeds(target), seed=4475)
    for _ in range(MUTATIONS[target]):
        data = mutator.next()
        try:
            fuzz(target, data)
        except Exception as error:
            raise AssertionError(f"{target}: {data!r}") from error


@EVERY_TARGET
def test_whatever_hypothesis_thinks_of_breaks_nothing(target: str) -> None:
    corpus = seeds(target)
    piece = st.sampled_from(corpus).flatmap(
        lambda data: st.tuples(st.integers(0, len(data)), st.integers(0, 80)).map(
            lambda span: data[span[0] : span[0] + span[1]]
        )
    )
    whole = st.lists(piece | st.binary(max_size=20), max_size=8).map(b"".join)

    @settings(max_examples=150, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(whole)
    def breaks_nothing(data: bytes) -> None:
        fuzz(target, data)

    breaks_nothing()


def test_the_same_seed_makes_the_same_octets() -> None:
    one, two, three = (Mutator(seeds("sip"), seed) for seed in (1, 1, 2))
    made = [one.next() for _ in range(50)]
    assert made == [two.next() for _ in range(50)]
    assert made != [three.next() for _ in range(50)]


def test_the_long_run_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "0.003", "--seed", "1"]) == 0
    assert "inputs, 0 findings" in capsys.readouterr().out
