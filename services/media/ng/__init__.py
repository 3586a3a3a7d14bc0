"""rtpengine's ng protocol: dictionaries with a cookie, in bencode or JSON, over UDP. `docs/media-protocol.md`."""
