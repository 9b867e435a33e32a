"""Words recur, so what was once found for a word is kept."""

from collections.abc import Callable

SIZE = 100_000  # words; some 20 MB


class WordCache(dict[str, tuple[int, ...]]):
    """Word → ids, found by `find` when a word is first asked for; emptied when it holds SIZE words."""

    def __init__(self, find: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self.find = find

    def __missing__(self, word: str) -> tuple[int, ...]:
        if len(self) >= SIZE:
            self.clear()
        return self.setdefault(word, self.find(word))
