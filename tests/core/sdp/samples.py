"""Session descriptions as phones write them, and builders for the tests of this folder."""

from __future__ import annotations


def text(*lines: str) -> bytes:
    """Lines with CRLF."""
    return ("\r\n".join(lines) + "\r\n").encode()


def description(*media: str, c: str | None = "IN IP4 192.0.2.1", o: str = "- 1 1 IN IP4 192.0.2.1") -> bytes:
    """A small description; `media` are the lines after `t=`."""
    session = ["v=0", f"o={o}", "s=-", *([f"c={c}"] if c is not None else []), "t=0 0"]
    return text(*session, *media)


def lines_of(data: bytes | None, *starts: str) -> list[str]:
    """The lines of a description that begin in one of these ways."""
    assert data is not None
    return [line for line in data.decode().split("\r\n") if line.startswith(starts)]


DESK_PHONE = text(
    "v=0",
    "o=alice 20518 1 IN IP4 10.1.1.5",
    "s=SDP data",
    "c=IN IP4 10.1.1.5",
    "t=0 0",
    "m=audio 11780 RTP/AVP 0 8 18 9 101",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:18 G729/8000",
    "a=fmtp:18 annexb=no",
    "a=rtpmap:9 G722/8000",
    "a=fmtp:101 0-15",
    "a=rtpmap:101 telephone-event/8000",
    "a=ptime:20",
    "a=sendrecv",
)

IPV6_PHONE = text(
    "v=0",
    "o=- 3847 3847 IN IP6 2001:db8::5",
    "s=-",
    "t=0 0",
    "m=audio 4000 RTP/AVP 96 8 97",
    "i=voice",
    "c=IN IP6 2001:db8::5",
    "b=TIAS:64000",
    "a=rtpmap:96 opus/48000/2",
    "a=fmtp:96 useinbandfec=1",
    "a=rtpmap:97 telephone-event/48000",
    "a=fmtp:97 0-16",
    "a=rtcp:4001 IN IP6 2001:db8::5",
    "a=x-vendor: something of ours",
)

SOFT_PHONE = text(
    "v=0",
    "o=- 3890000000 3890000001 IN IP4 192.168.1.10",
    "s=pjmedia",
    "b=AS:84",
    "t=0 0",
    "a=X-nat:0",
    "a=group:BUNDLE 0 1",
    "m=audio 4002 RTP/AVP 8 0 101",
    "c=IN IP4 192.168.1.10",
    "b=TIAS:64000",
    "a=rtcp:4003 IN IP4 192.168.1.10",
    "a=mid:0",
    "a=rtcp-mux",
    "a=ice-ufrag:8hhY",
    "a=ice-pwd:asd88fgpdd777uzjYhagZg",
    "a=candidate:1 1 UDP 2130706431 192.168.1.10 4002 typ host",
    "a=candidate:2 1 UDP 2130706430 2001:db8::10 4002 typ host",
    "a=sendrecv",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "m=video 4004 RTP/AVP 97",
    "c=IN IP4 192.168.1.10",
    "a=mid:1",
    "a=rtpmap:97 H264/90000",
    "a=fmtp:97 profile-level-id=42e01e; packetization-mode=1",
    "a=rtcp-fb:97 nack pli",
    "a=sendrecv",
)

LATE_TRUNK = text(
    "v=0",
    "o=Sonus_UAC 26523 12741 IN IP4 203.0.113.9",
    "s=SIP Media Capabilities",
    "c=IN IP4 203.0.113.10",
    "t=0 0",
    "a=sendonly",
    "m=audio 38060 RTP/AVP 18 8 13",
    "a=maxptime:20",
    "m=image 0 udptl t38",
    "a=T38FaxVersion:0",
)

PHONES = {"desk": DESK_PHONE, "ipv6": IPV6_PHONE, "soft": SOFT_PHONE, "trunk": LATE_TRUNK}
