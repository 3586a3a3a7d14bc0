"""Symmetric RTP: whose packets are taken, and where packets go."""

from services.media.latch import WINDOW_S, Latch

PHONE = ("192.0.2.1", 4000)
NAT = ("198.51.100.7", 61000)
STRANGER = ("203.0.113.9", 5000)
MOVED = ("192.0.2.77", 4400)


def announced(signalled_from: str | None = None) -> Latch:
    latch = Latch()
    latch.announce(PHONE, signalled_from, 0.0)
    return latch


def test_packets_go_to_the_announced_address_until_something_is_heard() -> None:
    assert announced().to == PHONE


def test_the_first_source_is_taken_and_answered() -> None:
    latch = announced()
    assert latch.admit(NAT, 1.0)
    assert latch.heard == latch.to == NAT


def test_another_source_is_refused_after_that() -> None:
    latch = announced()
    latch.admit(PHONE, 1.0)
    assert not latch.admit(STRANGER, 1.1)
    assert not latch.admit(STRANGER, 100.0)
    assert latch.to == PHONE


def test_the_announced_address_takes_over_from_a_stranger_that_was_first() -> None:
    latch = announced()
    latch.admit(STRANGER, 1.0)
    assert latch.admit(PHONE, 1.1)
    assert latch.to == PHONE
    assert not latch.admit(STRANGER, 1.2)


def test_where_the_signalling_came_from_is_trusted_more_than_a_stranger() -> None:
    latch = announced(signalled_from=NAT[0])
    latch.admit(STRANGER, 1.0)
    assert latch.admit(NAT, 1.1)
    assert latch.to == NAT


def test_nobody_takes_over_when_the_window_is_closed() -> None:
    latch = announced()
    latch.admit(STRANGER, 1.0)
    assert not latch.admit(PHONE, 1.0 + WINDOW_S)


def test_new_signalling_opens_the_latch_again() -> None:
    latch = announced()
    latch.admit(NAT, 1.0)
    latch.announce(PHONE, None, 10.0)
    assert latch.to == NAT, "until something is heard it stays where it was heard"
    assert latch.admit((NAT[0], 61999), 10.1)
    assert latch.to == (NAT[0], 61999)


def test_a_party_that_moved_is_sent_to_its_new_address_at_once() -> None:
    latch = announced()
    latch.admit(PHONE, 1.0)
    latch.announce(MOVED, None, 10.0)
    assert latch.to == MOVED


def test_packets_still_coming_from_the_former_address_pass_but_do_not_latch() -> None:
    latch = announced()
    latch.admit(PHONE, 1.0)
    latch.announce(MOVED, None, 10.0)
    assert latch.admit(PHONE, 10.01)
    assert latch.heard is None
    assert latch.to == MOVED
    assert latch.admit(MOVED, 10.02)
    assert not latch.admit(PHONE, 10.03)


def test_a_former_address_that_goes_on_for_long_is_where_the_party_is() -> None:
    latch = announced()
    latch.admit(NAT, 1.0)
    latch.announce(MOVED, None, 10.0)
    assert latch.admit(NAT, 10.0 + WINDOW_S)
    assert latch.to == NAT


def test_hold_by_null_address_stops_sending_and_resume_starts_it_again() -> None:
    latch = announced()
    latch.admit(PHONE, 1.0)
    latch.announce(None, None, 10.0)
    assert latch.to is None
    latch.announce(PHONE, None, 20.0)
    assert latch.to == PHONE


def test_a_party_without_an_address_is_sent_to_where_it_is_heard() -> None:
    latch = Latch()
    latch.announce(None, None, 0.0)
    assert latch.to is None
    assert latch.admit(NAT, 1.0)
    assert latch.to == NAT


def test_a_link_local_source_matches_its_announced_host() -> None:
    latch = Latch()
    latch.announce(("fe80::1", 4000, 0, 0), None, 0.0)
    latch.admit(("fe80::2%eth0", 4000, 0, 3), 1.0)
    assert latch.admit(("fe80::1%eth0", 4000, 0, 3), 1.1)
    assert latch.to == ("fe80::1%eth0", 4000, 0, 3)
