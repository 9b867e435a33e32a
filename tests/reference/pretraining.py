"""Slow, obvious versions of what `tlcourse.pretraining` computes with arrays."""

import math
from collections import Counter

IGNORED = -100


def pack(documents, block_size, eos_id):
    """Rows of (input, label), one step at a time."""
    stream = [eos_id]
    for document in documents:
        stream.extend(document)
        stream.append(eos_id)
    steps = [(stream[i], stream[i + 1]) for i in range(len(stream) - 1)]
    while len(steps) % block_size:
        steps.append((eos_id, IGNORED))
    rows = [steps[i : i + block_size] for i in range(0, len(steps), block_size)]
    return [[i for i, _ in row] for row in rows], [[label for _, label in row] for row in rows]


class Counts:
    """Witten–Bell probabilities from dictionaries, a context at a time."""

    def __init__(self, documents, vocab_size, kind):
        self.V, self.kind = vocab_size, kind
        self.seen = {}
        for document in documents:
            for i, token in enumerate(document):
                for context in self.contexts(document, i):
                    self.seen.setdefault(context, Counter())[token] += 1

    def contexts(self, document, i):
        def at(j):
            return document[j] if 0 <= j < len(document) else "end"

        yield ("none",)
        if self.kind == "left-trigram":
            yield ("before", at(i - 1))
            yield ("two", at(i - 2), at(i - 1))
        if self.kind == "two-sided":
            yield ("before", at(i - 1))
            yield ("after", at(i + 1))
            yield ("both", at(i - 1), at(i + 1))

    def mix(self, context, token, lower):
        counts = self.seen.get(context)
        if counts is None:
            return lower
        return (counts[token] + len(counts) * lower) / (sum(counts.values()) + len(counts))

    def probability(self, document, i, token):
        none, *longer = self.contexts(document, i)
        p = self.mix(none, token, 1 / self.V)
        if self.kind == "left-trigram":
            for context in longer:
                p = self.mix(context, token, p)
        if self.kind == "two-sided":
            before, after, both = longer
            p = self.mix(both, token, (self.mix(before, token, p) + self.mix(after, token, p)) / 2)
        return p

    def nats(self, document, i):
        return -math.log(self.probability(document, i, document[i]))

    def best(self, document, i):
        p = [self.probability(document, i, token) for token in range(self.V)]
        return [token for token in range(self.V) if p[token] >= max(p) * (1 - 1e-9)]
