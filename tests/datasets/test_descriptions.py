import re
from collections import Counter

import pytest

from tlcourse import assets, datasets
from tlcourse.datasets import Package, descriptions
from tlcourse.datasets.documents import PARTS, fold


def entry(name, synopsis, *paragraphs, fields="Description-md5: 0123456789abcdef0123456789abcdef\n"):
    body = "\n .\n".join("\n".join(f" {line}" for line in p.split("\n")) for p in paragraphs)
    return f"Package: {name}\n{fields}Description-en: {synopsis}\n{body}\n"


@pytest.fixture
def write_packages(write):
    def write_entries(*entries):
        write("debian-descriptions", "Translation-en", "\n".join(entries))

    return write_entries


def test_packages_are_read_with_lines_joined_and_in_order_of_names(write_packages):
    write_packages(
        entry(
            "zsh",
            "shell with lots of features",
            "Zsh is a UNIX\ncommand  interpreter.",
            "It has:\n * a\n * b",
        ),
        entry("0ad", "Real-time strategy game", "A free game."),
    )
    assert datasets.packages() == (
        Package("0ad", "0ad", "Real-time strategy game", ("A free game.",)),
        Package(
            "zsh",
            "zsh",
            "shell with lots of features",
            ("Zsh is a UNIX command interpreter.", "It has: * a * b"),
        ),
    )
    assert datasets.packages()[1].description == "Zsh is a UNIX command interpreter.\nIt has: * a * b"
    assert datasets.packages()[1].group == "zsh"


def test_order_of_entries_and_a_second_version_change_nothing(write_packages):
    entries = [
        entry("a-data", "game (data)", "A game.", "Its data."),
        entry("a", "a game", "A game.", "It is fun."),
        entry("b", "old text", "Text of an old version."),
        entry("b", "new text", "Text of a new version."),
    ]
    write_packages(*entries)
    first = datasets.packages()
    write_packages(*entries[::-1])
    assert datasets.packages() == first
    assert [p.name for p in first] == ["a", "b"]


def test_parts_of_one_source_leave_the_shortest_name(write_packages):
    write_packages(
        entry("libfoo-dev", "foo library - headers", "Foo draws graphs.", "These are the headers."),
        entry("libfoo2", "foo library", "Foo draws graphs.", "This is the library."),
    )
    assert [(p.name, p.paragraphs) for p in datasets.packages()] == [
        ("libfoo2", ("Foo draws graphs.", "This is the library."))
    ]


def test_a_synopsis_or_pattern_that_differs_in_the_packages_name_only_is_a_repeat(write_packages):
    write_packages(
        entry("librust-ab-dev", "Ab for Rust", "Source of the Rust crate ab."),
        entry("librust-cde-dev", "Rust things", "Source of the Rust crate cde."),
        entry("kiwi", "documentation for kiwi", "Kiwi flies not."),
        entry("mango", "Documentation for Mango", "Mangoes are sweet."),
    )
    assert [p.name for p in datasets.packages()] == ["kiwi", "librust-ab-dev"]


def test_later_paragraphs_seen_before_are_dropped(write_packages):
    write_packages(
        entry("aa", "first", "About aa.", "Qt is a toolkit.", "About aa."),
        entry("bbb", "second", "About the second.", "QT is a Toolkit!", "More.", "..."),
    )
    assert [p.paragraphs for p in datasets.packages()] == [
        ("About aa.", "Qt is a toolkit."),
        ("About the second.", "More."),
    ]


@pytest.mark.parametrize(
    "given",
    [
        entry("x", "transitional package", "It may be removed."),
        entry("x", "Dummy thing", "Nothing."),
        entry("x", "x (meta-package)", "All of x."),
        entry("x", "no description at all"),
    ],
)
def test_packages_that_say_nothing_are_left_out(write_packages, given):
    write_packages(given, entry("y", "something", "It is there."))
    assert [p.name for p in datasets.packages()] == ["y"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("python3-numpy", "numpy"),
        ("libpng16-16", "png"),
        ("gcc-12-base", "gcc"),
        ("librust-serde-dev", "serde"),
        ("r-cran-ggplot2", "ggplot"),
        ("gir1.2-gtk-4.0", "gtk"),
        ("0ad-data", "0ad"),
        ("2048", "2048"),
        ("lib-16", "lib-16"),
    ],
)
def test_stem_is_what_names_the_software(name, stem):
    assert descriptions._stem(name) == stem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ("One.", "Two!", "Three?", "Four")),
        (
            "Tools, e.g. GNU tar, i.e. Tar, etc. Used vs. That.",
            ("Tools, e.g. GNU tar, i.e. Tar, etc. Used vs. That.",),
        ),
        (
            "See version 2.0 of it. 3 files. “Yes” (no). (Maybe.)",
            ("See version 2.0 of it.", "3 files.", "“Yes” (no).", "(Maybe.)"),
        ),
        ("It is. but small", ("It is. but small",)),
        ("", ()),
    ],
)
def test_sentences_end_before_a_capital_or_digit(text, expected):
    assert descriptions.sentences(text) == expected


def test_documents_hold_the_sentences_and_not_the_synopsis(write_packages):
    write_packages(entry("zsh", "a shell", "It is a shell. It is big.", "Also a language."))
    (document,) = datasets.description_documents()
    assert document.sentences == ("It is a shell.", "It is big.", "Also a language.")
    assert (document.id, document.group) == ("zsh", "zsh")


def test_split_keeps_stems_together(write_packages):
    names = [f"{kind}p{chr(97 + i)}q" for i in range(26) for kind in ("", "lib", "python3-")]
    write_packages(*(entry(n, f"synopsis {i} x", f"Text number {i} x.") for i, n in enumerate(names)))
    parts = datasets.package_split(0, test=0.3, validation=0.2)
    assert sum(len(parts.part(p)) for p in PARTS) == 78
    assert all(n == 3 for p in PARTS for n in Counter(x.group for x in parts.part(p)).values())


@pytest.mark.parametrize(
    "text", ["Package: a\nDescription-de: ein Spiel\n Ein Spiel.\n", "Description-en: a\n", "nonsense"]
)
def test_malformed_entry_is_named(write, text):
    write("debian-descriptions", "Translation-en", entry("b", "b", "B.") + "\n" + text)
    with pytest.raises(ValueError, match=f"Translation-en, entry 2 is no English description: '{text[:5]}"):
        datasets.packages()


def test_missing_asset_is_an_error_that_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    descriptions.packages.cache_clear()
    with pytest.raises(assets.MissingAssetError, match="run `tlcourse assets fetch debian-descriptions`"):
        datasets.packages()


@pytest.mark.assets
def test_real_packages_share_no_paragraph_and_no_synopsis(real):
    """Point releases of Debian change the file: bounds, not numbers."""
    if not assets.present("debian-descriptions"):
        pytest.skip(
            "debian-descriptions is not in the cache; run `tlcourse assets fetch debian-descriptions`"
        )
    found = datasets.packages()
    assert 30000 < len(found) < 50000 and 12e6 < sum(len(p.description) for p in found) < 15e6
    paragraphs = [fold(x) for p in found for x in p.paragraphs]
    assert len(set(paragraphs)) == len(paragraphs)
    assert len({fold(p.synopsis) for p in found}) == len(found)
    assert Counter(p.stem for p in found).most_common(1)[0][1] < 0.01 * len(found)
    names = {p.name for p in found}
    assert {"0ad", "zsh", "2048"} <= names and not {"0ad-data", "zsh-common"} & names
    assert not any(re.search(r"transitional", p.synopsis) for p in found)
