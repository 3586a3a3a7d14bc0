"""Commands of the media protocol: descriptions rewritten, refusals worded, parties connected and forgotten."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.address import Family
from services.core.sdp import Direction, SessionDescription, synthesise_answer, synthesise_offer
from services.media.api import Notice
from services.media.worker import ABANDONED_S, Worker

from .support import ManualClock, Phone, Session, a_worker, audio_port, description, phones, settled, stream

IP4, IP6 = Family.IP4, Family.IP6
PHONE4 = description(IP4, "192.0.2.10", 4000)
PHONE6 = description(IP6, "2001:db8::10", 4000)
WILDCARDS = {IP4: "0.0.0.0", IP6: "::"}


def tags(**changes: Any) -> dict[str, Any]:
    return {"from_tag": "a", "to_tag": "b", "sdp": PHONE4, **changes}


# --- descriptions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [IP4, IP6])
async def test_the_callee_is_shown_our_address_in_its_family(family: Family) -> None:
    with a_worker() as worker:
        shown = SessionDescription.parse(Session(worker).offer(PHONE4, family))
        assert shown.audio is not None
        assert shown.audio.connection is not None
        assert shown.audio.family is family
        assert shown.audio.connection.address == {IP4: "127.0.0.1", IP6: "::1"}[family]
        assert 42000 <= shown.audio.port < 50000
        assert shown.audio.port % 2 == 0
        assert shown.origin.address == shown.audio.connection.address
        assert shown.audio.formats == ("0", "8", "101")


async def test_the_answer_is_shown_in_the_family_of_the_offer() -> None:
    with a_worker() as worker:
        session = Session(worker)
        session.offer(PHONE6, IP4)
        shown = SessionDescription.parse(session.answer(PHONE4))
        assert shown.audio is not None
        assert shown.audio.family is IP6
        assert b"192.0.2.10" not in shown.to_bytes()


async def test_without_a_family_the_callee_gets_the_callers() -> None:
    with a_worker() as worker:
        reply = Session(worker).ask("offer", **tags(sdp=PHONE6))
        assert b"c=IN IP6 ::1" in reply["sdp"]


async def test_the_origin_is_replaced_only_when_asked() -> None:
    with a_worker() as worker:
        session = Session(worker)
        assert b"o=phone 1 1 IN IP4 192.0.2.10" in session.offer(PHONE4, IP4, replace=[])
        assert b"o=phone 1 1 IN IP4 127.0.0.1" in session.offer(PHONE4, IP4, replace=["origin"])


async def test_rtcp_is_shown_where_it_was_said() -> None:
    with a_worker() as worker:
        session = Session(worker)
        assert b"a=rtcp" not in session.offer(PHONE4, IP4)
        shown = session.offer(description(IP4, "192.0.2.10", 4000, lines=("a=rtcp:4444",)), IP4)
        assert f"a=rtcp:{audio_port(shown) + 1}\r\n".encode() in shown


async def test_ice_and_rtcp_mux_stay_between_the_party_and_us() -> None:
    lines = (
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        "a=candidate:1 1 UDP 2130706431 192.0.2.10 4000 typ host",
        "a=rtcp-mux",
        "a=ptime:20",
    )
    with a_worker() as worker:
        shown = Session(worker).offer(description(IP4, "192.0.2.10", 4000, lines=lines), IP6, ICE="remove")
        assert b"ice-" not in shown
        assert b"candidate" not in shown
        assert b"rtcp-mux" not in shown
        assert b"a=ptime:20" in shown


async def test_a_reoffer_keeps_all_ports_and_passes_hold_on() -> None:
    with a_worker() as worker:
        session = Session(worker)
        to_callee = audio_port(session.offer(PHONE4, IP6))
        to_caller = audio_port(session.answer(PHONE6))
        held = session.offer(description(IP4, "192.0.2.10", 4000, lines=("a=sendonly",)), IP6)
        assert audio_port(held) == to_callee
        assert b"a=sendonly" in held
        answered = session.answer(description(IP6, "2001:db8::10", 4000, lines=("a=recvonly",)))
        assert audio_port(answered) == to_caller
        assert b"a=recvonly" in answered
        # and the other side may be the one that offers
        assert audio_port(session.offer(PHONE6, IP4, from_tag="b", to_tag="a")) == to_caller
        assert audio_port(session.answer(PHONE4, from_tag="b", to_tag="a")) == to_callee


@pytest.mark.parametrize(("family", "host"), [(IP4, "0.0.0.0"), (IP6, "::")])
async def test_hold_by_null_address_is_shown_as_hold_by_direction(family: Family, host: str) -> None:
    with a_worker() as worker:
        session = Session(worker)
        session.offer(PHONE4 if family is IP4 else PHONE6, IP4)
        session.answer(PHONE4)
        shown = SessionDescription.parse(session.offer(description(family, host, 4000), IP4))
        assert shown.audio is not None
        assert shown.audio.direction is Direction.SENDONLY
        assert not shown.audio.null_address


async def test_a_party_that_moves_to_the_other_family_gets_a_port_there() -> None:
    with a_worker() as worker:
        session = Session(worker)
        session.offer(PHONE4, IP4)
        session.answer(PHONE4)
        session.offer(PHONE6, IP4)
        assert b"c=IN IP6 ::1" in session.answer(PHONE4)
        assert worker.figures().ports_in_use == 2


async def test_lines_beside_audio_get_ports_of_their_own_or_are_refused() -> None:
    video = "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    image = "m=image 6000 udptl t38\r\n"
    tcp = "m=message 7000 TCP/MSRP *\r\n"
    with a_worker() as worker:
        session = Session(worker)
        sdp = PHONE4 + (video + image + tcp).encode()
        shown = SessionDescription.parse(session.offer(sdp, IP6))
        ports = [media.port for media in shown.media]
        assert len(set(ports[:3])) == 3
        assert all(ports[:3])
        assert ports[3] == 0
        assert worker.figures().ports_in_use == 6
        refusing = PHONE6 + b"m=video 0 RTP/AVP 96\r\nm=image 0 udptl t38\r\nm=message 0 TCP/MSRP *\r\n"
        answered = SessionDescription.parse(session.answer(refusing))
        assert [bool(media.port) for media in answered.media] == [True, False, False, False]
        assert worker.figures().ports_in_use == 2, "what was refused is given back"


async def test_datagrams_that_are_no_rtp_are_relayed_as_they_are() -> None:
    with a_worker() as worker, phones(IP4, IP6) as (one, other):

        def fax(phone: Phone) -> bytes:
            return description(phone.family, phone.host, 0).replace(b"0 101", b"0") + (
                f"m=image {phone.port} udptl t38\r\n".encode()
            )

        session = Session(worker)
        offered = SessionDescription.parse(session.offer(fax(one), IP6))
        answered = SessionDescription.parse(session.answer(fax(other)))
        assert one.send(b"\x80\x00 any bytes at all", answered.media[1].port) == await other.hears()
        assert other.send(b"\x00\x01", offered.media[1].port) == await one.hears()
        assert stream(session.ask("query"), "a")["stats"]["packets"] == 1


async def test_a_late_offer_works_the_other_way_round() -> None:
    with a_worker() as worker, phones(IP6) as (phone,):
        session = Session(worker)
        ours = synthesise_offer(("ulaw", "alaw"), IP6, session_id=1)
        shown = SessionDescription.parse(session.offer(ours, IP6, from_tag="app", to_tag="a"))
        assert shown.audio is not None
        assert shown.audio.connection is not None
        assert shown.audio.connection.address == "::1"
        assert shown.audio.direction is Direction.SENDRECV
        session.answer(phone.sdp(), from_tag="app", to_tag="a")
        assert session.ask("play media", from_tag="a", file="beep")["result"] == "ok"
        await phone.hears()


async def test_an_application_keeps_no_ports() -> None:
    with a_worker() as worker:
        session = Session(worker)
        session.offer(PHONE4, IP4, to_tag="app")
        assert worker.figures().ports_in_use == 2
        answer = synthesise_answer(PHONE4, ("ulaw",), session_id=1)
        assert answer is not None
        shown = SessionDescription.parse(session.answer(answer, to_tag="app"))
        assert shown.audio is not None
        assert shown.audio.direction is Direction.SENDRECV, "an application is no hold"
        assert worker.figures().ports_in_use == 1


async def test_an_application_known_as_one_gets_no_ports_at_all() -> None:
    with a_worker() as worker:
        session = Session(worker)
        shown = session.offer(PHONE4, IP4, to_tag="app", flags=["application"])
        assert b"c=IN IP4 anonymous.invalid" in shown
        assert worker.figures().ports_in_use == 1


# --- local addresses -----------------------------------------------------------------------------------------------


async def test_a_wildcard_shows_the_address_the_kernel_would_use_toward_the_peer() -> None:
    with a_worker(bind=WILDCARDS) as worker:
        session = Session(worker)
        near = session.offer(PHONE4, IP4, sent_to=["IP4", "127.0.0.1"], received_from=["IP4", "127.0.0.1"])
        assert b"c=IN IP4 127.0.0.1" in near
        assert b"c=IN IP4 127.0.0.1" in session.answer(PHONE4)
        six = Session(worker, "six").offer(PHONE6, IP6, sent_to=["IP6", "::1"])
        assert b"c=IN IP6 ::1" in six


async def test_a_wildcard_is_never_shown() -> None:
    with a_worker(bind=WILDCARDS) as worker:
        for family, sdp in ((IP4, PHONE4), (IP6, PHONE6)):
            shown = SessionDescription.parse(Session(worker, family.sdp).offer(sdp, family))
            assert shown.audio is not None
            assert not shown.audio.null_address


async def test_the_advertised_address_is_shown_instead() -> None:
    with a_worker(advertised={IP4: "203.0.113.1"}) as worker:
        session = Session(worker)
        assert b"c=IN IP4 203.0.113.1" in session.offer(PHONE6, IP4)
        assert b"c=IN IP6 ::1" in session.answer(PHONE4)


async def test_a_family_that_is_off_is_refused_with_its_name() -> None:
    with a_worker(bind={IP4: "127.0.0.1"}) as worker:
        reply = Session(worker).ask("offer", **tags(address_family="IP6"))
        assert reply == {"result": "error", "error-reason": "no media address of family IP6 is configured"}
        assert worker.figures().ports_in_use == 0
        assert worker.figures().sessions == 0


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["answer", "query", "play media", "stop media"])
async def test_an_unknown_call_has_the_words_of_the_protocol(command: str) -> None:
    with a_worker() as worker:
        reply = Session(worker).ask(command, **tags(file="beep"))
        assert reply == {"result": "error", "error-reason": "Unknown call-id"}


async def test_there_may_be_nothing_to_delete() -> None:
    with a_worker() as worker:
        session = Session(worker)
        assert session.ask("delete") == {"result": "ok", "warning": "Call-ID not found or tags didn't match"}
        session.offer(PHONE4, IP4)
        assert "warning" in session.ask("delete", to_tag="nobody")
        assert worker.figures().sessions == 1


async def test_a_full_worker_says_so_as_the_client_understands() -> None:
    with a_worker(max_sessions=1) as worker:
        Session(worker, "first").offer(PHONE4, IP4)
        second = Session(worker, "second")
        assert second.ask("offer", **tags()) == {"result": "error", "error-reason": "Parallel session limit reached"}
        assert second.ask("offer", **tags(supports=["load limit"])) == {
            "result": "load limit",
            "message": "Parallel session limit reached",
        }
        Session(worker, "first").offer(PHONE4, IP4)
        Session(worker, "first").ask("delete")
        second.offer(PHONE4, IP4)


async def test_without_ports_nothing_of_the_call_remains() -> None:
    with a_worker(port_min=41200, port_max=41201) as worker:
        reply = Session(worker).ask("offer", **tags())
        assert reply == {"result": "error", "error-reason": "Ran out of ports"}
        assert worker.figures().sessions == worker.figures().ports_in_use == 0


async def test_a_branch_that_gets_no_port_leaves_the_call_as_it_was() -> None:
    with a_worker(port_min=41200, port_max=41203) as worker, phones(IP4, IP4) as (caller, callee):
        session = Session(worker)
        to_caller, _ = session.connect(caller, callee)
        assert session.ask("offer", **tags(sdp=caller.sdp(), to_tag="c"))["error-reason"] == "Ran out of ports"
        assert set(session.ask("query")["tags"]) == {"a", "b"}
        assert caller.send(caller.packet(), to_caller) == await callee.hears()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({}, 'Dictionary contains no key "command"'),
        ({"command": 7}, 'Dictionary contains no key "command"'),
        ({"command": "dance"}, "Unrecognized command"),
        ({"command": "offer"}, "No SDP in message"),
        ({"command": "offer", "sdp": PHONE4}, "No from-tag in message"),
        ({"command": "offer", "sdp": PHONE4, "from-tag": "a"}, "No call-id in message"),
        ({"command": "offer", "sdp": b"junk", "from-tag": "a", "call-id": "x"}, "v=: does not start with version 0"),
        (
            {"command": "offer", "sdp": PHONE4, "from-tag": "a", "to-tag": "a", "call-id": "x"},
            "A party cannot call itself",
        ),
        (
            {"command": "offer", "sdp": PHONE4, "from-tag": "a", "call-id": "x", "media-echo": "up"},
            "Unknown media-echo 'up'",
        ),
    ],
)
async def test_a_request_that_makes_no_sense_is_told_why(message: dict[str, Any], reason: str) -> None:
    with a_worker() as worker:
        assert worker.handle(message) == {"result": "error", "error-reason": reason}
        assert worker.figures().refused == 1


async def test_an_answer_needs_its_offer() -> None:
    with a_worker() as worker:
        session = Session(worker)
        session.offer(PHONE4, IP4)
        assert session.ask("answer", **tags(to_tag="c"))["error-reason"] == "No offer for these tags"
        assert session.ask("answer", **tags(from_tag="c"))["error-reason"] == "No offer for these tags"


async def test_a_call_has_a_bounded_number_of_tags() -> None:
    with a_worker() as worker:
        session = Session(worker)
        for number in range(63):
            session.offer(PHONE4, IP4, to_tag=f"b{number}")
        assert session.ask("offer", **tags(to_tag="one too many"))["result"] == "error"


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.binary(max_size=8) | st.just(PHONE4) | st.just(PHONE6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(
    (
        *("call-id", "from-tag", "to-tag", "sdp", "flags", "replace", "address-family", "received-from", "sent-to"),
        *("media-echo", "file", "files", "repeat-times", "limit", "supports"),
    )
)
COMMANDS = st.sampled_from(("ping", "offer", "answer", "delete", "query", "list", "play media", "stop media", "?"))
USUAL = st.fixed_dictionaries({}, optional={"call-id": st.just("c"), "from-tag": st.just("a"), "to-tag": st.just("b")})


@given(st.lists(st.tuples(COMMANDS, USUAL, st.dictionaries(KEYS, VALUES, max_size=4)), max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_dictionary_makes_the_worker_raise(requests: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
    async def ask_all() -> None:
        with a_worker() as worker:
            for command, usual, odd in requests:
                reply = worker.handle({"command": command, "sdp": PHONE4, **usual, **odd})
                assert reply["result"] in ("ok", "pong", "error")

    asyncio.run(ask_all())


# --- the life of a call --------------------------------------------------------------------------------------------


async def test_ping_and_list() -> None:
    with a_worker() as worker:
        assert worker.handle({"command": "ping"}) == {"result": "pong"}
        for name in "xyz":
            Session(worker, name).offer(PHONE4, IP4)
        assert worker.handle({"command": "list"}) == {"result": "ok", "calls": ["x", "y", "z"]}
        assert worker.handle({"command": "list", "limit": 2})["calls"] == ["x", "y"]


async def test_an_offer_may_come_before_the_other_tag_is_known() -> None:
    """As Kamailio sends it."""
    with a_worker() as worker, phones(IP4, IP6) as (caller, callee):
        session = Session(worker)
        offered = session.ask("offer", from_tag="a", sdp=caller.sdp(), address_family="IP6")["sdp"]
        to_caller = audio_port(session.answer(callee.sdp()))
        assert caller.send(caller.packet(), to_caller) == await callee.hears()
        assert callee.send(callee.packet(), audio_port(offered)) == await caller.hears()
        assert set(session.ask("query")["tags"]) == {"a", "b"}


@pytest.mark.parametrize("keys", [{}, {"from_tag": "a"}, {"from_tag": "a", "to_tag": "b"}])
async def test_a_call_is_deleted_with_its_figures_as_the_reply(keys: dict[str, str]) -> None:
    with a_worker() as worker, phones(IP4, IP4) as (caller, callee):
        session = Session(worker)
        session.connect(caller, callee)
        reply = session.ask("delete", **keys)
        assert set(reply["tags"]) == {"a", "b"}
        assert reply["tags"]["a"]["in dialogue with"] == "b"
        assert worker.figures().sessions == worker.figures().ports_in_use == 0
        assert session.ask("query")["error-reason"] == "Unknown call-id"


async def test_the_last_party_takes_the_call_with_it() -> None:
    with a_worker() as worker:
        session = Session(worker)
        session.offer(PHONE4, IP4)
        session.ask("delete", to_tag="b")
        assert worker.figures().sessions == 1
        session.ask("delete", to_tag="a")
        assert worker.figures().sessions == 0


async def test_a_draining_worker_takes_no_new_calls_and_ends_with_the_last_one() -> None:
    with a_worker() as worker:
        first = Session(worker, "first")
        first.offer(PHONE4, IP4)
        draining = asyncio.create_task(worker.drain())
        await settled()
        assert Session(worker, "second").ask("offer", **tags())["result"] == "error"
        assert first.ask("offer", **tags())["result"] == "ok"
        assert not draining.done()
        first.ask("delete")
        await asyncio.wait_for(draining, 5)


async def test_an_abandoned_call_is_forgotten() -> None:
    clock = ManualClock()
    with a_worker(clock) as worker:
        told: list[str] = []
        worker.on_abandoned = told.append
        Session(worker).offer(PHONE4, IP4)
        clock.now += ABANDONED_S - 1
        worker.sweep()
        assert worker.figures().sessions == 1
        clock.now += 1
        worker.sweep()
        assert (worker.figures().sessions, worker.figures().ports_in_use, told) == (0, 0, ["call"])


# --- silence -----------------------------------------------------------------------------------------------------


class Silence:
    """A call on a manual clock, looked at after some seconds."""

    def __init__(self, worker: Worker, clock: ManualClock) -> None:
        self.worker = worker
        self.clock = clock
        self.session = Session(worker)
        self.notices: list[Notice] = []
        worker.on_notice = self.notices.append

    def after(self, seconds: float) -> list[tuple[str, int]]:
        """Who has been told silent, and for how many milliseconds, when so much time has passed."""
        self.notices.clear()
        self.clock.now += seconds
        self.worker.sweep()
        return [(notice.tag, notice.duration_ms) for notice in self.notices if notice.kind == "timeout"]


async def test_parties_that_fall_silent_are_told_once() -> None:
    clock = ManualClock()
    with a_worker(clock, timeout_s=30) as worker, phones(IP4, IP4) as (caller, callee):
        silence = Silence(worker, clock)
        to_caller, _ = silence.session.connect(caller, callee)
        assert silence.after(20) == []
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        assert silence.after(10) == [("b", 30000)], "it never said a word"
        assert silence.after(20) == [("a", 30000)]
        assert silence.after(100) == []
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        assert silence.after(30) == [("a", 30000)], "it spoke in between"
        assert worker.figures().timeouts == 3


async def test_a_party_that_still_reports_is_there_though_it_says_nothing() -> None:
    clock = ManualClock()
    receiver_report = bytes.fromhex("80c9000100000001")
    with a_worker(clock, timeout_s=30) as worker, phones(IP4, IP4) as (caller, callee):
        silence = Silence(worker, clock)
        to_caller, to_callee = silence.session.connect(caller, callee)
        assert silence.after(20) == []
        for phone, other, port in ((caller, callee, to_caller), (callee, caller, to_callee)):
            phone.send_rtcp(receiver_report, port + 1)
            await other.hears_rtcp()
        assert silence.after(20) == []
        assert {tag for tag, _ in silence.after(30)} == {"a", "b"}


async def test_parties_that_should_be_heard_and_are_not_are_counted() -> None:
    clock = ManualClock()
    with a_worker(clock) as worker, phones(IP4, IP6) as (caller, callee):
        silence = Silence(worker, clock)
        to_caller, to_callee = silence.session.connect(caller, callee)

        def silent_after(seconds: float) -> int:
            silence.after(seconds)
            return worker.figures().silent

        assert silent_after(1.9) == 0, "nobody is expected to speak at once"
        assert silent_after(0.1) == 2
        for phone, other, port in ((caller, callee, to_caller), (callee, caller, to_callee)):
            phone.send(phone.packet(), port)
            await other.hears()
        assert silent_after(1) == 0
        caller.send(caller.packet(), to_caller)
        await callee.hears()
        assert silent_after(1) == 1, "one-way"
        callee.send_rtcp(bytes.fromhex("80c9000100000001"), to_callee + 1)
        await caller.hears_rtcp()
        assert silent_after(1) == 1, "the callee is muted, and reports; now the caller is gone"
        assert silent_after(7) == 2
        silence.session.ask("delete")
        assert worker.figures().silent == 0


async def test_nobody_is_missed_on_hold_or_before_the_answer() -> None:
    clock = ManualClock()
    with a_worker(clock) as worker:
        silence = Silence(worker, clock)
        silence.session.offer(PHONE4, IP4)
        silence.after(10)
        assert worker.figures().silent == 0
        silence.session.answer(PHONE4)
        silence.session.offer(description(IP4, "192.0.2.1", 4000, lines=("a=inactive",)), IP4)
        silence.session.answer(description(IP4, "192.0.2.2", 4000, lines=("a=inactive",)))
        silence.after(10)
        assert worker.figures().silent == 0


async def test_a_party_that_timed_out_is_still_silent() -> None:
    clock = ManualClock()
    with a_worker(clock, timeout_s=30) as worker, phones(IP4, IP4) as (caller, callee):
        silence = Silence(worker, clock)
        silence.session.connect(caller, callee)
        assert len(silence.after(30)) == 2
        silence.after(1)
        assert worker.figures().silent == 2


async def test_packets_the_kernel_dropped_are_counted_also_when_their_port_is_gone() -> None:
    with a_worker() as worker, phones(IP4, IP6) as (caller, callee):
        session = Session(worker)
        to_caller, _ = session.connect(caller, callee)
        assert worker.receive_drops() == 0
        packet = caller.packet(bytes(1400))
        while not worker.receive_drops():  # nobody reads meanwhile: the loop is busy with us
            caller.send(packet, to_caller)
        session.ask("delete")
        assert worker.receive_drops() == 1


async def test_nobody_needs_to_speak_before_the_answer() -> None:
    clock = ManualClock()
    with a_worker(clock, timeout_s=30, hold_timeout_s=30) as worker:
        silence = Silence(worker, clock)
        silence.session.offer(PHONE4, IP4)
        assert silence.after(1000) == []


@pytest.mark.parametrize(
    ("offer", "answer"), [("sendonly", "recvonly"), ("inactive", "inactive"), ("recvonly", "sendonly")]
)
async def test_nobody_needs_to_speak_on_hold_until_the_hold_timeout(offer: str, answer: str) -> None:
    clock = ManualClock()
    with a_worker(clock, timeout_s=30, hold_timeout_s=300) as worker:
        silence = Silence(worker, clock)
        silence.session.offer(description(IP4, "192.0.2.1", 4000, lines=(f"a={offer}",)), IP4)
        silence.session.answer(description(IP4, "192.0.2.2", 4000, lines=(f"a={answer}",)))
        assert silence.after(299) == []
        assert [tag for tag, _ in silence.after(1)] == ["a", "b"]


async def test_hold_by_null_address_is_hold_and_resume_starts_the_time_anew() -> None:
    clock = ManualClock()
    with a_worker(clock, timeout_s=30) as worker:
        silence = Silence(worker, clock)
        silence.session.offer(PHONE4, IP4)
        silence.session.answer(PHONE4)
        silence.session.offer(description(IP4, "0.0.0.0", 4000), IP4)
        silence.session.answer(PHONE4)
        assert silence.after(1000) == []
        silence.session.offer(PHONE4, IP4)
        silence.session.answer(PHONE4)
        assert silence.after(29) == []
        assert [tag for tag, _ in silence.after(1)] == ["a", "b"]


async def test_a_phone_talking_to_an_application_is_expected_to_send() -> None:
    clock = ManualClock()
    with a_worker(clock, timeout_s=30) as worker:
        silence = Silence(worker, clock)
        silence.session.offer(PHONE4, IP4, to_tag="app")
        answer = synthesise_answer(PHONE4, ("ulaw",), session_id=1)
        assert answer is not None
        silence.session.answer(answer, to_tag="app")
        assert silence.after(30) == [("a", 30000)]


async def test_zero_means_never() -> None:
    clock = ManualClock()
    with a_worker(clock) as worker:
        silence = Silence(worker, clock)
        silence.session.offer(PHONE4, IP4)
        silence.session.answer(PHONE4)
        assert silence.after(3000) == []


async def test_silence_is_looked_for_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.media.worker.SWEEP_S", 0.02)
    clock = ManualClock()
    with a_worker(clock, timeout_s=30) as worker:
        told: asyncio.Queue[str] = asyncio.Queue()
        for number in range(25):
            session = Session(worker, f"call{number}")
            session.offer(PHONE4, IP4)
            session.answer(PHONE4)

        def noticed(notice: Notice) -> None:
            told.put_nowait(notice.call_id)
            worker.handle({"command": "delete", "call-id": notice.call_id})

        worker.on_notice = noticed
        clock.now += 30
        async with asyncio.timeout(5):
            assert {await told.get() for _ in range(25)} == {f"call{number}" for number in range(25)}
        assert worker.figures().sessions == 0
