"""Cards of checkpoints: what is written is what is read; anything that is no card is refused by name."""

import json
import os
from dataclasses import asdict, replace

import pytest

from tlcourse.weights import Card, Corpus, WeightsError, content_hash
from tlcourse.weights.card import card_of, write_card

CORPUS = Corpus("WordNet 3.0, glosses", "0" * 64, "WordNet-3.0")
CARD = Card(
    name="bert-mini",
    model="BertForPreTraining",
    command="make experiment NAME=pretrained/checkpoints",
    corpora=(CORPUS, Corpus("King James Bible", "1" * 64, "public domain, outside of the United Kingdom")),
    steps=1000,
    tokens=8_192_000,
    seed=0,
    seconds=3000.5,
    cpu_seconds=5900.0,
    metrics={"masked-word accuracy": 0.25, "left trigram's accuracy": 0.26},
    environment={"torch": "2.9", "threads": 2},
    good_for="Experiments – on one's own laptop.",
    not_good_for="Anything that needs knowledge of the world.",
)


@pytest.fixture
def folder(tmp_path):
    """With weights that CARD does not know yet."""
    (tmp_path / "bert-mini").mkdir()
    (tmp_path / "bert-mini" / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "bert-mini"


@pytest.fixture
def card(folder):
    return replace(CARD, sha256=content_hash(folder / "model.safetensors"))


def test_a_card_that_is_written_is_the_card_that_is_read(folder, card):
    write_card(folder, card)
    assert card_of(folder) == card
    assert json.loads((folder / "card.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(asdict(card))
    )
    assert "laptop" in (folder / "card.json").read_text(encoding="utf-8")
    assert sorted(os.listdir(folder)) == ["card.json", "model.safetensors"]


def test_corpora_become_a_tuple():
    assert replace(CARD, corpora=[CORPUS]).corpora == (CORPUS,)


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("make experiment NAME=pretrained/checkpoints", "experiments/pretrained/checkpoints.py"),
        ("make experiment NAME=pretrained/bert SEED=1", "experiments/pretrained/bert.py"),
        ("python experiments/pretrained/checkpoints.py bert-mini", "experiments/pretrained/checkpoints.py"),
    ],
)
def test_the_script_is_the_one_that_the_command_runs(command, script):
    assert replace(CARD, command=command).script == script


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Bert Mini"}, "card of 'Bert Mini': name must be lower-case words joined by hyphens"),
        ({"name": None}, "card of None: name must be"),
        ({"model": " "}, "card of 'bert-mini': model=' ' must be a text that says something"),
        ({"good_for": ""}, "good_for='' must be a text"),
        ({"not_good_for": None}, "not_good_for=None must be a text"),
        ({"command": "by hand"}, "command='by hand' names no experiment; write it as 'make experiment NAME="),
        ({"corpora": ()}, r"corpora=\(\) must be one Corpus or more"),
        ({"corpora": ("the Bible",)}, r"corpora=\('the Bible',\) must be one Corpus or more"),
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"tokens": 1.5}, "tokens=1.5 must be a whole number of at least 1"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"seed": True}, "seed=True must be a whole number"),
        ({"seconds": -1.0}, "seconds=-1.0 must be a finite number of at least 0"),
        ({"cpu_seconds": float("inf")}, "cpu_seconds=inf must be a finite number of at least 0"),
        ({"metrics": {}}, "metrics is empty; measure on held-out text"),
        ({"metrics": {"loss": float("nan")}}, r"metrics\['loss'\]=nan must be a finite number$"),
        ({"metrics": {"loss": True}}, r"metrics\['loss'\]=True must be a finite number"),
        ({"metrics": {"loss": "low"}}, r"metrics\['loss'\]='low' must be a finite number"),
        ({"environment": {}}, r"environment is empty; give runtime.environment\(\)"),
        ({"sha256": "12"}, "sha256='12' must be 64 hexadecimal digits"),
        ({"sha256": "G" * 64}, "must be 64 hexadecimal digits"),
    ],
)
def test_a_card_that_says_too_little_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CARD, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "corpus '': name='' must be a text"),
        ({"licence": ""}, "corpus 'WordNet 3.0, glosses': licence='' must be a text"),
        ({"sha256": ""}, "corpus 'WordNet 3.0, glosses': sha256='' must be 64 hexadecimal digits"),
        ({"sha256": None}, "sha256=None must be 64 hexadecimal digits"),
    ],
)
def test_a_corpus_has_a_name_a_hash_and_a_licence(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CORPUS, **changes)


def test_zero_is_a_measured_value():
    assert replace(CARD, seconds=0, metrics={"exact match": 0, "change": -0.5}).metrics["change"] == -0.5


def test_a_card_of_other_weights_or_of_another_folder_is_not_written(folder, card):
    with pytest.raises(ValueError, match=f"sha256='{'2' * 64}', but model.safetensors has {card.sha256}"):
        write_card(folder, replace(card, sha256="2" * 64))
    with pytest.raises(ValueError, match=r"sha256='', but model.safetensors has"):
        write_card(folder, replace(card, sha256=""))
    with pytest.raises(
        ValueError, match=r"the card of 'other' does not belong into .*; its folder is called other"
    ):
        write_card(folder, replace(card, name="other"))
    assert os.listdir(folder) == ["model.safetensors"]


def test_an_interrupted_card_leaves_the_old_one_and_no_part(folder, card, monkeypatch):
    write_card(folder, card)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("pulled the plug")))
    with pytest.raises(OSError, match="pulled the plug"):
        write_card(folder, replace(card, steps=7))
    assert card_of(folder) == card
    assert sorted(os.listdir(folder)) == ["card.json", "model.safetensors"]


def test_a_folder_without_a_card_says_who_writes_one(folder):
    with pytest.raises(
        FileNotFoundError, match=r"bert-mini holds no card.json; .* written with its card by weights.ex"
    ):
        card_of(folder)


def without(key):
    return lambda body: {k: v for k, v in body.items() if k != key}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without("seed"), "the card lacks seed and has unknown none"),
        (lambda body: body | {"license": "MIT"}, "the card lacks nothing and has unknown license"),
        (lambda body: [body], "the card is a list, not an object"),
        (lambda body: body | {"corpora": 3}, "corpora must be a list, metrics an object"),
        (lambda body: body | {"metrics": [0.25]}, "corpora must be a list, metrics an object"),
        (
            lambda body: body | {"corpora": [{"name": "x"}]},
            "a corpus lacks licence, sha256 and has unknown none",
        ),
        (lambda body: body | {"corpora": "x"}, "a corpus is a str, not an object"),
        (lambda body: body | {"steps": "many"}, "steps='many' must be a whole number"),
        (lambda body: body | {"sha256": ""}, "sha256 is empty; it must be that of model.safetensors"),
    ],
)
def test_a_file_that_is_no_card_is_refused_by_name(folder, card, edit, message):
    write_card(folder, card)
    body = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps(edit(body)), encoding="utf-8")
    with pytest.raises(WeightsError, match=f"card.json is no card: .*{message}"):
        card_of(folder)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_a_file_that_is_no_json_is_refused(folder, content):
    (folder / "card.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"card\.json is no card: "):
        card_of(folder)
