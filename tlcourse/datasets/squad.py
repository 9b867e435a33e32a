"""Reading comprehension in SQuAD's file format, 1.1 and 2.0 (Rajpurkar et al. 2016; Rajpurkar et al. 2018)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHIFTS = (0, -1, 1, -2, 2)


@dataclass(frozen=True)
class Answer:
    """The characters start…start + len(text) − 1 of a context."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Question:
    """A question on a context; no answers: the context does not answer it.

    group: what must not straddle a split (the article); synthetic: made by a program, not asked by a person.
    Raises ValueError where an answer is empty or is not what the context has at its place.
    """

    id: str
    group: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    synthetic: bool = False

    def __post_init__(self) -> None:
        for answer in self.answers:
            found = self.context[answer.start : answer.end] if answer.start >= 0 else ""
            if not answer.text or found != answer.text:
                raise ValueError(
                    f"question {self.id}: at character {answer.start} the context has {found!r}, "
                    f"not the answer {answer.text!r}"
                )

    @property
    def answerable(self) -> bool:
        return bool(self.answers)


def answer_texts(questions: Iterable[Question]) -> dict[str, tuple[str, ...]]:
    """id → texts of its answers, for `metrics.reading_scores`. Raises ValueError on an id that comes twice."""
    found: dict[str, tuple[str, ...]] = {}
    for question in questions:
        if question.id in found:
            raise ValueError(f"two questions have the id {question.id!r}")
        found[question.id] = tuple(answer.text for answer in question.answers)
    return found


def read_squad(path: str | Path) -> tuple[Question, ...]:
    """All questions of a SQuAD file, in its order; group is the number of the article and its title.

    Where the context does not have the answer at the place that is given but has it one or two characters beside, as
    careless conversions do, it is moved there. A question that is marked impossible has no answer; its "plausible
    answers" are not read. Raises ValueError on what is not such a file and on an answer that is not at its place.
    """
    path = Path(path)
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        rows = [
            (f"{number} {article.get('title', '')}".strip(), paragraph["context"], entry)
            for number, article in enumerate(articles, 1)
            for paragraph in article["paragraphs"]
            for entry in paragraph["qas"]
        ]
        questions = tuple(_question(*row) for row in rows)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is no SQuAD file: {type(error).__name__} {error}") from None
    if not questions:
        raise ValueError(f"{path.name} holds no question")
    return questions


def write_squad(questions: Sequence[Question], path: str | Path) -> None:
    """Write a SQuAD 2.0 file that the official script reads: an article a group, a paragraph a context."""
    articles: dict[str, dict[str, list[Question]]] = {}
    for question in questions:
        articles.setdefault(question.group, {}).setdefault(question.context, []).append(question)
    data = [
        {
            "title": group,
            "paragraphs": [
                {"context": context, "qas": [_entry(q) for q in asked]} for context, asked in contexts.items()
            ],
        }
        for group, contexts in articles.items()
    ]
    text = json.dumps({"version": "v2.0", "data": data}, ensure_ascii=False)
    Path(path).write_text(text, encoding="utf-8")


def _question(group: str, context: str, entry: dict[str, Any]) -> Question:
    given = () if entry.get("is_impossible", False) else entry["answers"]
    answers = tuple(Answer(a["text"], _place(context, a["text"], a["answer_start"])) for a in given)
    return Question(entry["id"], group, entry["question"].strip(), context, answers)


def _place(context: str, text: str, start: int) -> int:
    for shift in _SHIFTS:
        if start + shift >= 0 and context.startswith(text, start + shift):
            return start + shift
    return start


def _entry(question: Question) -> dict[str, Any]:
    answers = [{"text": a.text, "answer_start": a.start} for a in question.answers]
    return {
        "id": question.id,
        "question": question.question,
        "answers": answers,
        "is_impossible": not question.answerable,
    }
