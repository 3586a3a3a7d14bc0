"""A process that registers phones without end, to be killed: `python -m tests.registrar.registering FILE`.

After every registration that was answered it prints the contact, which from then on must not be lost.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import count
from pathlib import Path

from services.core.store.sqlite import SqliteStore
from services.registrar import Registrar, Rules
from tests.registrar.facts import register


async def main(path: Path) -> None:
    registrar = Registrar(SqliteStore(path), time.time, Rules(max_contacts=10**6))
    for number in count():
        uri = f"sip:%5B{number}%5D@[2001:db8::1]:5060;x=%22"
        outcome = await registrar.register(f"dev{number % 10}", register(f"<{uri}>", call_id=str(number)))
        assert outcome.status == 200
        print(uri, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
