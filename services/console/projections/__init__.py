"""What can be read off the history: active calls, registrations, call detail records.

Each is a pure fold (`calls.py`, `registrations.py`, `cdr.py`) over the enveloped events of one key; `views.py` keeps
the results in `DATA/views.db` and brings them up to date. All of it can be thrown away and made again.
"""
