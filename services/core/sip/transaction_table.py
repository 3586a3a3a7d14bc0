"""The theory of transactions: four state machines as tables (state, input) -> (state, actions).

A transaction is one request and its responses over one hop (RFC 3261 §17). Its purpose is that the transaction user
(the call, the registrar) sees each request once and each answer once although datagrams get lost and doubled:
clients repeat the request until something comes back, servers repeat the last answer whenever the request comes
again, and both sides linger for a while so that late copies meet someone who knows them.

There are four machines, for {INVITE, anything else} x {client, server}. INVITE differs because people answer it:
it may stay PROCEEDING for minutes, its final answer is acknowledged by an ACK, and who acknowledges depends on the
answer. A 300-699 is acknowledged hop by hop, by the transaction itself (COMPLETED, CONFIRMED). A 2xx is acknowledged
end to end by the user, with an ACK that is a transaction of its own kind; RFC 6026 added ACCEPTED, in which the
transaction stays to absorb copies of the INVITE and to let every 2xx (one per fork, and their copies) through.

Where this table goes beyond the RFCs' figures:

* ACCEPTED of a server also does the user's duty of RFC 3261 §13.3.1.4: the 2xx is repeated, over any transport,
  T1 apart doubling to T2, until the user says it saw the ACK. That is the step to ACKNOWLEDGED, which is ACCEPTED
  without the repetition. When timer L finds the transaction still in ACCEPTED, the user is told the ACK is missing.
* A CANCEL may not be sent before a provisional answer came (§9.1): CANCELLING is CALLING with that wish remembered,
  CANCELLED is PROCEEDING after the CANCEL went out, with the 64*T1 that §9.1 gives the peer to end it.
* A non-INVITE server never says 408 and says 100 only late (RFC 4320): GIVE_UP ends it in silence, and so does
  TIMER_ABANDON at 64*T1, when the client has stopped waiting.
* Once nothing is owed a transaction only waits for copies. It LINGERs: it holds its last bytes and no more, does not
  count against the bound on work in progress, and the oldest that lingers is evicted when too many do.
* A failed transport is told to the user of a client where an answer is owed. A ringing INVITE is left alone: its peer
  answers over a new connection (§18.2.2). Servers never hear of it: their answers reconnect, or timers end them.

A pair that is not written here leaves the state and does nothing: a copy of something already done, or a wish of
the user that came too late (an answer after the final answer). `step` is total.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias


class State(StrEnum):
    """States of RFC 3261 §17 and RFC 6026, and three of ours (CANCELLING, CANCELLED, ACKNOWLEDGED)."""

    CALLING = "calling"
    CANCELLING = "cancelling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    ACKNOWLEDGED = "acknowledged"
    TERMINATED = "terminated"


class Input(StrEnum):
    """Everything that can happen to a transaction."""

    # From the network.
    REQUEST = "request again"
    ACK = "ack"
    RECEIVE_100 = "100 received"
    RECEIVE_1XX = "101-199 received"
    RECEIVE_2XX = "2xx received"
    RECEIVE_ERROR = "300-699 received"
    TRANSPORT_ERROR = "transport error"
    # From the user.
    SEND_100 = "100 to send"
    SEND_1XX = "101-199 to send"
    SEND_2XX = "2xx to send"
    SEND_ERROR = "300-699 to send"
    ACKNOWLEDGE = "2xx was acknowledged"
    CANCEL = "cancel"
    GIVE_UP = "no answer will be sent"
    # From the layer.
    EVICT = "no room for it any more"
    # From the clock. Letters are RFC 3261's and RFC 6026's.
    TIMER_A = "timer A"
    TIMER_B = "timer B"
    TIMER_D = "timer D"
    TIMER_E = "timer E"
    TIMER_F = "timer F"
    TIMER_G = "timer G"
    TIMER_H = "timer H"
    TIMER_I = "timer I"
    TIMER_J = "timer J"
    TIMER_K = "timer K"
    TIMER_L = "timer L"
    TIMER_M = "timer M"
    TIMER_2XX = "timer of the 2xx"
    TIMER_TRYING = "timer of the 100"
    TIMER_CANCEL = "timer of the CANCEL"
    TIMER_ABANDON = "timer of the silent user"


class Action(StrEnum):
    """What a step asks the layer to do, in order. Starting a zero timer is only ever the last of them."""

    SEND = "send the user's response and keep it"
    RESEND = "send the kept message again"
    SEND_TRYING = "send a 100 of our own and keep it"
    SEND_ACK = "build the ACK, keep it and send it"
    RESEND_ACK = "send the ACK again"
    SEND_CANCEL = "build the CANCEL and start its transaction"
    DELIVER = "give the response to the user"
    DELIVER_ACK = "give the ACK to the user"
    TELL_TIMEOUT = "tell the user that no answer came"
    TELL_TRANSPORT = "tell the user that the transport failed"
    TELL_ACK_MISSING = "tell the user that no ACK came"
    BACK_OFF = "retransmit later, at twice the interval"
    SLOW_DOWN = "retransmit later, at T2"
    LINGER = "keep little and wait for copies"
    STOP_RETRANSMIT = "stop retransmitting"
    STOP_DEADLINE = "stop the deadline"
    START_A = "start timer A"
    START_B = "start timer B"
    START_D = "start timer D"
    START_E = "start timer E"
    START_F = "start timer F"
    START_G = "start timer G"
    START_H = "start timer H"
    START_I = "start timer I"
    START_J = "start timer J"
    START_K = "start timer K"
    START_L = "start timer L"
    START_M = "start timer M"
    START_2XX = "start retransmitting the 2xx"
    START_TRYING = "start the timer of an INVITE's 100"
    START_LATE_TRYING = "start the timer of a non-INVITE's 100"
    START_CANCEL = "start the timer of the CANCEL"
    START_ABANDON = "start the timer of the silent user"


Step: TypeAlias = tuple[State, tuple[Action, ...]]
Table: TypeAlias = Mapping[State, Mapping[Input, Step]]

RETRANSMISSION_TIMERS = frozenset({Input.TIMER_A, Input.TIMER_E, Input.TIMER_G, Input.TIMER_2XX})
"""The timers that repeat a message; every other timer is a deadline."""

S, I, A = State, Input, Action  # noqa: E741 - the tables below are read as columns


def _table(rows: dict[State, dict[Input, Step]]) -> Table:
    """Freeze `rows` and make them total: an unwritten pair stays where it is."""
    return MappingProxyType(
        {
            state: MappingProxyType({event: row.get(event, (state, ())) for event in Input})
            for state, row in {**rows, S.TERMINATED: {}}.items()
        }
    )


INVITE_CLIENT = _table(
    {
        S.CALLING: {
            I.TIMER_A: (S.CALLING, (A.RESEND, A.BACK_OFF)),
            I.TIMER_B: (S.TERMINATED, (A.TELL_TIMEOUT,)),
            I.RECEIVE_100: (S.PROCEEDING, (A.STOP_RETRANSMIT, A.STOP_DEADLINE)),
            I.RECEIVE_1XX: (S.PROCEEDING, (A.STOP_RETRANSMIT, A.STOP_DEADLINE, A.DELIVER)),
            I.RECEIVE_2XX: (S.ACCEPTED, (A.STOP_RETRANSMIT, A.DELIVER, A.LINGER, A.START_M)),
            I.RECEIVE_ERROR: (S.COMPLETED, (A.STOP_RETRANSMIT, A.SEND_ACK, A.DELIVER, A.LINGER, A.START_D)),
            I.TRANSPORT_ERROR: (S.TERMINATED, (A.TELL_TRANSPORT,)),
            I.CANCEL: (S.CANCELLING, ()),
        },
        S.CANCELLING: {
            I.TIMER_A: (S.CANCELLING, (A.RESEND, A.BACK_OFF)),
            I.TIMER_B: (S.TERMINATED, (A.TELL_TIMEOUT,)),
            I.RECEIVE_100: (S.CANCELLED, (A.STOP_RETRANSMIT, A.SEND_CANCEL, A.START_CANCEL)),
            I.RECEIVE_1XX: (S.CANCELLED, (A.STOP_RETRANSMIT, A.DELIVER, A.SEND_CANCEL, A.START_CANCEL)),
            I.RECEIVE_2XX: (S.ACCEPTED, (A.STOP_RETRANSMIT, A.DELIVER, A.LINGER, A.START_M)),
            I.RECEIVE_ERROR: (S.COMPLETED, (A.STOP_RETRANSMIT, A.SEND_ACK, A.DELIVER, A.LINGER, A.START_D)),
            I.TRANSPORT_ERROR: (S.TERMINATED, (A.TELL_TRANSPORT,)),
        },
        S.PROCEEDING: {
            I.RECEIVE_1XX: (S.PROCEEDING, (A.DELIVER,)),
            I.RECEIVE_2XX: (S.ACCEPTED, (A.DELIVER, A.LINGER, A.START_M)),
            I.RECEIVE_ERROR: (S.COMPLETED, (A.SEND_ACK, A.DELIVER, A.LINGER, A.START_D)),
            I.CANCEL: (S.CANCELLED, (A.SEND_CANCEL, A.START_CANCEL)),
        },
        S.CANCELLED: {
            I.RECEIVE_1XX: (S.CANCELLED, (A.DELIVER,)),
            I.RECEIVE_2XX: (S.ACCEPTED, (A.DELIVER, A.LINGER, A.START_M)),
            I.RECEIVE_ERROR: (S.COMPLETED, (A.SEND_ACK, A.DELIVER, A.LINGER, A.START_D)),
            I.TIMER_CANCEL: (S.TERMINATED, (A.TELL_TIMEOUT,)),
        },
        S.COMPLETED: {
            I.RECEIVE_ERROR: (S.COMPLETED, (A.RESEND_ACK,)),
            I.TRANSPORT_ERROR: (S.TERMINATED, ()),
            I.TIMER_D: (S.TERMINATED, ()),
            I.EVICT: (S.TERMINATED, ()),
        },
        S.ACCEPTED: {
            I.RECEIVE_2XX: (S.ACCEPTED, (A.DELIVER,)),
            I.TIMER_M: (S.TERMINATED, ()),
            I.EVICT: (S.TERMINATED, ()),
        },
    }
)
"""RFC 3261 §17.1.1 (figure 5) with RFC 6026 §7.2 and the CANCEL of §9.1."""

CLIENT = _table(
    {
        S.TRYING: {
            I.TIMER_E: (S.TRYING, (A.RESEND, A.BACK_OFF)),
            I.TIMER_F: (S.TERMINATED, (A.TELL_TIMEOUT,)),
            I.RECEIVE_100: (S.PROCEEDING, ()),
            I.RECEIVE_1XX: (S.PROCEEDING, (A.DELIVER,)),
            I.RECEIVE_2XX: (S.COMPLETED, (A.STOP_RETRANSMIT, A.DELIVER, A.LINGER, A.START_K)),
            I.RECEIVE_ERROR: (S.COMPLETED, (A.STOP_RETRANSMIT, A.DELIVER, A.LINGER, A.START_K)),
            I.TRANSPORT_ERROR: (S.TERMINATED, (A.TELL_TRANSPORT,)),
        },
        S.PROCEEDING: {
            I.TIMER_E: (S.PROCEEDING, (A.RESEND, A.SLOW_DOWN)),
            I.TIMER_F: (S.TERMINATED, (A.TELL_TIMEOUT,)),
            I.RECEIVE_1XX: (S.PROCEEDING, (A.DELIVER,)),
            I.RECEIVE_2XX: (S.COMPLETED, (A.STOP_RETRANSMIT, A.DELIVER, A.LINGER, A.START_K)),
            I.RECEIVE_ERROR: (S.COMPLETED, (A.STOP_RETRANSMIT, A.DELIVER, A.LINGER, A.START_K)),
            I.TRANSPORT_ERROR: (S.TERMINATED, (A.TELL_TRANSPORT,)),
        },
        S.COMPLETED: {
            I.TIMER_K: (S.TERMINATED, ()),
            I.EVICT: (S.TERMINATED, ()),
        },
    }
)
"""RFC 3261 §17.1.2 (figure 6)."""

INVITE_SERVER = _table(
    {
        S.PROCEEDING: {
            I.REQUEST: (S.PROCEEDING, (A.RESEND,)),
            I.SEND_100: (S.PROCEEDING, (A.STOP_DEADLINE, A.SEND)),
            I.SEND_1XX: (S.PROCEEDING, (A.STOP_DEADLINE, A.SEND)),
            I.SEND_2XX: (S.ACCEPTED, (A.SEND, A.START_2XX, A.START_L)),
            I.SEND_ERROR: (S.COMPLETED, (A.SEND, A.LINGER, A.START_G, A.START_H)),
            I.GIVE_UP: (S.TERMINATED, ()),
            I.TIMER_TRYING: (S.PROCEEDING, (A.SEND_TRYING,)),
        },
        S.COMPLETED: {
            I.REQUEST: (S.COMPLETED, (A.RESEND,)),
            I.TIMER_G: (S.COMPLETED, (A.RESEND, A.BACK_OFF)),
            I.TIMER_H: (S.TERMINATED, ()),
            I.EVICT: (S.TERMINATED, ()),
            I.ACK: (S.CONFIRMED, (A.STOP_RETRANSMIT, A.START_I)),
        },
        S.CONFIRMED: {
            I.TIMER_I: (S.TERMINATED, ()),
            I.EVICT: (S.TERMINATED, ()),
        },
        S.ACCEPTED: {
            I.SEND_2XX: (S.ACCEPTED, (A.SEND,)),
            I.TIMER_2XX: (S.ACCEPTED, (A.RESEND, A.BACK_OFF)),
            I.ACK: (S.ACCEPTED, (A.DELIVER_ACK,)),
            I.ACKNOWLEDGE: (S.ACKNOWLEDGED, (A.STOP_RETRANSMIT, A.LINGER)),
            I.TIMER_L: (S.TERMINATED, (A.TELL_ACK_MISSING,)),
        },
        S.ACKNOWLEDGED: {
            I.ACK: (S.ACKNOWLEDGED, (A.DELIVER_ACK,)),
            I.TIMER_L: (S.TERMINATED, ()),
            I.EVICT: (S.TERMINATED, ()),
        },
    }
)
"""RFC 3261 §17.2.1 (figure 7) with RFC 6026 §7.1 and the 2xx of RFC 3261 §13.3.1.4."""

SERVER = _table(
    {
        S.TRYING: {
            I.SEND_100: (S.PROCEEDING, (A.SEND, A.START_ABANDON)),
            I.SEND_2XX: (S.COMPLETED, (A.SEND, A.LINGER, A.START_J)),
            I.SEND_ERROR: (S.COMPLETED, (A.SEND, A.LINGER, A.START_J)),
            I.GIVE_UP: (S.TERMINATED, ()),
            I.TIMER_TRYING: (S.PROCEEDING, (A.SEND_TRYING, A.START_ABANDON)),
        },
        S.PROCEEDING: {
            I.REQUEST: (S.PROCEEDING, (A.RESEND,)),
            I.SEND_2XX: (S.COMPLETED, (A.SEND, A.LINGER, A.START_J)),
            I.SEND_ERROR: (S.COMPLETED, (A.SEND, A.LINGER, A.START_J)),
            I.GIVE_UP: (S.TERMINATED, ()),
            I.TIMER_ABANDON: (S.TERMINATED, ()),
        },
        S.COMPLETED: {
            I.REQUEST: (S.COMPLETED, (A.RESEND,)),
            I.TIMER_J: (S.TERMINATED, ()),
            I.EVICT: (S.TERMINATED, ()),
        },
    }
)
"""RFC 3261 §17.2.2 (figure 8) with RFC 4320."""


def step(table: Table, state: State, event: Input) -> Step:
    """The step of `table` for this pair; a state that the table has not got is our bug (KeyError)."""
    return table[state][event]


def received(status: int) -> Input:
    """The input a response from the network is."""
    if status >= 300:
        return Input.RECEIVE_ERROR
    if status >= 200:
        return Input.RECEIVE_2XX
    return Input.RECEIVE_1XX if status > 100 else Input.RECEIVE_100


def to_send(status: int) -> Input:
    """The input a response of the user is."""
    if status >= 300:
        return Input.SEND_ERROR
    if status >= 200:
        return Input.SEND_2XX
    return Input.SEND_1XX if status > 100 else Input.SEND_100
