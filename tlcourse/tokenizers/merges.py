"""Learning merges: join the most frequent pair of neighbours, again and again (Sennrich et al. 2016)."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

Pair = tuple[str, str]


def learn_merges(
    words: Mapping[tuple[str, ...], int],
    alphabet: Sequence[str],
    vocab_size: int,
    join: Callable[[str, str], str] = str.__add__,
) -> tuple[list[str], list[Pair]]:
    """Tokens and merges, in the order they were learned, from words as rows of symbols, with how often each occurs.

    alphabet: all symbols; the tokens begin with them. join: the token that a pair becomes.
    Among pairs equally frequent, the one whose left, then whose right token was learned first is joined, as in the
    `tokenizers` library. Ends at vocab_size tokens, or when no pair occurs twice.

    A merge changes only the words that hold its pair, so each round looks at those alone, and finds the next pair at
    the top of a heap. Entries of the heap are never removed: one whose count is no longer true is passed over.
    """
    tokens = list(alphabet)
    ids = {token: i for i, token in enumerate(tokens)}
    rows = [[ids[symbol] for symbol in word] for word in words]
    counts = list(words.values())
    pair_counts: Counter[tuple[int, int]] = Counter()
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for w, row in enumerate(rows):
        for pair in pairwise(row):
            pair_counts[pair] += counts[w]
            where[pair].add(w)
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)

    merges: dict[Pair, None] = {}
    while heap and len(tokens) < vocab_size:
        negative, pair = heapq.heappop(heap)
        if -negative != pair_counts[pair]:
            continue
        if -negative < 2:
            break
        left, right = tokens[pair[0]], tokens[pair[1]]
        merges[left, right] = None
        # Two pairs may make the same token: "ab" + "c" and "a" + "bc".
        new = ids.setdefault(join(left, right), len(tokens))
        if new == len(tokens):
            tokens.append(join(left, right))
        change: Counter[tuple[int, int]] = Counter()
        for w in where.pop(pair):
            old, rows[w] = rows[w], replace_pair(rows[w], pair, new)
            for neighbours in pairwise(old):
                change[neighbours] -= counts[w]
            for neighbours in pairwise(rows[w]):
                change[neighbours] += counts[w]
                where[neighbours].add(w)
        for neighbours, difference in change.items():
            pair_counts[neighbours] += difference
            if difference and pair_counts[neighbours]:
                heapq.heappush(heap, (-pair_counts[neighbours], neighbours))
    return tokens, list(merges)


def replace_pair(row: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """The row with every occurrence of pair, from the left, as the one token new."""
    out, i = [], 0
    while i < len(row):
        if i + 1 < len(row) and row[i] == pair[0] and row[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(row[i])
            i += 1
    return out
