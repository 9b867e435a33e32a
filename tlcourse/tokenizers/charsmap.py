"""SentencePiece's compiled table of replacements, which stands in official tokenizer.json files as "Precompiled".

Kudo & Richardson (2018), "SentencePiece". The table is a trie in one array of 32-bit units (a double array, Aoe 1989)
and, after it, the replacements, each with a zero byte at its end. From a node, the byte c leads to the unit at
position XOR c, if that unit has c for its label.
"""

import base64
import binascii
import struct

import regex

_LONGEST_CLUSTER = 6  # bytes; from here on a cluster is replaced character by character


class CharsMap:
    """Text → text. encoded: the table in base64. Raises ValueError on one that is cut off or no such table."""

    def __init__(self, encoded: str) -> None:
        try:
            table = base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ValueError(
                f"the precompiled_charsmap is not base64 ({error}); fetch the file again"
            ) from None
        size = int.from_bytes(table[:4], "little")
        if size == 0 or size % 4 or len(table) < 4 + size:
            raise ValueError(
                f"the precompiled_charsmap has {len(table)} bytes and announces a trie of {size}; fetch the file again"
            )
        self._units = struct.unpack(f"<{size // 4}I", table[4 : 4 + size])
        self._replacements = table[4 + size :]
        self._found: dict[str, str | None] = {}

    def __call__(self, text: str) -> str:
        # \X is a cluster: what a reader takes for one character, such as e and a combining accent.
        return "".join(map(self._replace, regex.findall(r"\X", text)))

    def _replace(self, cluster: str) -> str:
        if len(cluster.encode()) < _LONGEST_CLUSTER and (found := self._find(cluster)) is not None:
            return found
        return "".join(char if (found := self._find(char)) is None else found for char in cluster)

    def _find(self, key: str) -> str | None:
        if key not in self._found:
            self._found[key] = self._look_up(key)
        return self._found[key]

    def _look_up(self, key: str) -> str | None:
        """The replacement of the shortest beginning of key that has one.

        The shortest stands for all of key, as in the `tokenizers` library; SentencePiece takes the longest.
        """
        unit = self._units[0]
        position = _offset(unit)
        for byte in key.encode():
            position ^= byte
            unit = self._units[position]
            if byte == 0 or unit & 0x800000FF != byte:
                return None
            position ^= _offset(unit)
            if unit >> 8 & 1:  # a leaf: the next unit is where the replacement begins
                start = self._units[position] & 0x7FFFFFFF
                return self._replacements[start : self._replacements.index(0, start)].decode()
        return None


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 0x200) >> 6)
