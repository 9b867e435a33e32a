"""Features on disk: complete or not at all, checked when they are read, mapped rather than loaded."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlcourse.transfer.extraction.naming import digest


class CacheError(RuntimeError):
    """An entry of a cache that was written for something else than its name says."""


class Entry:
    """Features of one run in a cache folder: `<name>.json`, and a file for each layer in a folder of its own.

    facts: what the features were made from, by name; the entry is named by their hash. The .json is written last, in
    one step: who reads it finds all the rest.
    """

    def __init__(self, folder: Path, facts: Mapping[str, str]) -> None:
        self.folder = folder
        self.facts = dict(facts)
        self.name = digest(self.facts)[:32]
        self.record = folder / f"{self.name}.json"

    def load(self) -> dict[str, Tensor] | None:
        """{layer: (N, ...)}, mapped from disk, or None where there is no entry or a damaged one.

        Writing to the tensors does not reach the files. Raises CacheError for an entry of other facts.
        """
        try:
            body = json.loads(self.record.read_text(encoding="utf-8"))
            facts, layers = body["facts"], body["layers"]
            files = {
                name: (self.folder / body["data"] / about["file"], about) for name, about in layers.items()
            }
            if facts == self.facts and all(_is_intact(path, about) for path, about in files.values()):
                return {name: _mapped(path, about) for name, (path, about) in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if facts != self.facts:
            other = [key for key in self.facts if facts.get(key) != self.facts[key]]
            raise CacheError(
                f"{self.record} was written for another {' and another '.join(other)}, not for what its name says; "
                "delete it, or choose another cache folder"
            )
        return None

    @contextmanager
    def writer(self) -> Iterator["Writer"]:
        """Takes rows batch by batch; what was not published is removed. Raises OSError where it cannot write."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = Path(tempfile.mkdtemp(dir=self.folder, prefix=f"{self.name}-"))
        writer = Writer(self, data)
        try:
            yield writer
        finally:
            writer.close()
            if not writer.published:
                shutil.rmtree(data, ignore_errors=True)


class Writer:
    """Appends rows to a file for each layer; `publish` makes the entry visible. See `Entry.writer`."""

    def __init__(self, entry: Entry, data: Path) -> None:
        self.entry = entry
        self.data = data
        self.published = False
        self._layers: dict[str, dict[str, Any]] = {}
        self._files: dict[str, Any] = {}
        self._hashes: dict[str, Any] = {}

    def add(self, features: Mapping[str, Tensor]) -> None:
        """Rows of one batch, {layer: (B, ...)} on the CPU, of the same shapes and types in every call but for B."""
        for name, rows in features.items():
            if name not in self._layers:
                file = f"{len(self._layers)}.bin"
                self._layers[name] = {
                    "file": file,
                    "dtype": str(rows.dtype).removeprefix("torch."),
                    "shape": [0, *rows.shape[1:]],
                }
                self._files[name] = (self.data / file).open("wb")
                self._hashes[name] = hashlib.sha256()
            raw = rows.contiguous().reshape(-1).view(torch.uint8).numpy()
            self._files[name].write(raw)
            self._hashes[name].update(raw)
            self._layers[name]["shape"][0] += len(rows)

    def publish(self) -> dict[str, Tensor]:
        """The entry, complete: {layer: (N, ...)} mapped from disk. An entry of that name from before is removed."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.close()
        for name, about in self._layers.items():
            about["sha256"] = self._hashes[name].hexdigest()
        # Mapped before others can see the entry: one who writes it anew removes these files.
        features = {name: _mapped(self.data / about["file"], about) for name, about in self._layers.items()}
        old = self._folder_before()
        body = {"facts": self.entry.facts, "data": self.data.name, "layers": self._layers}
        partial = self.data / "record.part"
        partial.write_text(json.dumps(body, indent=1), encoding="utf-8")
        os.replace(partial, self.entry.record)
        self.published = True
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
        return features

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _folder_before(self) -> Path | None:
        """Where the data of the entry lie that is about to be replaced; None where a damaged record does not say."""
        try:
            name = json.loads(self.entry.record.read_text(encoding="utf-8"))["data"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        # Only a folder that an entry of this name made is ever removed.
        fits = isinstance(name, str) and name == Path(name).name and name.startswith(f"{self.entry.name}-")
        return self.entry.folder / name if fits else None


def _is_intact(path: Path, about: Mapping[str, Any]) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == about["sha256"]


def _mapped(path: Path, about: Mapping[str, Any]) -> Tensor:
    """shared=False: pages that the caller writes to are copied, the file stays."""
    size = torch.Size(about["shape"]).numel()
    flat = torch.from_file(str(path), shared=False, size=size, dtype=getattr(torch, about["dtype"]))
    return flat.view(about["shape"])
