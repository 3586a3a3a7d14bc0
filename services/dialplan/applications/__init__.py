"""The applications of the dialplan, by the name this project spells them with."""

from __future__ import annotations

from typing import Final

from services.dialplan.applications import calls, flow, media
from services.dialplan.functions import FUNCTIONS
from services.dialplan.run import Application, Library

APPLICATIONS: Final[dict[str, Application]] = {
    app.name: app for app in (*calls.APPLICATIONS, *media.APPLICATIONS, *flow.APPLICATIONS)
}

LIBRARY: Final = Library(functions=FUNCTIONS, applications=APPLICATIONS)
