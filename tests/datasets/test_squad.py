"""SQuAD files, written by hand after the published format."""

import json

import pytest

from tlcourse.datasets.squad import Answer, Question, answer_texts, read_squad, write_squad

CONTEXT = "Émile saw the Château in 1990. Nobody else did."


@pytest.fixture
def write(tmp_path):
    def make(qas, context=CONTEXT, title="Émile"):
        path = tmp_path / "dev.json"
        body = {
            "version": "1.1",
            "data": [{"title": title, "paragraphs": [{"context": context, "qas": qas}]}],
        }
        path.write_text(json.dumps(body), encoding="utf-8")
        return path

    return make


def entry(id="q", text="Château", start=14, **more):
    return {"id": id, "question": " What? ", "answers": [{"text": text, "answer_start": start}], **more}


def test_a_file_of_version_1_1_is_read(write):
    (question,) = read_squad(write([entry()]))
    assert question == Question("q", "1 Émile", "What?", CONTEXT, (Answer("Château", 14),))
    assert question.answerable and not question.synthetic
    assert CONTEXT[question.answers[0].start : question.answers[0].end] == "Château"


def test_several_answers_and_impossible_questions_of_version_2_are_read(write):
    two = entry("two")
    two["answers"].append({"text": "the Château", "answer_start": 10})
    plausible = [{"text": "Nobody", "answer_start": 31}]
    none = {
        "id": "none",
        "question": "?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": plausible,
    }
    found = read_squad(write([two, none]))
    assert answer_texts(found) == {"two": ("Château", "the Château"), "none": ()}
    assert not found[1].answerable


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_an_answer_a_little_beside_is_moved_to_its_place(write, shift):
    assert read_squad(write([entry(start=14 + shift)]))[0].answers == (Answer("Château", 14),)


@pytest.mark.parametrize("start", [0, 11, 17, -1])
def test_an_answer_far_from_its_place_is_named(write, start):
    with pytest.raises(ValueError, match=f"question q: at character {start} the context has .*'Château'"):
        read_squad(write([entry(start=start)]))


def test_an_empty_answer_is_refused():
    with pytest.raises(ValueError, match="question q: at character 0 the context has '', not the answer ''"):
        Question("q", "g", "?", CONTEXT, (Answer("", 0),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "dev.json is no SQuAD file: JSONDecodeError"),
        ("[]", "dev.json is no SQuAD file: TypeError"),
        ('{"version": "1.1"}', "dev.json is no SQuAD file: KeyError 'data'"),
        ('{"data": ["x"]}', "dev.json is no SQuAD file: TypeError"),
        (
            '{"data": [{"paragraphs": [{"context": "c", "qas": ["x"]}]}]}',
            "dev.json is no SQuAD file: AttributeError",
        ),
        ('{"data": []}', "dev.json holds no question"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "dev.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_squad(path)


def test_a_written_file_is_read_back_but_for_the_number_of_the_article(tmp_path):
    questions = [
        Question("a", "x", "Who?", CONTEXT, (Answer("Émile", 0), Answer("Nobody", 31))),
        Question("b", "x", "Where?", "Another.", ()),
        Question("c", "y", "When?", CONTEXT, (Answer("1990", 25),)),
    ]
    write_squad(questions, tmp_path / "out.json")
    found = read_squad(tmp_path / "out.json")
    assert [(q.id, q.question, q.context, q.answers) for q in found] == [
        (q.id, q.question, q.context, q.answers) for q in questions
    ]
    assert [q.group for q in found] == ["1 x", "1 x", "2 y"]


def test_an_id_that_comes_twice_is_named():
    with pytest.raises(ValueError, match="two questions have the id 'a'"):
        answer_texts([Question("a", "x", "?", CONTEXT, ())] * 2)
