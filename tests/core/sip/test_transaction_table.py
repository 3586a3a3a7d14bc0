"""Every pair of state and input of the four machines: against the RFCs' figures, and through the real layer."""

from __future__ import annotations

import pytest

from services.core.sip.message import Request, Response
from services.core.sip.transaction import (
    AckArrived,
    AckMissing,
    ResponseArrived,
    SendMessage,
    TransactionEnded,
    TransactionFailed,
)
from services.core.sip.transaction_model import build_ack
from services.core.sip.transaction_table import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    Action,
    Input,
    State,
    Table,
    received,
    step,
    to_send,
)
from tests.core.sip.exchange import Driven, a_request, a_response, our_request

MACHINES = {"INVITE client": INVITE_CLIENT, "client": CLIENT, "INVITE server": INVITE_SERVER, "server": SERVER}

# Transcribed from RFC 3261 figures 5-8, RFC 6026 7.1 and 7.2, RFC 4320 and RFC 3261 9.1: state, input -> state, and
# what is seen of it (s: something is sent, u: the user is told). What is not listed changes and shows nothing.
FIGURES = {
    "INVITE client": """
        calling      timer A            calling     s
        calling      timer B            terminated  u
        calling      100 received       proceeding  -
        calling      101-199 received   proceeding  u
        calling      2xx received       accepted    u
        calling      300-699 received   completed   su
        calling      transport error    terminated  u
        calling      cancel             cancelling  -
        cancelling   timer A            cancelling  s
        cancelling   timer B            terminated  u
        cancelling   100 received       cancelled   s
        cancelling   101-199 received   cancelled   su
        cancelling   2xx received       accepted    u
        cancelling   300-699 received   completed   su
        cancelling   transport error    terminated  u
        proceeding   101-199 received   proceeding  u
        proceeding   2xx received       accepted    u
        proceeding   300-699 received   completed   su
        proceeding   cancel             cancelled   s
        cancelled    101-199 received   cancelled   u
        cancelled    2xx received       accepted    u
        cancelled    300-699 received   completed   su
        cancelled    timer of the CANCEL terminated u
        completed    300-699 received   completed   s
        completed    transport error    terminated  -
        completed    timer D            terminated  -
        completed    no room for it any more terminated -
        accepted     2xx received       accepted    u
        accepted     timer M            terminated  -
        accepted     no room for it any more terminated -
    """,
    "client": """
        trying       timer E            trying      s
        trying       timer F            terminated  u
        trying       100 received       proceeding  -
        trying       101-199 received   proceeding  u
        trying       2xx received       completed   u
        trying       300-699 received   completed   u
        trying       transport error    terminated  u
        proceeding   timer E            proceeding  s
        proceeding   timer F            terminated  u
        proceeding   101-199 received   proceeding  u
        proceeding   2xx received       completed   u
        proceeding   300-699 received   completed   u
        proceeding   transport error    terminated  u
        completed    timer K            terminated  -
        completed    no room for it any more terminated -
    """,
    "INVITE server": """
        proceeding   request again      proceeding  s
        proceeding   100 to send        proceeding  s
        proceeding   101-199 to send    proceeding  s
        proceeding   2xx to send        accepted    s
        proceeding   300-699 to send    completed   s
        proceeding   no answer will be sent terminated -
        proceeding   timer of the 100   proceeding  s
        completed    request again      completed   s
        completed    timer G            completed   s
        completed    timer H            terminated  -
        completed    no room for it any more terminated -
        completed    ack                confirmed   -
        confirmed    timer I            terminated  -
        confirmed    no room for it any more terminated -
        accepted     2xx to send        accepted    s
        accepted     timer of the 2xx   accepted    s
        accepted     ack                accepted    u
        accepted     2xx was acknowledged acknowledged -
        accepted     timer L            terminated  u
        acknowledged ack                acknowledged u
        acknowledged timer L            terminated  -
        acknowledged no room for it any more terminated -
    """,
    "server": """
        trying       100 to send        proceeding  s
        trying       2xx to send        completed   s
        trying       300-699 to send    completed   s
        trying       no answer will be sent terminated -
        trying       timer of the 100   proceeding  s
        proceeding   request again      proceeding  s
        proceeding   2xx to send        completed   s
        proceeding   300-699 to send    completed   s
        proceeding   no answer will be sent terminated -
        proceeding   timer of the silent user terminated -
        completed    request again      completed   s
        completed    timer J            terminated  -
        completed    no room for it any more terminated -
    """,
}


def figure(machine: str) -> dict[tuple[State, Input], tuple[State, set[str]]]:
    """The listed pairs of a machine."""
    rows: dict[tuple[State, Input], tuple[State, set[str]]] = {}
    for line in FIGURES[machine].strip().splitlines():
        words = line.split()
        seen = set(words[-1]) - {"-"}
        rows[State(words[0]), Input(" ".join(words[1:-2]))] = (State(words[-2]), seen)
    return rows


PAIRS = [
    pytest.param(machine, state, event, id=f"{machine}, {state}, {event}")
    for machine, table in MACHINES.items()
    for state in table
    for event in Input
]


def shows(actions: tuple[Action, ...]) -> set[str]:
    """What the actions of a step let the world see: s something sent, u the user told."""
    seen = set()
    for action in actions:
        if action.name.startswith(("SEND", "RESEND")):
            seen.add("s")
        if action.name.startswith(("DELIVER", "TELL")):
            seen.add("u")
    return seen


@pytest.mark.parametrize(("machine", "state", "event"), PAIRS)
def test_every_pair_does_what_the_figures_say(machine: str, state: State, event: Input) -> None:
    after, actions = step(MACHINES[machine], state, event)
    expected, seen = figure(machine).get((state, event), (state, set()))
    assert after is expected
    assert shows(actions) == seen


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(("machine", "state", "event"), PAIRS)
def test_every_pair_through_the_layer(machine: str, state: State, event: Input, transport: str) -> None:
    """The layer does exactly the actions of the step, and a transaction that has ended leaves nothing behind."""
    driven = Driven(transport)
    table = MACHINES[machine]
    transaction, message = placed(driven, machine, state, event)
    outputs: list[object] = []
    driven.layer._step(transaction, event, driven.now, outputs, message)  # type: ignore[arg-type]

    after, actions = step(table, state, event)
    told = (ResponseArrived, AckArrived, TransactionFailed, AckMissing)
    seen = {"s" for output in outputs if isinstance(output, SendMessage)}
    seen |= {"u" for output in outputs if isinstance(output, told)}
    assert seen == shows(actions)
    if transaction.state is not after:  # type: ignore[attr-defined]
        assert transport == "tcp", "only zero timers go further at once"
        assert transaction.state is State.TERMINATED  # type: ignore[attr-defined]
    ended = [output for output in outputs if isinstance(output, TransactionEnded)]
    assert len(ended) == (transaction.state is State.TERMINATED)  # type: ignore[attr-defined]
    if ended:
        assert outputs[-1] is ended[0]
        assert driven.layer.state_of(ended[0].key) is None
        assert transaction.retransmit_entry == transaction.deadline_entry == 0  # type: ignore[attr-defined]


def placed(driven: Driven, machine: str, state: State, event: Input) -> tuple[object, Request | Response | None]:
    """A transaction put into a state, and the message that the input comes with."""
    layer = driven.layer
    method = "INVITE" if machine.startswith("INVITE") else "OPTIONS"
    if machine.endswith("client"):
        request = our_request(method)
        client = layer._clients[driven.ask(request)]
        if state is State.COMPLETED and method == "INVITE":
            client.ack = SendMessage(build_ack(request, a_response(request, 486)).to_bytes(), driven.flow)
        client.state = state
        statuses = {Input.RECEIVE_100: 100, Input.RECEIVE_1XX: 180, Input.RECEIVE_2XX: 200, Input.RECEIVE_ERROR: 486}
        return client, a_response(request, statuses[event]) if event in statuses else None
    request = a_request(method)
    server = layer._servers[driven.arrived(request)]
    if state not in (State.TRYING, State.TERMINATED):
        server.kept = SendMessage(a_response(request, 180).to_bytes(), driven.flow)
    server.state = state
    if event is Input.ACK:
        return server, a_request("ACK", to_tag="ourtag")
    sends = {Input.SEND_100: 100, Input.SEND_1XX: 180, Input.SEND_2XX: 200, Input.SEND_ERROR: 486}
    return server, a_response(request, sends[event]) if event in sends else None


@pytest.mark.parametrize("machine", MACHINES)
def test_tables_are_closed_and_every_state_can_be_reached_and_left(machine: str) -> None:
    table = MACHINES[machine]
    reached = {row[0] for state in table for row in table[state].values() if row[0] is not state}
    start = State.CALLING if machine == "INVITE client" else State.PROCEEDING if "INVITE" in machine else State.TRYING
    assert reached <= set(table)
    assert reached | {start} == set(table)
    for state in table:
        assert set(table[state]) == set(Input)
        leaves = any(row[0] is not state for row in table[state].values())
        assert leaves is (state is not State.TERMINATED)


@pytest.mark.parametrize("machine", MACHINES)
def test_starting_a_timer_that_may_be_zero_is_the_last_action(machine: str) -> None:
    zero_on_streams = {Action.START_D, Action.START_I, Action.START_J, Action.START_K}
    for state in MACHINES[machine].values():
        for _, actions in state.values():
            assert not zero_on_streams & set(actions[:-1])


def test_tables_cannot_be_changed() -> None:
    table: Table = SERVER
    with pytest.raises(TypeError):
        table[State.TRYING][Input.REQUEST] = (State.TERMINATED, ())  # type: ignore[index]


@pytest.mark.parametrize(
    ("status", "heard", "said"),
    [
        (100, Input.RECEIVE_100, Input.SEND_100),
        (101, Input.RECEIVE_1XX, Input.SEND_1XX),
        (199, Input.RECEIVE_1XX, Input.SEND_1XX),
        (200, Input.RECEIVE_2XX, Input.SEND_2XX),
        (299, Input.RECEIVE_2XX, Input.SEND_2XX),
        (300, Input.RECEIVE_ERROR, Input.SEND_ERROR),
        (699, Input.RECEIVE_ERROR, Input.SEND_ERROR),
    ],
)
def test_a_status_is_one_input(status: int, heard: Input, said: Input) -> None:
    assert received(status) is heard
    assert to_send(status) is said
