import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tlcourse import claims, runtime
from tlcourse.claims import Claim, ClaimError, claim


@pytest.fixture(autouse=True)
def _fresh_run(monkeypatch):
    monkeypatch.setattr(claims, "_used", {})
    for name in ("TLCOURSE_RECORD_CLAIMS", "TLCOURSE_CHAPTER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def recording(monkeypatch, tmp_path):
    monkeypatch.setenv("TLCOURSE_RECORD_CLAIMS", str(tmp_path))
    monkeypatch.setenv("TLCOURSE_CHAPTER", "transfer/finetuning")
    return tmp_path


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"at_least": 1}, "at least 1"),
        ({"at_most": 0.05, "unit": "AUC"}, "AUC: at most 0.05"),
        ({"at_least": -3, "at_most": 3.5}, "between -3 and 3.5"),
        ({"at_least": 0, "at_most": 3, "unit": "percentage points"}, "percentage points: between 0 and 3"),
    ],
)
def test_claim_prints_statement_and_bound_and_not_the_value(capsys, bounds, words):
    claim("a-claim", "fine-tuning wins", 0.04321 if "at_most" in bounds else 7.654321, **bounds)
    assert capsys.readouterr().out == f"✓ fine-tuning wins ({words})\n"


def test_equal_bounds_read_as_exactly(capsys):
    claim(
        "nothing-moved", "frozen parameters are unchanged", 0, at_least=0, at_most=0, unit="changed entries"
    )
    assert capsys.readouterr().out == "✓ frozen parameters are unchanged (changed entries: exactly 0)\n"


@pytest.mark.parametrize("bounds", [{"at_least": 2.5}, {"at_most": 2.4}])
def test_broken_bound_raises_with_the_measured_value_and_prints_nothing(capsys, bounds):
    with pytest.raises(ClaimError, match=r"'gain' does not hold: it helps \(.*2\.[45]\); measured 2\.45$"):
        claim("gain", "it helps", 2.45, **bounds)
    assert capsys.readouterr().out == ""


def test_broken_bound_names_the_interval_to_the_digits_it_supports():
    with pytest.raises(ClaimError, match=r"measured 2\.45 \[2\.12, 2\.99\]$"):
        claim("gain", "it helps", 2.4512, at_least=3, interval=(2.1234, 2.9876))


def test_claim_error_is_an_assertion_error():
    assert issubclass(ClaimError, AssertionError)


@pytest.mark.parametrize("value", [1, np.float32(1), np.array(1.0), torch.tensor(1.0), True])
def test_values_of_numpy_and_torch_are_numbers_on_the_bound(value, capsys):
    claim("on-the-bound", "it holds", value, at_least=1, at_most=1)
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"id": "Bad id", "at_least": 0}, "claim id 'Bad id': use lower-case"),
        ({"statement": " ", "at_least": 0}, "statement ' ': write one line"),
        ({"statement": "two\nlines", "at_least": 0}, "write one line"),
        ({}, r"has no bound; give at_least=, at_most="),
        ({"at_least": 2, "at_most": 1}, r"at_least=2\.0 exceeds at_most=1\.0; swap"),
        ({"value": float("nan"), "at_least": 0}, "value=nan is not a finite number"),
        ({"value": float("inf"), "at_least": 0}, "value=inf is not a finite number"),
        ({"at_least": float("nan")}, "at_least=nan is not a finite number"),
        ({"at_most": float("nan")}, "at_most=nan is not a finite number"),
        ({"at_least": 0, "interval": (float("nan"), 2)}, "interval low=nan"),
        ({"at_least": 0, "interval": (0, float("inf"))}, "interval high=inf"),
        ({"at_least": 0, "interval": (2, 0)}, r"interval \(2\.0, 0\.0\) is upside down"),
        ({"at_least": 0, "interval": (0.01, 0.02)}, r"value=1\.0 lies outside .* share against percentage"),
        ({"at_least": 0, "supports": "S8"}, r"is one string; write supports=\('S8',\)"),
        ({"at_least": 0, "supports": ("S0", "S9", "S25")}, r"\['S0', 'S25'\]; statements run from S1 to S24"),
    ],
)
def test_unusable_claim_raises_naming_the_value_and_the_way_out(arguments, match):
    with pytest.raises(ValueError, match=match):
        claim(**{"id": "an-id", "statement": "it holds", "value": 1} | arguments)


def test_a_cell_may_run_again_with_another_bound():
    claim("same", "it holds", 1.0, at_least=0)
    claim("same", "it holds", 1.1, at_least=1)


def test_an_id_used_for_another_statement_raises():
    claim("same", "it holds", 1.0, at_least=0)
    with pytest.raises(ValueError, match="'same' is taken in this run by: 'it holds'"):
        claim("same", "something else holds", 1.0, at_least=0)


def test_without_recording_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "FOLDER", tmp_path / "claims")
    claim("kept-here", "it holds", 1.0, at_least=0)
    assert list(tmp_path.iterdir()) == []


def test_recorded_claim_loads_back_equal(recording):
    interval = SimpleNamespace(estimate=3.2, low=2.0, high=4.4, level=0.95)
    claim(
        "gain", "µ wins", interval.low, at_least=1, interval=interval, unit="points", supports=["S9", "S11"]
    )
    assert claims.load(recording) == [
        Claim(
            id="gain",
            chapter="transfer/finetuning",
            statement="µ wins",
            value=2.0,
            at_least=1.0,
            interval=(2.0, 4.4),
            level=0.95,
            unit="points",
            supports=("S9", "S11"),
            machine=runtime.environment(),
        )
    ]
    assert "µ" in (recording / "transfer/finetuning/gain.json").read_text(encoding="utf-8")


def test_recording_the_same_twice_gives_the_same_bytes(recording, monkeypatch):
    file = recording / "transfer/finetuning/gain.json"
    claim("gain", "it wins", 3.2, at_least=1)
    first = file.read_bytes()
    monkeypatch.setattr(claims, "_used", {})
    claim("gain", "it wins", 3.2, at_least=1)
    assert file.read_bytes() == first
    assert first.endswith(b"}\n")


def test_recording_refuses_a_second_claim_of_one_id(recording):
    claim("gain", "it wins", 3.2, at_least=1)
    with pytest.raises(ValueError, match="'gain' is taken"):
        claim("gain", "it wins", 3.2, at_least=1)


def test_a_claim_that_fails_is_not_recorded(recording):
    with pytest.raises(ClaimError):
        claim("gain", "it wins", 0.2, at_least=1)
    assert list(recording.rglob("*")) == []


@pytest.mark.parametrize("chapter", ["", "../outside", "/root", "a b"])
def test_recording_without_a_proper_chapter_raises_naming_the_variable(recording, monkeypatch, chapter):
    monkeypatch.setenv("TLCOURSE_CHAPTER", chapter)
    with pytest.raises(ValueError, match=r"TLCOURSE_CHAPTER=.* names no chapter; set it"):
        claim("gain", "it wins", 3.2, at_least=1)


def test_an_interrupted_recording_keeps_the_old_file_and_leaves_no_other(recording, monkeypatch):
    claim("gain", "it wins", 3.2, at_least=1)
    file = recording / "transfer/finetuning/gain.json"
    before = file.read_bytes()
    monkeypatch.setattr(claims, "_used", {})

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        claim("gain", "it wins", 4.0, at_least=1)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_load_without_a_folder_says_how_claims_are_recorded(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no recorded claims in .*; `make chapter NAME=…` records them"
    ):
        claims.load(tmp_path / "nowhere")


def test_load_reads_the_book_s_own_claims_by_default(recording, monkeypatch):
    monkeypatch.setattr(claims, "FOLDER", recording)
    claim("b", "second", 1, at_least=0)
    claim("a", "first", 1, at_least=0)
    assert [c.id for c in claims.load()] == ["a", "b"]


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '{"id": "x"}'])
def test_load_names_the_file_that_is_no_claim(tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ValueError, match=r"bad\.json is no recorded claim"):
        claims.load(tmp_path)


def test_load_refuses_a_claim_with_a_key_too_many(recording):
    claim("gain", "it wins", 3.2, at_least=1)
    file = recording / "transfer/finetuning/gain.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": "red"}))
    with pytest.raises(ValueError, match=r"its keys are .*colour"):
        claims.load(recording)


def test_table_rows_show_value_interval_bound_and_statements():
    rows = claims.table_rows(
        [
            Claim("a", "x/y", "it wins", 3.2346, at_least=1.0, unit="points", supports=("S8", "S9")),
            Claim("b", "x/y", "alike", 0.00123, at_most=0.01, interval=(0.00101, 0.00145)),
            Claim("c", "x/y", "same", 2.0, at_least=2.0, at_most=2.0, interval=(2.0, 2.0)),
            Claim("d", "x/y", "wide", 250.0, at_least=0.0, interval=(100.0, 400.0)),
        ]
    )
    assert [row["measured"] for row in rows] == [
        "3.235",
        "0.00123 [0.00101, 0.00145]",
        "2.0000 [2.0000, 2.0000]",
        "250 [100, 400]",
    ]
    assert rows[0] | {"measured": ""} == {
        "id": "a",
        "chapter": "x/y",
        "statement": "it wins",
        "bound": "points: at least 1",
        "measured": "",
        "supports": "S8, S9",
    }
