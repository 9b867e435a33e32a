"""Snapshots of a run on disk: written whole or not at all, checked before use, the one before kept.

A snapshot is a folder `step-00000042` with `tensors.safetensors`, `facts.json` and their `SHA256SUMS` (which
`sha256sum -c` reads too). It is made under another name, flushed to the disk and renamed; a power cut or a full
disk at any moment leaves the snapshots that were there. What a snapshot means is up to the caller.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tlcourse import weights

TENSORS, FACTS, SUMS = "tensors.safetensors", "facts.json", "SHA256SUMS"
KEEP = 2
LISTED = 5


class CheckpointError(ValueError):
    """A folder of checkpoints that cannot be used for this run."""


@dataclass(frozen=True)
class Checkpoint:
    """step: updates done; tensors: by name, on the CPU; facts: whatever else, as JSON gives it back."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict


def steps(folder: str | Path) -> list[int]:
    """The steps with a snapshot in folder, oldest first; whether they are intact, `newest` finds out."""
    names = (re.fullmatch(r"step-(\d{8,})", path.name) for path in Path(folder).glob("step-*"))
    return sorted(int(name[1]) for name in names if name)


def write(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a snapshot; once it is safe, delete all but the newest two.

    Raises OSError (disk full, no permission); then the snapshots of before are all there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".partial-*"):
        shutil.rmtree(leftover)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=".partial-"))
    try:
        weights.save(checkpoint.tensors, partial / TENSORS)
        _write_text(partial / FACTS, json.dumps(checkpoint.facts))
        _write_text(partial / SUMS, _sums(partial))
        _flush_folder(partial)
        path = folder / f"step-{checkpoint.step:08d}"
        if path.exists():  # a damaged one that a resumed run has caught up with
            shutil.rmtree(path)
        partial.rename(path)
    except OSError as error:
        kept = (
            f"the one of step {steps(folder)[-1]} is intact" if steps(folder) else "there is none before it"
        )
        raise OSError(
            f"the checkpoint of step {checkpoint.step} could not be written to {folder} ({error}); "
            f"{kept}. Make room, then run again with resume=True",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _flush_folder(folder)
    # Those of later steps are damaged ones that a resumed run has passed over.
    kept = [step for step in steps(folder) if step <= checkpoint.step][-KEEP:]
    for step in set(steps(folder)).difference(kept):
        shutil.rmtree(folder / f"step-{step:08d}")
    return path


def newest(folder: str | Path) -> Checkpoint | None:
    """The newest intact snapshot; None where there was never one.

    Warns of damaged ones that it passes over. Raises CheckpointError where all are damaged.
    """
    damaged = []
    for step in reversed(steps(folder)):
        path = Path(folder) / f"step-{step:08d}"
        try:
            if (path / SUMS).read_text(encoding="utf-8") == _sums(path):
                for name in damaged:
                    warnings.warn(f"{name} is damaged; continuing from {path.name}", stacklevel=2)
                facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
                return Checkpoint(step, weights.load_checkpoint(path / TENSORS), facts)
        except (FileNotFoundError, UnicodeDecodeError):
            pass
        damaged.append(path.name)
    if damaged:
        raise CheckpointError(
            f"all checkpoints in {folder} are damaged ({', '.join(damaged)}); restore one from a backup, or name "
            "another folder to start anew"
        )
    return None


def differences(before: Mapping, now: Mapping, prefix: str = "") -> list[str]:
    """Where two nested mappings differ, as "config.learning_rate: 0.001 before, 0.01 now"."""
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key, "absent"), now.get(key, "absent")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = differences(old, new, f"{prefix}{key}.")
            found += inner[:LISTED] + (
                [f"{prefix}{key}: {len(inner) - LISTED} more"] if inner[LISTED:] else []
            )
        elif old != new:
            found.append(f"{prefix}{key}: {old} before, {new} now")
    return found


def _sums(folder: Path) -> str:
    return "".join(f"{weights.content_hash(folder / name)}  {name}\n" for name in (TENSORS, FACTS))


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
