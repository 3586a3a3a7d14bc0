"""docs/metrics.md, made from the source: `python -m services.core.metrics.document > FILE`.

Metrics are declared where they are counted, each by one call with literal arguments, so the list is read off the code.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVICES = Path(__file__).parents[2]

INTRO = """\
# Metrics

<!-- Made by `make docs` from the calls that declare them; edit those. A test compares. -->

`[metrics] bind=` of `pbx.conf` serves, over HTTP:

| path | what |
|---|---|
| `/metrics` | the figures below, for Prometheus |
| `/healthz` | 200 while the event loop turns |
| `/readyz` | 200 while new work is taken, 503 while the process starts or drains |

Names begin with `pbx_`; what says which process it is (`site`, `node`, `service`) are labels of the scrape. No label is
a name, a number, a call id or an address. Times are in seconds. The figures of the process
(`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` ...) are those of every Prometheus
client.

| metric | type | labels | what |
|---|---|---|---|
"""

_KINDS = {"Counts": "counter", "counter": "counter", "gauge": "gauge", "Distribution": "histogram"}
_LABELS_THIRD = ("Counts", "Distribution")
"""Those whose third argument is the labels; the others' fourth is their only one."""


@dataclass(frozen=True, slots=True, order=True)
class Declared:
    """A metric, as its declaration says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    what: str


def declared() -> list[Declared]:
    """Every metric of the services, by name."""
    found: set[Declared] = set()
    for path in sorted(SERVICES.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "pbx_" in source:
            found.update(_declared_in(ast.parse(source)))
    return sorted(found)


def _declared_in(tree: ast.Module) -> Iterator[Declared]:
    tuples = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _KINDS):
            continue
        match node.args:
            case [ast.Constant(value=str(name)), ast.Constant(value=str(what)), *rest] if name.startswith("pbx_"):
                kind = _KINDS[node.func.id]
                labels = rest[0 if node.func.id in _LABELS_THIRD else 1 :]
                suffix = "_total" if kind == "counter" else ""
                yield Declared(name + suffix, kind, _labels(labels, tuples), what)


def _labels(arguments: list[ast.expr], tuples: dict[str, ast.Tuple]) -> tuple[str, ...]:
    match arguments:
        case [ast.Constant(value=str(label)), *_]:
            return (label,) if label else ()
        case [ast.Name(id=name), *_] if name in tuples:
            arguments = [tuples[name]]
    match arguments:
        case [ast.Tuple(elts=elements), *_]:
            return tuple(str(one.value) for one in elements if isinstance(one, ast.Constant))
    return ()


def text() -> str:
    """The whole document."""
    rows = (
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.what} |\n"
        for one in declared()
    )
    return INTRO + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(text())
