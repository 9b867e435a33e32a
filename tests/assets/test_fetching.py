"""Fetching: an asset arrives whole or not at all, whatever happens on the way."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from hashlib import sha256

import pytest
from filelock import FileLock

from tlcourse import assets
from tlcourse.assets import archives, clients, fetching, registry, store
from tlcourse.assets.registry import Asset, Digest, File, Source

A, B = b"alpha" * 1000, b"beta"


def packed(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


WHEEL = packed({"p/a.txt": A, "p/b.txt": B})


def digest(content):
    return Digest(len(content), sha256(content).hexdigest())


def tiny(*sources):
    files = tuple(
        File(name, len(content), digest(content).sha256) for name, content in {"a.txt": A, "b.txt": B}.items()
    )
    return Asset("tiny", "t", "text", "l", "https://example.org", "c", files, sources)


def source(client="first", content=WHEEL, **changes):
    take = {"a.txt": "p/a.txt", "b.txt": "p/b.txt"}
    return Source(
        **{"client": client, "request": client, "take": take, "archive": digest(content), **changes}
    )


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A function that registers the asset `tiny` with these sources and clients; its cache is tmp_path/home."""
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(store, "_proven", {})

    def make(*sources, **answers):
        monkeypatch.setattr(registry, "_registry", lambda: {"tiny": tiny(*sources)})
        calls = []

        def client(source, folder, tick):
            calls.append(source.client)
            answer = answers[source.client]
            tick()
            if isinstance(answer, BaseException):
                (folder / "half").write_bytes(b"half")
                raise answer
            (folder / "p.whl").write_bytes(answer)
            tick()
            return folder / "p.whl"

        monkeypatch.setattr(clients, "_CLIENTS", dict.fromkeys(answers, client))
        return calls

    return make


def left_behind(tmp_path):
    """Whatever lies in the cache besides locks."""
    return [p for p in (tmp_path / "home").rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_fetch_brings_the_named_files_and_path_accepts_them(world, tmp_path):
    calls = world(source(), first=WHEEL)
    folder = assets.fetch("tiny")
    assert folder == tmp_path / "home" / "tiny" == assets.path("tiny")
    assert ((folder / "a.txt").read_bytes(), (folder / "b.txt").read_bytes()) == (A, B)
    assert calls == ["first"]
    assert {path.name for path in left_behind(tmp_path)} == {"a.txt", "b.txt", ".verified.json"}


def test_fetch_of_what_is_there_downloads_nothing(world):
    calls = world(source(), first=WHEEL)
    assets.fetch("tiny")
    assets.fetch("tiny")
    assert calls == ["first"]


@pytest.mark.parametrize("damage", ["edit", "remove"])
def test_fetch_mends_a_damaged_asset(damage, world):
    world(source(), first=WHEEL)
    folder = assets.fetch("tiny")
    (folder / "a.txt").unlink() if damage == "remove" else (folder / "a.txt").write_bytes(b"damaged")
    assets.fetch("tiny")
    assert (folder / "a.txt").read_bytes() == A


def test_fetch_of_an_unknown_asset_suggests_the_nearest(world):
    world(source(), first=WHEEL)
    with pytest.raises(assets.UnknownAssetError, match="did you mean 'tiny'"):
        assets.fetch("tinny")


def test_the_second_source_is_tried_when_the_first_has_no_network(world):
    calls = world(
        source("first"), source("second"), first=assets.FetchError("first found no network"), second=WHEEL
    )
    assert (assets.fetch("tiny") / "b.txt").read_bytes() == B
    assert calls == ["first", "second"]


def test_without_a_network_one_line_names_every_source_and_the_way_out(world, tmp_path):
    world(
        source("first"),
        source("second"),
        first=assets.FetchError("pip found no network"),
        second=assets.FetchError("nltk is not installed (pip install nltk)"),
    )
    with pytest.raises(assets.FetchError) as caught:
        assets.fetch("tiny")
    assert str(caught.value) == (
        "tiny: pip found no network; nltk is not installed (pip install nltk). Once that is mended, run "
        f"`tlcourse assets fetch tiny`, or copy the folder {tmp_path / 'home' / 'tiny'} from a machine that has it"
    )
    assert left_behind(tmp_path) == []


def test_an_archive_with_the_wrong_hash_is_not_opened_and_both_hashes_are_named(world, tmp_path, monkeypatch):
    other = packed({"p/a.txt": A, "p/b.txt": b"BETA"})
    world(source(), first=other)
    monkeypatch.setattr(archives, "take", lambda *_, **__: pytest.fail("opened before its hash matched"))
    with pytest.raises(
        assets.CorruptAssetError,
        match=f"p.whl has sha256 {digest(other).sha256} .* registered is {digest(WHEEL).sha256} .*Nothing was kept",
    ):
        assets.fetch("tiny")
    assert left_behind(tmp_path) == []


def test_a_file_with_the_wrong_hash_is_not_kept_and_both_hashes_are_named(world, tmp_path):
    other = packed({"p/a.txt": A, "p/b.txt": b"BETA"})
    world(source(archive=None), first=other)
    with pytest.raises(
        assets.CorruptAssetError,
        match=f"tiny: b.txt has sha256 {digest(b'BETA').sha256} .* registered is {digest(B).sha256} .*Nothing was kept",
    ):
        assets.fetch("tiny")
    assert left_behind(tmp_path) == []


def test_a_download_cut_off_half_way_is_a_clear_error(world, tmp_path):
    world(source(archive=None), first=WHEEL[: len(WHEEL) // 2])
    with pytest.raises(assets.CorruptAssetError, match=r"p.whl is cut off or damaged"):
        assets.fetch("tiny")
    assert left_behind(tmp_path) == []


def test_a_failed_fetch_leaves_what_was_there(world):
    world(source(), first=WHEEL)
    folder = assets.fetch("tiny")
    (folder / "b.txt").unlink()
    world(source(), first=assets.FetchError("no network"))
    with pytest.raises(assets.FetchError):
        assets.fetch("tiny")
    assert (folder / "a.txt").read_bytes() == A


def test_a_full_disk_seen_beforehand_names_both_sizes(world, tmp_path, monkeypatch):
    calls = world(source(), first=WHEEL)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(
        assets.DiskFullError, match=r"disk of .*home is full \(0 MB are free, 0 MB are needed\); free"
    ):
        assets.fetch("tiny")
    assert calls == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_while_writing_leaves_no_partial_file(code, world, tmp_path, monkeypatch):
    calls = world(source("first"), source("second"), first=WHEEL, second=WHEEL)

    def copy(stream, out, length):
        out.write(stream.read(10))
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    with pytest.raises(
        assets.DiskFullError, match=r"tiny: the disk of .* is full .* set TLCOURSE_HOME to a folder"
    ):
        assets.fetch("tiny")
    assert left_behind(tmp_path) == []
    assert calls == ["first"]  # another source would not help


def test_a_client_that_fills_the_disk_is_a_full_disk(world, tmp_path):
    world(source(), first=assets.DiskFullError("pip ran out of disk space"))
    with pytest.raises(
        assets.DiskFullError, match=r"tiny: the disk of .* is full \(pip ran out of disk space\); free"
    ):
        assets.fetch("tiny")
    assert left_behind(tmp_path) == []


def test_a_cache_that_cannot_be_made_names_the_variable(world, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "file" / "cache"))
    world(source(), first=WHEEL)
    with pytest.raises(
        assets.FetchError, match=r"tiny: cannot work in .*file/cache \(Not a directory\); set TLCOURSE"
    ):
        assets.fetch("tiny")


def test_an_interrupt_leaves_nothing_and_is_passed_on(world, tmp_path):
    world(source(), first=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        assets.fetch("tiny")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("progress", [False, True])
def test_a_fetch_waits_for_another_and_says_so_when_asked(progress, world, monkeypatch):
    world(source(), first=WHEEL)
    (assets.home() / ".partial").mkdir(parents=True)
    held, released = threading.Event(), threading.Event()

    def hold():
        with FileLock(assets.home() / ".partial" / "tiny.lock"):
            held.set()
            time.sleep(0.3)
            released.set()

    threading.Thread(target=hold).start()
    held.wait()
    said = []
    monkeypatch.setattr(fetching.tqdm, "write", lambda line, file: said.append(line))
    assets.fetch("tiny", progress=progress)
    assert released.is_set()
    assert len(said) == progress


def test_what_is_taken_is_converted_before_it_is_verified(world, monkeypatch):
    monkeypatch.setitem(fetching.convert.CONVERTERS, "lower", lambda path: path.read_text().lower())
    shouted = packed({"p/a.txt": A.upper(), "p/b.txt": B.upper()})
    world(source(content=shouted, convert="lower"), first=shouted)
    assert (assets.fetch("tiny") / "b.txt").read_bytes() == B


def test_the_bar_shows_the_name_on_stderr_only_when_asked(world, capsys):
    world(source(), first=WHEEL)
    assets.fetch("tiny")
    assert capsys.readouterr() == ("", "")
    shutil.rmtree(assets.home() / "tiny")
    assets.fetch("tiny", progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "tiny" in err


SCRIPT = """
import time
from pathlib import Path
from tlcourse import assets
from tlcourse.assets import clients, registry

here = Path({here!r})
registry._registry = lambda: registry.parse((here / "assets.toml").read_text())

def client(source, folder, tick):
    with (here / "log").open("a") as log:
        log.write("called\\n")
    wheel = (here / "p.whl").read_bytes()
    with (folder / "p.whl").open("wb") as out:
        out.write(wheel[: len(wheel) // 2])
        out.flush()
        (here / "half").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
        out.write(wheel[len(wheel) // 2 :])
    return folder / "p.whl"

clients._CLIENTS = {{"first": client}}
assets.fetch("tiny", progress=True)
"""
REGISTRY = f"""
[tiny]
title = "t"
kind = "text"
licence = "l"
licence_url = "https://example.org"
citation = "c"
file = [
  {{ name = "a.txt", size = {len(A)}, sha256 = "{digest(A).sha256}" }},
  {{ name = "b.txt", size = {len(B)}, sha256 = "{digest(B).sha256}" }},
]
[[tiny.source]]
client = "first"
request = "first"
archive = {{ size = {len(WHEEL)}, sha256 = "{digest(WHEEL).sha256}" }}
take = "p"
"""


def start(tmp_path):
    """A process that fetches tiny; its client stops half-way, after making `half`, until there is a `go`."""
    (tmp_path / "assets.toml").write_text(REGISTRY)
    (tmp_path / "p.whl").write_bytes(WHEEL)
    code = SCRIPT.format(here=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "log").exists() and process.poll() is None:
        time.sleep(0.01)
    return process


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_of_two_fetches_at_once_one_downloads_and_both_end_well(world, tmp_path):
    world(source(), first=WHEEL)
    first = start(tmp_path)
    wait_for(tmp_path / "half", first)
    second = start(tmp_path)
    assert second.stderr.readline() == "tiny: another fetch is under way, waiting for it\n"
    (tmp_path / "go").touch()
    errors = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), errors
    assert (tmp_path / "log").read_text() == "called\n"
    assets.verify("tiny")


def test_a_fetch_killed_in_mid_download_keeps_nothing_and_the_next_one_succeeds(world, tmp_path):
    world(source(), first=WHEEL)
    process = start(tmp_path)
    wait_for(tmp_path / "half", process)
    kill(process)
    assert not (tmp_path / "home" / "tiny").exists()
    assert [path.stat().st_size for path in left_behind(tmp_path)] == [len(WHEEL) // 2]
    assets.fetch("tiny")
    assets.verify("tiny")
    assert {path.name for path in left_behind(tmp_path)} == {"a.txt", "b.txt", ".verified.json"}


@pytest.mark.parametrize("seconds", [0.0, 0.003, 0.01, 0.03])
def test_a_fetch_killed_while_it_unpacks_leaves_the_asset_whole_or_absent(seconds, world, tmp_path):
    world(source(), first=WHEEL)
    process = start(tmp_path)
    wait_for(tmp_path / "half", process)
    (tmp_path / "go").touch()
    time.sleep(seconds)
    kill(process)
    if (tmp_path / "home" / "tiny").exists():
        assets.verify("tiny")
    assets.fetch("tiny")
    assets.verify("tiny")
