"""Q.850 causes, SIP statuses and dial statuses, and how they follow from each other (RFC 3398, Asterisk's tables)."""

from __future__ import annotations

NO_ROUTE = 3
NORMAL_CLEARING = 16
USER_BUSY = 17
NO_USER_RESPONSE = 18
NO_ANSWER = 19
SUBSCRIBER_ABSENT = 20
CALL_REJECTED = 21
UNALLOCATED = 1
DESTINATION_OUT_OF_ORDER = 27
NETWORK_OUT_OF_ORDER = 38
NORMAL_UNSPECIFIED = 31
CONGESTION = 34
TEMPORARY_FAILURE = 41
BEARER_NOT_AVAILABLE = 58
INCOMPATIBLE = 88
RECOVERY_ON_TIMER = 102
INTERWORKING = 127

_STATUS_TO_CAUSE = {
    401: CALL_REJECTED, 402: CALL_REJECTED, 403: CALL_REJECTED, 404: UNALLOCATED, 405: INTERWORKING,
    407: CALL_REJECTED, 408: NO_USER_RESPONSE, 409: TEMPORARY_FAILURE, 410: UNALLOCATED, 414: INTERWORKING,
    415: BEARER_NOT_AVAILABLE, 420: INTERWORKING, 480: NO_ANSWER, 481: INTERWORKING, 482: INTERWORKING,
    483: INTERWORKING,
    484: 28, 485: UNALLOCATED, 486: USER_BUSY, 487: NORMAL_CLEARING, 488: BEARER_NOT_AVAILABLE, 491: TEMPORARY_FAILURE,
    500: TEMPORARY_FAILURE, 502: NETWORK_OUT_OF_ORDER, 503: CONGESTION, 504: RECOVERY_ON_TIMER,
    600: USER_BUSY, 603: CALL_REJECTED, 604: UNALLOCATED, 606: BEARER_NOT_AVAILABLE,
}  # fmt: skip

_CAUSE_TO_STATUS = {
    UNALLOCATED: 404, 2: 404, NO_ROUTE: 404, NORMAL_CLEARING: 603, USER_BUSY: 486,
    NO_USER_RESPONSE: 408, NO_ANSWER: 480,
    SUBSCRIBER_ABSENT: 480, CALL_REJECTED: 403, 22: 410, DESTINATION_OUT_OF_ORDER: 502, 28: 484, 29: 501,
    NORMAL_UNSPECIFIED: 480, CONGESTION: 503, NETWORK_OUT_OF_ORDER: 503, TEMPORARY_FAILURE: 503, 42: 503,
    BEARER_NOT_AVAILABLE: 488, 65: 488, INCOMPATIBLE: 488, RECOVERY_ON_TIMER: 504, INTERWORKING: 500,
}  # fmt: skip

_BUSY_STATUSES = frozenset({486, 600, 603})
_CONGESTION_STATUSES = frozenset({500, 502, 503, 504})
_NO_ANSWER_STATUSES = frozenset({480, 487})


def cause_of_status(status: int) -> int:
    """The Q.850 cause a SIP failure stands for."""
    return _STATUS_TO_CAUSE.get(status, NORMAL_UNSPECIFIED if status < 500 else INTERWORKING)


def status_of_cause(cause: int) -> int:
    """The final response that refuses a caller for a Q.850 cause."""
    return _CAUSE_TO_STATUS.get(cause, 603 if cause == 0 else 480)


def dial_status_of(status: int) -> str:
    """What one callee's final response counts as in a Dial, in Asterisk's words."""
    if status in _BUSY_STATUSES:
        return "BUSY"
    if status in _CONGESTION_STATUSES:
        return "CONGESTION"
    if status in _NO_ANSWER_STATUSES:
        return "NOANSWER"
    return "CHANUNAVAIL"


_DIAL_STATUS_CAUSE = {
    "ANSWER": NORMAL_CLEARING, "BUSY": USER_BUSY, "NOANSWER": NO_ANSWER, "CONGESTION": CONGESTION,
    "CHANUNAVAIL": SUBSCRIBER_ABSENT, "CANCEL": NORMAL_CLEARING,
}  # fmt: skip


def cause_of_dial_status(status: str) -> int:
    return _DIAL_STATUS_CAUSE.get(status, NORMAL_CLEARING)


def disposition_of(*, answered: bool, cause: int) -> str:
    """The word Asterisk's CDR has for how a call ended."""
    if answered:
        return "ANSWERED"
    if cause == USER_BUSY:
        return "BUSY"
    if cause == CONGESTION:
        return "CONGESTION"
    if cause in (NORMAL_CLEARING, NO_ANSWER, NO_USER_RESPONSE, 0):
        return "NO ANSWER"
    return "FAILED"
