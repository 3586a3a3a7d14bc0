"""docs/transactions.md, drawn from the tables: `python -m services.core.sip.document > FILE`."""

from __future__ import annotations

import sys

from services.core.sip import transaction_table
from services.core.sip.transaction_table import CLIENT, INVITE_CLIENT, INVITE_SERVER, SERVER, Input, State, Table

MACHINES = (
    ("INVITE client", INVITE_CLIENT, State.CALLING, "RFC 3261 §17.1.1 and §9.1, RFC 6026 §7.2"),
    ("Client of any other request", CLIENT, State.TRYING, "RFC 3261 §17.1.2"),
    ("INVITE server", INVITE_SERVER, State.PROCEEDING, "RFC 3261 §17.2.1 and §13.3.1.4, RFC 6026 §7.1"),
    ("Server of any other request", SERVER, State.TRYING, "RFC 3261 §17.2.2, RFC 4320"),
)


def text() -> str:
    """The whole document."""
    _, _, theory = (transaction_table.__doc__ or "").partition("\n\n")
    parts = [
        "# Transactions\n\nMade from `services/core/sip/transaction_table.py` by `make docs`; do not edit.\n",
        theory.replace("`step` is total.", "").strip() + "\n",
    ]
    for name, table, start, source in MACHINES:
        parts.append(f"## {name}\n\n{source}\n\n{_diagram(table, start)}\n{_rows(table)}")
    return "\n".join(parts)


def _diagram(table: Table, start: State) -> str:
    """A Mermaid state diagram: one arrow between two states, with every input that leads along it."""
    arrows: dict[tuple[State, State], list[Input]] = {}
    for state, row in table.items():
        for event, (after, _) in row.items():
            if after is not state:
                arrows.setdefault((state, after), []).append(event)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    for (state, after), events in arrows.items():
        target = "[*]" if after is State.TERMINATED else after
        lines.append(f"    {state} --> {target}: {', '.join(events)}")
    return "\n".join([*lines, "```", ""])


def _rows(table: Table) -> str:
    """The table itself, without the pairs that change and do nothing."""
    lines = ["| state | input | next state | actions |", "|---|---|---|---|"]
    for state, row in table.items():
        for event, (after, actions) in row.items():
            if after is not state or actions:
                lines.append(f"| {state} | {event} | {after} | {'; '.join(actions)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(text())
