"""Digest authentication: the RFC's own examples, both sides against each other, and everything that must fail."""

from __future__ import annotations

import hashlib
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.sip import digest
from services.core.sip.digest import (
    BOTH,
    ONLY_MD5,
    Algorithm,
    Authenticated,
    AuthResult,
    DigestClient,
    DigestError,
    DigestServer,
    Failed,
    Fault,
    Md5Secret,
    Missing,
    Password,
    Secret,
    Stale,
    UriRule,
    algorithms_for,
    is_stale,
    parse_digest,
)
from services.core.sip.lexical import quote
from services.core.sip.nonces import StaleCause

NOW = 1_800_000_000.0
KEY = b"a key of the cluster"
REALM = "pbx.example"
URI = "sip:pbx.example"
USERS: dict[str, Secret] = {
    "dev1": Password("secret one"),
    "dev2": Md5Secret(hashlib.md5(b"dev2:pbx.example:zwei").hexdigest().upper()),
    'quo"te\\d': Password("pw"),
    "jürg": Password("pässwörd"),
}


def server(**settings: object) -> DigestServer:
    return DigestServer(REALM, KEY, 300, **settings)  # type: ignore[arg-type]


def client(user: str = "dev1", secret: Secret | None = None) -> DigestClient:
    numbers = count(1)
    return DigestClient(user, secret or USERS[user], lambda: f"cnonce{next(numbers)}")


def check(
    at: DigestServer, *rows: str, method: str = "REGISTER", now: float = NOW, uri: str | None = URI
) -> AuthResult:
    return at.check(list(rows), method, USERS.get, now, uri)


# --- the RFC's examples ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_client_computes_the_responses_of_rfc_7616_section_3_9_1(algorithm: str, response: str) -> None:
    challenge = (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    mufasa = DigestClient("Mufasa", Password("Circle of Life"), lambda: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    params = parse_digest(mufasa.answer([challenge], "GET", "/dir/index.html"))
    assert params is not None
    assert params["response"] == response
    assert params["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
    assert params["nc"] == "00000001"
    assert params["qop"] == "auth"
    assert params["algorithm"] == algorithm


# --- challenges ------------------------------------------------------------------------------------------------------


def test_sha256_is_offered_first_and_md5_second_with_qop_auth_and_one_nonce() -> None:
    challenges = [parse_digest(row) for row in server().challenge(NOW)]
    first, second = challenges
    assert first is not None
    assert second is not None
    assert [first["algorithm"], second["algorithm"]] == ["SHA-256", "MD5"]
    assert first["realm"] == second["realm"] == REALM
    assert first["qop"] == second["qop"] == "auth"
    assert first["nonce"] == second["nonce"]
    assert "stale" not in first


def test_every_challenge_has_a_fresh_nonce() -> None:
    at = server()
    assert len({row for _ in range(100) for row in at.challenge(NOW)}) == 200


def test_stale_challenge_says_so_in_every_row() -> None:
    rows = server().challenge(NOW, stale=True)
    assert all("stale=true" in row for row in rows)
    assert is_stale(rows)
    assert not is_stale(server().challenge(NOW))


def test_first_text_algorithm_a_simple_client_finds_leads_to_md5() -> None:
    """SIPp 3.6 takes what follows the first `algorithm=` of any case, and the first nonce it sees."""
    first = server().challenge(NOW)[0]
    assert first.lower().split("algorithm=")[1].startswith("md5")


def test_nonce_spells_no_parameter_name() -> None:
    params = parse_digest(server().challenge(NOW)[0])
    assert params is not None
    assert set(params["nonce"]) <= set("0123456789abcdef")
    assert len(params["nonce"]) <= 64


def test_realm_with_quotes_is_escaped() -> None:
    at = DigestServer('the "house"', KEY)
    params = parse_digest(at.challenge(NOW)[0])
    assert params is not None
    assert params["realm"] == 'the "house"'
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI)
    assert at.check([authorization], "REGISTER", USERS.get, NOW) == Authenticated("dev1", Algorithm.SHA256)


@pytest.mark.parametrize(
    ("user_agent", "offered"),
    [
        ("baresip v1.0.0 (x86_64/linux)", ONLY_MD5),
        ("baresip v3.11.0 (x86_64/Linux)", ONLY_MD5),
        ("baresip v3.12.0 (x86_64/Linux)", BOTH),
        ("baresip v4.0.0", BOTH),
        ("baresip v٣.1", BOTH),
        ("baresip v", BOTH),
        ("Linphone/5.0", BOTH),
        ("", BOTH),
    ],
)
def test_clients_that_choke_on_sha256_are_offered_md5_alone(user_agent: str, offered: tuple[Algorithm, ...]) -> None:
    assert algorithms_for(user_agent) == offered
    assert len(server().challenge(NOW, algorithms=offered)) == len(offered)


def test_narrowing_to_nothing_offers_what_the_server_has() -> None:
    at = server(algorithms=(Algorithm.SHA256,))
    assert ["SHA-256" in row for row in at.challenge(NOW, algorithms=ONLY_MD5)] == [True]


# --- right answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["dev1", 'quo"te\\d', "jürg"])
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_right_password_is_taken_with_either_algorithm(user: str, algorithm: Algorithm) -> None:
    at = server()
    authorization = client(user).answer(at.challenge(NOW, algorithms=[algorithm]), "REGISTER", URI)
    assert check(at, authorization) == Authenticated(user, algorithm)


def test_client_prefers_sha256_whatever_the_order() -> None:
    at = server()
    for challenges in (at.challenge(NOW), at.challenge(NOW)[::-1]):
        assert check(at, client().answer(challenges, "REGISTER", URI)) == Authenticated("dev1", Algorithm.SHA256)


def test_one_nonce_serves_many_requests_with_rising_counts() -> None:
    at, phone = server(), client()
    assert isinstance(check(at, phone.answer(at.challenge(NOW), "REGISTER", URI)), Authenticated)
    for _ in range(200):
        again = phone.again("REGISTER", URI)
        assert again is not None
        assert isinstance(check(at, again, now=NOW + 200), Authenticated)


def test_client_counts_on_when_the_same_nonce_is_challenged_again() -> None:
    at, phone = server(), client()
    challenges = at.challenge(NOW)
    for expected in ("00000001", "00000002"):
        params = parse_digest(phone.answer(challenges, "REGISTER", URI))
        assert params is not None
        assert params["nc"] == expected
    params = parse_digest(phone.answer(at.challenge(NOW), "REGISTER", URI))
    assert params is not None
    assert params["nc"] == "00000001"


def test_another_process_with_the_same_key_takes_the_nonce() -> None:
    authorization = client().answer(server().challenge(NOW), "REGISTER", URI)
    assert isinstance(check(server(), authorization, now=NOW + 1), Authenticated)
    assert isinstance(check(server(), authorization, now=NOW - 5), Authenticated)


def test_md5secret_works_with_md5() -> None:
    at = server()
    authorization = client("dev2", Password("zwei")).answer(at.challenge(NOW, algorithms=ONLY_MD5), "REGISTER", URI)
    assert check(at, authorization) == Authenticated("dev2", Algorithm.MD5)


def test_md5secret_does_not_work_with_sha256() -> None:
    at = server()
    authorization = client("dev2", Password("zwei")).answer(at.challenge(NOW), "REGISTER", URI)
    assert check(at, authorization) == Failed("dev2", Fault.WRONG_PASSWORD)


def test_client_with_md5secret_chooses_md5() -> None:
    at = server()
    authorization = client("dev2").answer(at.challenge(NOW), "REGISTER", URI)
    assert check(at, authorization) == Authenticated("dev2", Algorithm.MD5)


def test_algorithm_missing_means_md5() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW, algorithms=ONLY_MD5), "REGISTER", URI)
    assert check(at, authorization.replace(", algorithm=MD5", "")) == Authenticated("dev1", Algorithm.MD5)


def test_credentials_for_other_realms_and_schemes_are_passed_over() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI)
    other = authorization.replace(REALM, "other.example")
    assert isinstance(check(at, "Bearer abc", other, authorization), Authenticated)
    assert check(at, other) == Missing()
    assert check(at, "Basic ZGV2MQ==") == Missing()
    assert check(at) == Missing()


def test_proxy_credentials_are_the_same_thing() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "INVITE", "sip:2@pbx.example")
    assert isinstance(check(at, authorization, method="INVITE", uri="sip:2@pbx.example"), Authenticated)


@pytest.mark.parametrize(
    "respelled",
    [
        lambda text: text.replace(", ", ","),
        lambda text: text.replace(", ", " ,\t "),
        lambda text: text.replace("=", " = ", 1),
        lambda text: text.replace(", ", ",, "),
        lambda text: text.replace("Digest", "DIGEST\t"),
        lambda text: text.replace("username", "USERNAME").replace("nonce=", "NonCe="),
        lambda text: text.replace("qop=auth", 'qop="auth"').replace("nc=00000001", 'nc="00000001"'),
        lambda text: text.replace("algorithm=SHA-256", 'algorithm="sha-256"'),
        lambda text: f"  {text}  ",
        lambda text: text.replace("cnonce1", "\\c\\n\\o\\n\\c\\e1"),
        lambda text: text + ', unknown="a, b=\\"c\\", realm=x"',
    ],
)
def test_credentials_are_understood_however_they_are_written(respelled: object) -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI)
    changed = respelled(authorization)  # type: ignore[operator]
    assert changed != authorization
    assert check(at, changed) == Authenticated("dev1", Algorithm.SHA256)


def test_sipp_gets_in_although_it_signs_the_address_it_sends_to() -> None:
    """A header of SIPp 3.6.1, Debian 12, its URI unbracketed."""
    at = server()
    params = parse_digest(at.challenge(NOW)[0])
    assert params is not None
    uri, nonce = "sip:::1:36972", params["nonce"]
    ha1 = hashlib.md5(b"dev1:pbx.example:secret one").hexdigest()
    ha2 = hashlib.md5(f"REGISTER:{uri}".encode()).hexdigest()
    response = hashlib.md5(f"{ha1}:{nonce}:00000001:6b8b4567:auth:{ha2}".encode()).hexdigest()
    authorization = (
        f'Digest username="dev1",realm="{REALM}",cnonce="6b8b4567",nc=00000001,qop=auth,uri="{uri}",nonce="{nonce}",'
        f'response="{response}",algorithm=MD5,opaque="ALGORITHM=MD5"'
    )
    assert check(at, authorization) == Authenticated("dev1", Algorithm.MD5)


# --- wrong answers ---------------------------------------------------------------------------------------------------


def test_unknown_user_and_wrong_password_differ_only_in_the_name_of_the_fault() -> None:
    at = server()
    wrong = client("dev1", Password("guess")).answer(at.challenge(NOW), "REGISTER", URI)
    nobody = client("nobody", Password("guess")).answer(at.challenge(NOW), "REGISTER", URI)
    assert check(at, wrong) == Failed("dev1", Fault.WRONG_PASSWORD)
    assert check(at, nobody) == Failed("nobody", Fault.UNKNOWN_USER)


def test_unknown_user_costs_the_same_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[int] = []
    real = digest._sha256

    def counted(text: str) -> str:
        work.append(1)
        return real(text)

    monkeypatch.setattr(digest, "_sha256", counted)
    at = server()
    spent = []
    for user in ("dev1", "dev2", "nobody"):
        authorization = client(user, Password("guess")).answer(at.challenge(NOW), "REGISTER", URI)
        work.clear()
        assert isinstance(check(at, authorization), Failed)
        spent.append(len(work))
    assert spent == [3, 3, 3]


def test_password_of_another_method_or_uri_is_wrong() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI)
    assert check(at, authorization, method="INVITE") == Failed("dev1", Fault.WRONG_PASSWORD)
    assert check(at, authorization.replace(f'uri="{URI}"', 'uri="sip:other"')) == Failed("dev1", Fault.WRONG_PASSWORD)


def test_qop_is_required() -> None:
    at = server()
    old_style = [row.replace(', qop="auth"', "") for row in at.challenge(NOW)]
    assert check(at, client().answer(old_style, "REGISTER", URI)) == Failed("dev1", Fault.QOP)
    with_int = client().answer(at.challenge(NOW), "REGISTER", URI).replace("qop=auth", "qop=auth-int")
    assert check(at, with_int) == Failed("dev1", Fault.QOP)


@pytest.mark.parametrize("algorithm", ["SHA-512-256", "MD5-sess", "SHA-256-sess", "AKAv1-MD5", "x"])
def test_unknown_algorithm_fails(algorithm: str) -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI).replace("SHA-256", algorithm)
    assert check(at, authorization) == Failed("dev1", Fault.ALGORITHM)


def test_algorithm_that_was_not_offered_fails() -> None:
    authorization = client().answer(server().challenge(NOW), "REGISTER", URI)
    assert check(server(algorithms=ONLY_MD5), authorization) == Failed("dev1", Fault.ALGORITHM)


@pytest.mark.parametrize("name", ["username", "nonce", "uri", "cnonce", "nc", "response"])
def test_missing_parameter_fails(name: str) -> None:
    at = server()
    params = parse_digest(client().answer(at.challenge(NOW), "REGISTER", URI))
    assert params is not None
    del params[name]
    text = "Digest " + ", ".join(f'{key}="{value}"' for key, value in params.items())
    assert isinstance(check(at, text), Failed)


@pytest.mark.parametrize(
    "nc", ["1", "0000001", "000000001", "+0000001", "0000_001", "0x000001", "٠٠٠٠٠٠٠١", " 0000001"]
)
def test_nonce_count_is_eight_hexadecimal_digits(nc: str) -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI).replace("nc=00000001", f'nc="{nc}"')
    assert check(at, authorization) == Failed("dev1", Fault.MALFORMED)


# --- the URI ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signed", "requested", "exact", "same_user"),
    [
        ("sip:2@pbx.example", "sip:2@pbx.example", True, True),
        ("sip:[2001:db8::1]:5060", "sip:[2001:db8::1]:5060", True, True),
        ("sip:[2001:DB8::1]", "sip:[2001:db8::1]", False, True),
        ("sip:2@pbx.example", "sip:2@pbx.example;transport=tcp", False, True),
        ("sip:10.0.0.1:5060", "sip:2@pbx.example", False, True),
        ("sip:2@pbx.example", "sip:3@pbx.example", False, False),
        ("sip:2@pbx.example", "sip:pbx.example", False, False),
        ("tel:+12", "tel:+13", False, False),
        ("tel:+12", "tel:+12", True, True),
    ],
)
def test_signed_uri_names_the_request_uri(signed: str, requested: str, exact: bool, same_user: bool) -> None:
    for rule, good in ((UriRule.EXACT, exact), (UriRule.SAME_USER, same_user)):
        at = server(uri_rule=rule)
        authorization = client().answer(at.challenge(NOW), "INVITE", signed)
        result = check(at, authorization, method="INVITE", uri=requested)
        assert result == (Authenticated("dev1", Algorithm.SHA256) if good else Failed("dev1", Fault.URI))


def test_uri_is_not_compared_when_none_is_given() -> None:
    at = server(uri_rule=UriRule.EXACT)
    authorization = client().answer(at.challenge(NOW), "INVITE", "sip:2@pbx.example")
    assert isinstance(check(at, authorization, method="INVITE", uri=None), Authenticated)


# --- nonces ----------------------------------------------------------------------------------------------------------


def test_old_nonce_with_the_right_password_is_stale() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI)
    assert check(at, authorization, now=NOW + 301) == Stale("dev1", StaleCause.EXPIRED)
    assert isinstance(check(at, authorization, now=NOW + 300), Authenticated)


def test_old_nonce_with_a_wrong_password_is_wrong() -> None:
    at = server()
    authorization = client("dev1", Password("guess")).answer(at.challenge(NOW), "REGISTER", URI)
    assert check(at, authorization, now=NOW + 301) == Failed("dev1", Fault.WRONG_PASSWORD)


def test_nonce_from_the_future_is_stale() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW + 1000), "REGISTER", URI)
    assert check(at, authorization) == Stale("dev1", StaleCause.EXPIRED)


@pytest.mark.parametrize("nonce", ["abc", "00" * 22, "zz" * 22, "6b49d200", "a", "\u0660" * 44, "0" * 10_000])
def test_nonce_we_did_not_make_is_stale(nonce: str) -> None:
    at = server()
    authorization = client().answer([f'Digest realm="{REALM}", nonce="{nonce}", qop="auth"'], "REGISTER", URI)
    assert check(at, authorization) == Stale("dev1", StaleCause.FOREIGN)


def test_nonce_of_another_key_or_realm_is_stale() -> None:
    for other in (DigestServer(REALM, b"another key"), DigestServer("other.example", KEY)):
        challenges = [row.replace("other.example", REALM) for row in other.challenge(NOW)]
        assert check(server(), client().answer(challenges, "REGISTER", URI)) == Stale("dev1", StaleCause.FOREIGN)


@pytest.mark.parametrize(
    "respelled", [str.upper, lambda nonce: nonce[:4] + " " + nonce[4:], lambda nonce: nonce + "00"]
)
def test_nonce_spelled_otherwise_has_no_counts_of_its_own(respelled: object) -> None:
    at = server()
    params = parse_digest(at.challenge(NOW)[1])
    assert params is not None
    nonce = respelled(params["nonce"])  # type: ignore[operator]
    authorization = client().answer([f'Digest realm="{REALM}", nonce="{nonce}", qop="auth"'], "REGISTER", URI)
    assert check(at, authorization) == Stale("dev1", StaleCause.FOREIGN)


def test_replay_is_stale() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI)
    assert isinstance(check(at, authorization), Authenticated)
    assert check(at, authorization) == Stale("dev1", StaleCause.REPLAYED)


def test_count_zero_is_never_taken() -> None:
    at, phone = server(), client()
    phone.answer(at.challenge(NOW), "REGISTER", URI)
    phone._count = -1
    again = phone.again("REGISTER", URI)
    assert again is not None
    assert check(at, again) == Stale("dev1", StaleCause.REPLAYED)


def test_requests_that_overtake_each_other_pass_once_each() -> None:
    at, phone = server(), client()
    rows = [phone.answer(at.challenge(NOW), "REGISTER", URI)]
    rows += [text for _ in range(63) if (text := phone.again("REGISTER", URI)) is not None]
    for row in rows[::-1]:
        assert isinstance(check(at, row), Authenticated)
    for row in rows:
        assert check(at, row) == Stale("dev1", StaleCause.REPLAYED)


def test_count_far_ahead_costs_no_memory_and_shuts_the_window() -> None:
    at, phone = server(), client()
    first = phone.answer(at.challenge(NOW), "REGISTER", URI)
    phone._count = 0xFFFFFFFE
    last = phone.again("REGISTER", URI)
    assert last is not None
    assert isinstance(check(at, last), Authenticated)
    assert check(at, first) == Stale("dev1", StaleCause.REPLAYED)


def test_wrong_passwords_take_no_memory() -> None:
    at = server()
    for _ in range(10):
        check(at, client("dev1", Password("guess")).answer(at.challenge(NOW), "REGISTER", URI))
    assert len(at._nonces._counts) == 0


def test_counts_are_bounded_and_a_forgotten_nonce_does_not_pass_again() -> None:
    at = server(max_nonces=10)
    rows = [client().answer(at.challenge(NOW + number), "REGISTER", URI) for number in range(50)]
    for number, row in enumerate(rows):
        assert isinstance(check(at, row, now=NOW + number), Authenticated)
    assert len(at._nonces._counts) == 10
    for row in rows:
        assert check(at, row, now=NOW + 50) == Stale("dev1", StaleCause.REPLAYED)
    fresh = client().answer(at.challenge(NOW + 51), "REGISTER", URI)
    assert isinstance(check(at, fresh, now=NOW + 51), Authenticated)


def test_dead_nonces_leave_no_trace() -> None:
    at = server(max_nonces=10)
    for number in range(5):
        check(at, client().answer(at.challenge(NOW + number), "REGISTER", URI), now=NOW + number)
    later = NOW + 1000
    assert isinstance(check(at, client().answer(at.challenge(later), "REGISTER", URI), now=later), Authenticated)
    assert len(at._nonces._counts) == 1


@given(st.lists(st.integers(min_value=0, max_value=300), max_size=60))
def test_no_count_of_a_nonce_passes_twice(counts: list[int]) -> None:
    at, phone = server(), client()
    phone.answer(at.challenge(NOW), "REGISTER", URI)
    passed = []
    for number in counts:
        phone._count = number - 1
        again = phone.again("REGISTER", URI)
        assert again is not None
        if isinstance(check(at, again), Authenticated):
            passed.append(number)
    assert len(passed) == len(set(passed))
    assert 0 not in passed
    if any(counts):
        assert passed


def test_server_needs_a_key() -> None:
    with pytest.raises(ValueError, match="key"):
        DigestServer(REALM, b"")


# --- the parser ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'Digest username="open',
        'Digest username="a" b, nc=1',
        'Digest username=a"b"',
        "Digest username=a, username=b",
        'Digest username="a", USERNAME="b"',
        "Digest nothing",
        'Digest ="x"',
        'Digest username="a\\',
        'Digest username="a\\"',
    ],
)
def test_malformed_parameters_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quote|parameter"):
        parse_digest(text)
    assert check(server(), text) == Failed("", Fault.MALFORMED)


def test_malformed_row_does_not_hide_a_good_one() -> None:
    at = server()
    authorization = client().answer(at.challenge(NOW), "REGISTER", URI)
    assert isinstance(check(at, 'Digest realm="', authorization), Authenticated)


@given(
    st.one_of(
        st.text(),
        st.text('="\\, \tabcDigestrealmnoncusp0'),
        st.binary().map(lambda b: b.decode("utf-8", "surrogateescape")),
    )
)
def test_any_text_is_a_result_and_never_an_exception(text: str) -> None:
    at = server()
    for row in (text, f"Digest {text}", f'Digest realm="{REALM}", username="dev1", {text}'):
        assert isinstance(check(at, row), Failed | Missing)


@given(
    st.dictionaries(
        st.sampled_from(["username", "nonce", "uri", "cnonce", "nc", "response", "qop", "algorithm"]), st.text()
    )
)
def test_any_parameters_are_a_result_and_never_an_exception(params: dict[str, str]) -> None:
    text = f"Digest realm={quote(REALM)}" + "".join(f", {k}={quote(v)}" for k, v in params.items())
    assert isinstance(check(server(), text), Failed)


@given(st.text('ab="\\, \t'))
def test_quick_and_careful_reading_agree(text: str) -> None:
    header = f"Digest {text}".strip(" \t")
    try:
        careful: dict[str, str] | None = digest._parse_carefully(header)
    except ValueError:
        careful = None
    try:
        params = parse_digest(header)
    except ValueError:
        params = None
    assert params == careful


@given(st.dictionaries(st.text("abcdefg", min_size=1), st.text()))
def test_quoted_values_come_back(params: dict[str, str]) -> None:
    values = {name: value.replace("\r", " ").replace("\n", " ") for name, value in params.items()}
    text = "Digest " + ", ".join(f"{name}={quote(value)}" for name, value in values.items())
    assert parse_digest(text) == values


def test_reading_a_long_header_takes_time_in_proportion_to_its_length() -> None:
    for text in (
        "Digest " + 'a="' * 20_000,
        "Digest " + "\\" * 60_000,
        'Digest a="' + "\\" * 60_001,
        "Digest " + "," * 60_000,
    ):
        assert isinstance(check(server(), text), Failed | Missing)


# --- the client ------------------------------------------------------------------------------------------------------


def test_client_answers_a_challenge_without_qop_as_rfc_2069() -> None:
    authorization = client().answer(['Digest realm="old", nonce="n"'], "REGISTER", URI)
    params = parse_digest(authorization)
    assert params is not None
    ha1 = hashlib.md5(b"dev1:old:secret one").hexdigest()
    ha2 = hashlib.md5(f"REGISTER:{URI}".encode()).hexdigest()
    assert params["response"] == hashlib.md5(f"{ha1}:n:{ha2}".encode()).hexdigest()
    assert not {"nc", "cnonce", "qop"} & params.keys()


@pytest.mark.parametrize(
    "challenge",
    [
        'Digest realm="r", nonce="n", qop="auth-int"',
        'Digest realm="r", nonce="n", algorithm=SHA-512-256',
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r',
        'Basic realm="r"',
        "",
    ],
)
def test_client_says_when_it_cannot_answer(challenge: str) -> None:
    with pytest.raises(DigestError):
        client().answer([challenge], "REGISTER", URI)


def test_client_has_nothing_to_say_before_the_first_challenge() -> None:
    assert client().again("REGISTER", URI) is None


def test_secrets_do_not_show_in_logs() -> None:
    assert "secret one" not in repr(USERS["dev1"])
    assert "ha1" not in repr(USERS["dev2"])
