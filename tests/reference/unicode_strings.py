"""Texts that no corpus has, to compare tokenizers on: drawn from every corner of Unicode, the same for a seed."""

import random

WHITE = " \t\n\r\v\f\x1c\x1f\x85\xa0\u1680\u2003\u2009\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff"
CONTRACTIONS = (
    "'s",
    "'t",
    "'re",
    "'ve",
    "'m",
    "'ll",
    "'d",
    "'S",
    "\u2019s",
    "n't",
    "''",
    "``",
    "...",
    "#",
    "##",
    " ##a",
)
LATIN = "àéîõüçñøåßœŁžÀÉÎÕÜÇÑØÅŒŽǅỆıİſﬁﬃǆⅣ"
GREEK_CYRILLIC = "αβγςσΣΆώΩабвгдЁёйЙѢ"
PEOPLE = "👩👨🧑👶👍🏃🤦🧔"
TONES = ("", "🏻", "🏽", "🏿")
THINGS = ("\u200d💻", "\u200d♀\ufe0f", "\u200d❤\ufe0f\u200d👩", "\u200d👧\u200d👦", "")
FLAGS = ("🇩🇪", "🇧🇷", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1\ufe0f\u20e3", "☎\ufe0e", "♥\ufe0f")
# Blocks to draw single characters from, so that each is met often: first and last code point.
BLOCKS = (
    (0x00, 0x1F), (0x21, 0x7E), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x52F), (0x591, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F), (0xE01, 0xE5B), (0x1100, 0x11FF),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218B), (0x2190, 0x27BF), (0x2E80, 0x2FDF), (0x3000, 0x30FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF),
    (0xFE00, 0xFFFF), (0x10000, 0x10FFF), (0x11000, 0x12FFF), (0x13000, 0x16FFF), (0x17000, 0x1BCFF),
    (0x1D000, 0x1DFFF), (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF), (0x2B820, 0x2B93F),
    (0x2F800, 0x2FA1F), (0x30000, 0x3FFFF), (0x40000, 0xDFFFF), (0xE0000, 0xE01EF), (0xF0000, 0x10FFFF),
)  # fmt: skip


def code_points() -> list[int]:
    """Planes 0 to 3 and 14 whole; of 4 to 13, where no version has characters, and 15 and 16, private, every 97th."""
    surrogates = range(0xD800, 0xE000)
    whole = [code for code in (*range(0x40000), *range(0xE0000, 0xF0000)) if code not in surrogates]
    return sorted([*whole, *range(0x40000, 0xE0000, 97), *range(0xF0000, 0x110000, 97), 0x10FFFF])


def unicode_strings(n: int, seed: int) -> list[str]:
    """n texts of one to eight parts, each part of one kind: words, marks, ideographs, emoji, controls, …"""
    draw = random.Random(seed)
    letters = "etaoinshrdluETAOIN"

    def some(alphabet: str, most: int) -> str:
        return "".join(draw.choices(alphabet, k=draw.randint(1, most)))

    def any_character() -> str:
        return chr(draw.choice((draw.randint(0, 0xD7FF), draw.randint(0xE000, 0x10FFFF))))

    def of_block() -> str:
        first, last = draw.choice(BLOCKS)
        return "".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 4)))

    def marked() -> str:
        marks = range(draw.randint(1, 3))
        return draw.choice(letters + LATIN + "あが한") + "".join(
            chr(draw.randint(0x300, 0x36F)) for _ in marks
        )

    def emoji() -> str:
        one = draw.choice(PEOPLE) + draw.choice(TONES) + draw.choice(THINGS)
        return draw.choice((one, draw.choice(FLAGS), one + one))

    def long() -> str:
        if draw.random() < 0.9:
            return some(letters, 20)
        one = draw.choice((some(letters, 3), of_block(), draw.choice(LATIN)))
        return one * draw.randint(20, 120)

    kinds = (
        lambda: some(letters, 8), lambda: some("abcdefghijklmnopqrstuvwxyz", 6), lambda: some(WHITE, 3), lambda: " ",
        lambda: draw.choice(CONTRACTIONS), lambda: some("0123456789½²٣५Ⅷ一", 4), lambda: some(LATIN, 4),
        lambda: some(GREEK_CYRILLIC, 5), lambda: some("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡«»¿…—", 3),
        any_character, of_block, marked, emoji, long,
    )  # fmt: skip
    return ["".join(draw.choice(kinds)() for _ in range(draw.randint(1, 8))) for _ in range(n)]
