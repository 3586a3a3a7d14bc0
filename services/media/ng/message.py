"""An ng message: a cookie, a space, and a dictionary in bencode or JSON.

Inside the program a message is a plain dictionary with text keys. Keys have one spelling, with hyphens: on the wire
'-' and ' ' are the same in keys and flags (`address family`). Values are text, integers, lists and dictionaries; what
may hold any bytes (`sdp`, `blob`) is bytes.
"""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]
"""A request or reply."""
