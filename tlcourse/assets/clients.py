"""The clients that bring assets: pip, apt-get, huggingface_hub, torchvision, torch.hub, nltk, an installed package.

Each runs in a process of its own, so that its noise stays out of ours, its scratch files land beside the download
and an interrupt ends it. A client gets an empty folder and answers with an archive in it or with a folder of files.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tlcourse.assets.errors import CorruptAssetError, DiskFullError, FetchError
from tlcourse.assets.registry import Source

Tick = Callable[[], None]

_HUB = """
import sys
from huggingface_hub import hf_hub_download
repository, revision, folder, *files = sys.argv[1:]
for file in files:
    hf_hub_download(repository, file, revision=revision, local_dir=folder)
"""
_TORCHVISION = """
import sys
import torchvision
getattr(torchvision.datasets, sys.argv[1])(sys.argv[2], download=True)
"""
_NLTK = """
import sys
import nltk
nltk.download(sys.argv[1], download_dir=sys.argv[2], quiet=True, raise_on_error=True)
"""
_TORCH = """
import sys
import torch
torch.hub.download_url_to_file(sys.argv[1], sys.argv[2], progress=False)
"""

_AS_CALLER = (
    "-o",
    "APT::Sandbox::User=root",
)  # or root's apt would hand over to a user who cannot write here

_NO_NETWORK = re.compile(
    r"not known|name resolution|failure resolving|could not resolve|nodename nor servname|getaddrinfo failed|"
    r"no address associated|network is unreachable|no route to host|connection refused|connection timed out|"
    r"NewConnectionError|ConnectTimeout|ConnectError|LocalEntryNotFoundError|OfflineModeIsEnabled|urlopen error|"
    r"unable to connect|could not connect",
    re.IGNORECASE,
)
_CUT_OFF = re.compile(
    r"IncompleteRead|connection broken|incomplete download|incomplete-download|connection reset|RemoteDisconnected|"
    r"ReadTimeout|read timed out|unexpected size|connection closed|ContentTooShort|server closed|expected \d+ bytes",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|enough free space", re.IGNORECASE)


def deliver(source: Source, folder: Path, tick: Tick = lambda: None) -> Path:
    """What the source's client brings into the empty folder: an archive, or a folder of files.

    tick is called several times a second while the client works. Raises FetchError where the client is not
    installed, finds no network, or fails; CorruptAssetError where it refuses a hash; DiskFullError.
    """
    return _CLIENTS[source.client](source, folder, tick)


def _pip_wheel(source: Source, folder: Path, tick: Tick) -> Path:
    platform = ["--platform", source.platform] if source.platform else []
    return _pip(source, folder, tick, ["--only-binary=:all:", *platform])


def _pip_sdist(source: Source, folder: Path, tick: Tick) -> Path:
    """pip runs an sdist's setup.py to learn its name, but only after the archive's hash matched."""
    return _pip(source, folder, tick, [f"--no-binary={source.request.partition('==')[0]}"])


def _pip(source: Source, folder: Path, tick: Tick, options: Sequence[str]) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.request} --hash=sha256:{source.archive.sha256}\n", encoding="utf-8")
    target = folder / "archive"
    quiet = ["--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off", "--retries=1"]
    wanted = ["--no-deps", "--require-hashes", "--requirement", str(requirements), "--dest", str(target)]
    _run([sys.executable, "-m", "pip", "download", *quiet, *wanted, *options], folder, tick)
    return _only_file(target, source)


def _apt(source: Source, folder: Path, tick: Tick) -> Path:
    """First by the package lists that this machine has, then by fresh ones of our own."""
    _require_program("apt-get", "Debian and its relatives")
    target = folder / "archive"
    target.mkdir()
    try:
        _run(["apt-get", *_AS_CALLER, "download", source.request], folder, tick, cwd=target)
    except DiskFullError:
        raise
    except FetchError:
        _apt_update(_apt_options(folder), folder, tick)
        _run(["apt-get", *_apt_options(folder), "download", source.request], folder, tick, cwd=target)
    return _only_file(target, source)


def _apt_index(source: Source, folder: Path, tick: Tick) -> Path:
    """apt's English package descriptions of one release, checked by apt against the signed release file."""
    _require_program("apt-get", "Debian and its relatives")
    options = [
        *_apt_options(folder),
        *("-o", "Acquire::Languages=en", "-o", "Acquire::GzipIndexes=false"),
        *("-o", "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false"),
    ]
    _apt_update(options, folder, tick)
    wanted = ["Created-By: Translations", "Language: en", "Component: main", f"Codename: {source.request}"]
    listed = _run(["apt-get", *options, "indextargets", "--format", "$(FILENAME)", *wanted], folder, tick)
    found = [Path(line) for line in listed.splitlines() if Path(line).is_file()]
    if not found:
        raise FetchError(f"apt on this machine has no index of Debian {source.request}")
    target = folder / "files"
    target.mkdir()
    shutil.copyfile(found[0], target / "Translation-en")
    return target


def _hub(source: Source, folder: Path, tick: Tick) -> Path:
    files = list(source.take.values())
    _run(
        [sys.executable, "-c", _HUB, source.request, source.revision, str(folder / "files"), *files],
        folder,
        tick,
    )
    return folder / "files"


def _torchvision(source: Source, folder: Path, tick: Tick) -> Path:
    _run([sys.executable, "-c", _TORCHVISION, source.request, str(folder / "files")], folder, tick)
    return folder / "files"


def _torch(source: Source, folder: Path, tick: Tick) -> Path:
    target = folder / source.request.rpartition("/")[2]
    _run([sys.executable, "-c", _TORCH, source.request, str(target)], folder, tick)
    return target


def _nltk(source: Source, folder: Path, tick: Tick) -> Path:
    _run([sys.executable, "-c", _NLTK, source.request, str(folder / "files")], folder, tick)
    return folder / "files"


def _installed(source: Source, folder: Path, tick: Tick) -> Path:
    """A folder of an installed package, found without importing the package."""
    package, _, inside = source.request.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FetchError(f"{package} is not installed")
    return Path(spec.origin).parent / inside


_CLIENTS = {
    "pip-wheel": _pip_wheel,
    "pip-sdist": _pip_sdist,
    "apt": _apt,
    "apt-index": _apt_index,
    "hub": _hub,
    "torchvision": _torchvision,
    "torch": _torch,
    "nltk": _nltk,
    "installed": _installed,
}


def _run(command: Sequence[str], scratch: Path, tick: Tick, *, cwd: Path | None = None) -> str:
    """Output of a command that succeeds; FetchError with one line of it otherwise."""
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "LC_ALL": "C.UTF-8"}
    log = scratch / "output.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=cwd
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    tick()
        except BaseException:
            process.kill()
            process.wait()
            raise
    output = log.read_text(encoding="utf-8", errors="replace")
    if code:
        raise _failure(_client_name(command), output)
    return output


def _failure(client: str, output: str) -> Exception:
    if _NO_SPACE.search(output):
        return DiskFullError(f"{client} ran out of disk space")
    expected, got = (
        re.search(rf"{word}\s+(?:sha256 )?([0-9a-f]{{64}})", output) for word in ("Expected", "Got")
    )
    if expected and got:
        return CorruptAssetError(f"{client} got sha256 {got[1]}, registered is {expected[1]}")
    if missing := re.search(r"No module named '?([\w.]+)", output):
        return FetchError(f"{missing[1]} is not installed (pip install {missing[1]})")
    if _NO_NETWORK.search(output):
        return FetchError(f"{client} found no network")
    if _CUT_OFF.search(output):
        return FetchError(f"{client}'s download was cut off")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines or ["no output"]
    return FetchError(f"{client} failed: {telling[-1][:200]}")


def _client_name(command: Sequence[str]) -> str:
    if command[0] != sys.executable:
        return command[0]
    scripts = {_HUB: "huggingface_hub", _TORCHVISION: "torchvision", _TORCH: "torch.hub", _NLTK: "nltk"}
    return scripts.get(command[2], command[2])


def _apt_options(folder: Path) -> list[str]:
    """A state and cache of our own: works without root and leaves the machine's lists as they are."""
    state, cache = folder / "apt" / "state", folder / "apt" / "cache"
    for needed in (state / "lists" / "partial", cache / "archives" / "partial"):
        needed.mkdir(parents=True, exist_ok=True)
    return [*_AS_CALLER, "-o", f"Dir::State={state}", "-o", f"Dir::Cache={cache}"]


def _apt_update(options: Sequence[str], folder: Path, tick: Tick) -> None:
    """apt-get ends well without a network too, with warnings; one broken repository among many is no failure."""
    output = _run(["apt-get", *options, "update"], folder, tick)
    lists = (folder / "apt" / "state" / "lists").glob("*_*")
    if _NO_NETWORK.search(output) and not any(lists):
        raise FetchError("apt-get found no network")


def _require_program(program: str, where: str) -> None:
    if shutil.which(program) is None:
        raise FetchError(f"{program} is not on this machine (it is on {where})")


def _only_file(folder: Path, source: Source) -> Path:
    files = list(folder.iterdir())
    if len(files) != 1:
        raise FetchError(f"{source.client} left {len(files)} files for {source.request}, expected one")
    return files[0]
