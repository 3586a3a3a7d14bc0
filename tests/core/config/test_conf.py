"""The reader of Asterisk's configuration format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.config import ConfigError, Section, load_conf, read_conf

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "sip.conf") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    return write


def pairs(section: Section) -> list[tuple[str, str]]:
    return [(entry.key, entry.value) for entry in section.entries]


def problems(path: Path) -> list[str]:
    return [str(problem) for problem in load_conf(path).problems]


def test_entries_keep_their_file_and_line(write: Write) -> None:
    sections = read_conf(write("\n[general]\ncontext = internal\n\nexten => 1,1,Answer()\n"))
    (general,) = sections
    assert (general.name, general.where) == ("general", "sip.conf:2")
    assert pairs(general) == [("context", "internal"), ("exten", "1,1,Answer()")]
    assert [(entry.where, entry.arrow) for entry in general.entries] == [("sip.conf:3", False), ("sip.conf:5", True)]


def test_only_the_first_equals_sign_parts_key_and_value(write: Write) -> None:
    (section,) = read_conf(write("[a]\nsame => n,Set(A=b=>c)\nsecret=x=y\n"))
    assert pairs(section) == [("same", "n,Set(A=b=>c)"), ("secret", "x=y")]


def test_the_last_entry_of_a_name_counts_and_case_does_not(write: Write) -> None:
    (section,) = read_conf(write("[a]\nHost=one\nallow=ulaw\nhost=two\nallow=alaw\n"))
    host = section.get("host")
    assert host is not None
    assert host.value == "two"
    assert [entry.value for entry in section.get_all("allow")] == ["ulaw", "alaw"]
    assert section.get("port") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k = v ; comment", "v"),
        (r"k = a\;b", "a;b"),
        (r"k = a\;b ; c\;d", "a;b"),
        (r"k = \;", ";"),
        ("k = a ;-- hidden --; b", "a  b"),
        ("k = a ;-- one ;-- two --; still --; b", "a  b"),
        ("k = a ;--- a ruled line --; b", "a"),
        ("k = a ;--; not the end --; b", "a  b"),
        ("k = a ;-- x ; y --; b", "a  b"),
        ("k =", ""),
        ("k = ;", ""),
        ("k =>  spaced  ", "spaced"),
        ("k = a\u2028b\u0085c", "a\u2028b\u0085c"),
        ("k = v\r", "v"),
    ],
)
def test_comments_end_where_asterisk_ends_them(write: Write, text: str, value: str) -> None:
    (section,) = read_conf(write(f"[a]\n{text}\n"))
    assert pairs(section) == [("k", value)]


def test_a_block_comment_hides_lines_and_the_count_goes_on(write: Write) -> None:
    (section,) = read_conf(write("[a]\n;-- here\nx=1\n[b]\n--; y = 2\nz = 3\n"))
    assert [(entry.key, entry.line) for entry in section.entries] == [("y", 5), ("z", 6)]


def test_a_block_comment_without_end_is_reported_where_it_starts(write: Write) -> None:
    assert problems(write("[a]\nx=1\n;-- never\ny=2\n")) == [
        "sip.conf:3: this ;-- comment has no end (end it with --;)"
    ]


def test_templates_are_inherited_in_order_and_are_no_sections(write: Write) -> None:
    sections = read_conf(
        write(
            "[phone](!)\ntype=friend\nhost=dynamic\n[office](!,phone)\ncontext=office\n"
            "[alice](phone,office)\nhost=10.0.0.1\n[bob](phone)\n"
        )
    )
    assert [section.name for section in sections] == ["alice", "bob"]
    assert pairs(sections[0]) == [
        ("type", "friend"),
        ("host", "dynamic"),
        ("type", "friend"),
        ("host", "dynamic"),
        ("context", "office"),
        ("host", "10.0.0.1"),
    ]
    assert sections[0].entries[0].where == "sip.conf:2"
    assert pairs(sections[1]) == [("type", "friend"), ("host", "dynamic")]


def test_a_section_can_be_added_to(write: Write) -> None:
    sections = read_conf(write("[a]\nx=1\n[b]\ny=1\n[a](+)\nx=2\n"))
    assert [section.name for section in sections] == ["a", "b"]
    assert pairs(sections[0]) == [("x", "1"), ("x", "2")]


def test_sections_of_one_name_stay_apart(write: Write) -> None:
    assert [pairs(section) for section in read_conf(write("[a]\nx=1\n[a]\nx=2\n"))] == [[("x", "1")], [("x", "2")]]


def test_included_lines_belong_to_the_section_around_them(write: Write) -> None:
    write("allow=ulaw\n[alice]\nhost=dynamic\n", "phones/codecs.conf")
    path = write('[general]\na=1\n#include "phones/codecs.conf"\nb=2\n')
    sections = read_conf(path)
    assert [(section.name, pairs(section)) for section in sections] == [
        ("general", [("a", "1"), ("allow", "ulaw"), ("b", "2")]),
        ("alice", [("host", "dynamic")]),
    ]
    assert sections[1].where == "phones/codecs.conf:2"


def test_include_is_relative_to_the_including_file_and_takes_patterns(write: Write) -> None:
    write("#include deeper/*.conf\n", "phones/all.conf")
    write("[two]\n", "phones/deeper/b.conf")
    write("[one]\n", "phones/deeper/a.conf")
    path = write("#include <phones/all.conf>\n#tryinclude local.conf\n#tryinclude nothing/*.conf\n")
    assert [(section.name, section.where) for section in read_conf(path)] == [
        ("one", "phones/deeper/a.conf:1"),
        ("two", "phones/deeper/b.conf:1"),
    ]


def test_one_file_may_be_included_twice(write: Write) -> None:
    write("[a]\nx=1\n", "a.conf")
    assert [section.name for section in read_conf(write("#include a.conf\n#include a.conf\n"))] == ["a", "a"]


def test_include_loops_are_cut(write: Write) -> None:
    write("#include sip.conf\n", "b.conf")
    assert problems(write("#include b.conf\n")) == ["b.conf:1: sip.conf includes itself"]


def test_every_problem_is_found_at_once(write: Write, tmp_path: Path) -> None:
    write(" = y\n", "other.conf")
    path = write(
        "early=1\n[a\n[]\n[b](nobody)\n[c](+)\n[d] junk\nword\nx += 1\n"
        "#include gone.conf\n#exec date\n#include\n#include other.conf\n"
    )
    assert problems(path) == [
        "sip.conf:1: 'early' stands before any section (put it below a line such as [general])",
        "sip.conf:2: '[a' has no closing ]",
        "sip.conf:3: a section needs a name between [ and ]",
        "sip.conf:4: [b] inherits from [nobody], which is not defined above it (define [nobody](!) before this line)",
        "sip.conf:5: [c](+) adds to a section that is not there yet (write [c])",
        "sip.conf:6: 'junk' after [d] is not understood (expected (template,...))",
        "sip.conf:7: 'word' is not a setting (write key = value, or start a comment with ;)",
        "sip.conf:8: x += (append) is not supported (write the whole value)",
        f'sip.conf:9: no file matches "gone.conf" (looked in {tmp_path}; #tryinclude may find none)',
        "sip.conf:10: #exec is not supported (known are #include and #tryinclude)",
        "sip.conf:11: #include needs the name of a file",
        "other.conf:1: there is no name before the =",
    ]
    with pytest.raises(ConfigError) as caught:
        read_conf(path)
    assert len(caught.value.problems) == 12


def test_a_missing_file_is_a_problem_not_a_traceback(tmp_path: Path) -> None:
    assert problems(tmp_path / "sip.conf") == ["sip.conf: cannot be read: No such file or directory"]
    assert problems(tmp_path) == [f"{tmp_path.name}: cannot be read: Is a directory"]


def test_a_byte_order_mark_is_skipped_and_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "sip.conf"
    path.write_bytes(b"\xef\xbb\xbf[a]\nname=J\xf6rg\n")
    assert problems(path) == ["sip.conf:2: is not UTF-8 text (save the file as UTF-8)"]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_exception(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.conf"
    path.write_bytes(data.replace(b"#", b" "))
    load_conf(path)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,8}", fullmatch=True),
            st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs", "Cc")), max_size=20).filter(
                lambda text: text == text.strip() and not text.endswith("\\") and not text.startswith(">")
            ),
        ),
        max_size=5,
    )
)
def test_values_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.conf"
    lines = [f"{key} = {value}".replace(";", "\\;") for key, value in entries]
    path.write_text("[a]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (section,) = read_conf(path)
    assert pairs(section) == entries
