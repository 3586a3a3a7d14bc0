"""docs/configuration.md, made from the tables of settings: `python -m services.core.config.document > FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from services.core.config import pbx, rtp, sip_tables
from services.core.config.table import AnySetting, Table

INTRO = """\
# Configuration

<!-- Made by `make docs` from the tables in services/core/config; edit those. A test compares. -->

`--config DIR` names a directory with these files, in Asterisk's format:

| file | what | needed |
|---|---|---|
| `sip.conf` | listeners, phones, trunks | yes |
| `extensions.conf` | the dialplan: [dialplan.md](dialplan.md) | yes |
| `rtp.conf` | media addresses and ports | no |
| `pbx.conf` | metrics, log, data directory | no |

`examples/hello` is a set to start from.

## The format

```
[general]                    ; a section
context = internal           ; key = value; => does the same
exten => 100,1,Answer()
secret = semi\\;colon         ; \\; is a semicolon, others start a comment
;-- a comment over
    several lines --;

[phone](!)                   ; a template
type = friend
[alice](phone)               ; starts with what the template says
[alice](+)                   ; more about alice

#include "phones/*.conf"     ; relative to this file; #tryinclude may find none
```

Names are read without regard to case. Files are UTF-8. Every problem of every file is reported at once, a line each,
and nothing starts:

```
sip.conf:3: bindaddr: 2001:db8::1:5060 could be the address 2001:db8::1:5060 or the address 2001:db8::1 with port 5060 \
(write [2001:db8::1:5060] or [2001:db8::1]:5060)
sip.conf:9: secert is not a setting of [alice] (did you mean secret?)
```

Settings of Asterisk's `sip.conf` that change nothing here are named in a warning; those that would be dangerous to pass
over, such as `encryption=yes`, are problems. `pbx check --config DIR` reads a configuration and starts nothing.

## The environment

Each setting can be overridden by the variable in the last line of its entry; it replaces every line of that setting in
the file. Values of a setting that may stand on several lines have commas between. The order is: command line,
environment, file, default. Passwords can so be kept out of the files.
"""


def pages() -> Iterator[str]:
    """The document, piece by piece."""
    yield INTRO
    yield "\n# sip.conf\n"
    yield from _table(sip_tables.GENERAL)
    yield from _table(sip_tables.PEER)
    yield from _foreign(sip_tables.GENERAL)
    yield "\n# rtp.conf\n"
    yield from _table(rtp.GENERAL)
    yield "\n# pbx.conf\n"
    for table in pbx.TABLES:
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield f"\n## {table.file}.conf `[{table.section}]`\n\n{table.intro}\n"
    for setting in table.settings:
        yield from _setting(table, setting)


def _setting(table: Table, setting: AnySetting) -> Iterator[str]:
    also = "".join(f", also `{alias}`" for alias in setting.aliases)
    yield f"\n### `{setting.name}`{also}\n\n{setting.doc}\n\n"
    yield f"- value: {setting.form}\n"
    if setting.default is not None:
        yield f"- default: `{setting.default}`\n"
    if setting.repeated:
        yield "- may stand on several lines\n"
    yield f"- environment: `{table.variable(table.section, setting.name)}`\n"


def _foreign(table: Table) -> Iterator[str]:
    yield "\n## Other settings of Asterisk's sip.conf\n\nAccepted with a warning, because they change nothing:\n\n"
    for reason in dict.fromkeys(table.without_effect.values()):
        names = sorted(name for name, why in table.without_effect.items() if why == reason)
        yield f"- {reason}: {', '.join(f'`{name}`' for name in names)}\n"
    yield "\nRefused unless they say `no`:\n\n"
    for name in sorted(table.refused):
        yield f"- `{name}`: {table.refused[name]}\n"


def text() -> str:
    """The whole document."""
    return "".join(pages())


if __name__ == "__main__":
    sys.stdout.write(text())
