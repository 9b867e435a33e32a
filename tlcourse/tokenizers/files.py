"""Vocabulary files: read whole or with one clear error, written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def read_text(path: Path) -> str:
    """A UTF-8 file. Raises FileNotFoundError, or ValueError with the place of the first byte that is no UTF-8."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is no file; give the tokenizer's own file, or the folder that holds it"
        )
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}: {error.reason}); fetch it again"
        ) from None


def read_lines(path: Path) -> list[str]:
    """Lines without their ends. Only \\n and \\r\\n end a line: tokens may hold U+2028 or U+0085."""
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_json(path: Path) -> dict:
    """A JSON object. Raises ValueError on anything else; on a name that stands twice in it, too.

    Numbers with decimals are read as the `tokenizers` library reads them: digits, divided by a power of ten. That
    is at times one bit from the nearest float, and decides between equally probable segmentations.
    """
    try:
        content = json.loads(read_text(path), object_pairs_hook=_without_duplicates, parse_float=_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); is it cut off? Fetch it again") from None
    except KeyError as error:
        raise ValueError(f"{path}: the name {error} stands twice in one object; remove one") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}, not an object; is it another file?")
    return content


def write_all(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files into a folder, which is made if need be; each appears complete, after all of them were written."""
    folder.mkdir(parents=True, exist_ok=True)
    partial: dict[str, str] = {}
    try:
        for name, content in contents.items():
            handle, partial[name] = tempfile.mkstemp(dir=folder, prefix=f".{name}-", suffix=".partial")
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name, path in partial.items():
            os.replace(path, folder / name)
    finally:
        for path in partial.values():
            Path(path).unlink(missing_ok=True)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise KeyError(name)
        found[name] = value
    return found


def _number(text: str) -> float:
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    power = int(exponent or 0) - len(decimals)
    if abs(power) > 308:
        return float(text)
    digits = float(int(whole + decimals))
    return digits * 10.0**power if power >= 0 else digits / 10.0**-power
