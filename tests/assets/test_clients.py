"""The clients, against real pip with a local index, and against stand-ins for programs and libraries."""

import contextlib
import http.server
import inspect
import os
import stat
import sys
import threading
import time
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from tlcourse.assets import CorruptAssetError, DiskFullError, FetchError, clients
from tlcourse.assets.registry import Digest, Source

NAME = "tiny_asset-1-py3-none-any.whl"


def wheel(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {
            "tiny_asset/data.txt": "data",
            "tiny_asset-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-asset\nVersion: 1\n",
            "tiny_asset-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "tiny_asset-1.dist-info/RECORD": "",
        }.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path.read_bytes()


def source(client, request="tiny-asset==1", content=b"", **more):
    archive = Digest(len(content), sha256(content).hexdigest())
    return Source(**{"client": client, "request": request, "take": {}, "archive": archive, **more})


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def only_local_index(tmp_path, monkeypatch):
    """The folder that real pip is to find its packages in, and no other place."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return index


@contextlib.contextmanager
def index_that_cuts_off(content, *, at):
    """Address of a loopback index whose one wheel stops short of the length it announced."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page = f'<a href="/{NAME}">{NAME}</a>'.encode()
            body, length = (content[:at], len(content)) if self.path.endswith(".whl") else (page, len(page))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.shutdown()
        server.server_close()


def program(folder, name, text):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A function that puts a stand-in for apt-get on PATH; returns the file that gets each call's arguments."""

    def make(text):
        log = tmp_path / "apt.log"
        program(tmp_path / "bin", "apt-get", f'echo "$@" >> {log}\n{text}')
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
        return log

    return make


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A function that puts a stand-in for a library before the real one, for child processes only."""

    def make(name, text):
        (tmp_path / "libraries").mkdir(exist_ok=True)
        (tmp_path / "libraries" / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "libraries"), prepend=os.pathsep)

    return make


def test_real_pip_brings_a_wheel_and_its_noise_stays_out(only_local_index, scratch, capfd):
    content = wheel(only_local_index / NAME)
    archive = clients.deliver(source("pip-wheel", content=content), scratch)
    assert (archive.name, archive.read_bytes()) == (NAME, content)
    assert capfd.readouterr() == ("", "")


def test_real_pip_refuses_the_wrong_hash_and_both_are_named(only_local_index, scratch):
    content = wheel(only_local_index / NAME)
    other = source("pip-wheel", content=b"other")
    with pytest.raises(
        CorruptAssetError,
        match=f"pip got sha256 {sha256(content).hexdigest()}, registered is {other.archive.sha256}",
    ):
        clients.deliver(other, scratch)


def test_real_pip_with_nothing_listening_found_no_network(only_local_index, scratch, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    with pytest.raises(FetchError, match=r"^pip found no network$"):
        clients.deliver(source("pip-wheel"), scratch)


def test_real_pip_told_of_a_download_cut_off_half_way_is_a_clear_error(
    only_local_index, scratch, monkeypatch, tmp_path
):
    content = wheel(tmp_path / NAME)
    monkeypatch.delenv("PIP_NO_INDEX")
    with index_that_cuts_off(content, at=len(content) // 2) as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        with pytest.raises(
            (FetchError, CorruptAssetError), match=r"^pip('s download was cut off| got sha256 )"
        ):
            clients.deliver(source("pip-wheel", content=content), scratch)


def test_a_package_that_no_index_has_is_named_in_one_line(only_local_index, scratch):
    with pytest.raises(
        FetchError, match=r"^pip failed: ERROR: No matching distribution found for tiny-asset==1\b.*$"
    ):
        clients.deliver(source("pip-wheel"), scratch)


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (source("pip-wheel"), ["--only-binary=:all:"]),
        (source("pip-wheel", platform="manylinux2014_x86_64"), ["--only-binary=:all:", "--platform"]),
        (source("pip-sdist"), ["--no-binary=tiny-asset"]),
    ],
)
def test_pip_is_asked_for_one_hashed_package_without_dependencies(asked, options, scratch, monkeypatch):
    commands = []

    def run(command, folder, tick):
        commands.append(command)
        (folder / "archive").mkdir()
        (folder / "archive" / "tiny.tar.gz").touch()

    monkeypatch.setattr(clients, "_run", run)
    assert clients.deliver(asked, scratch).name == "tiny.tar.gz"
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", *options} <= set(command)
    line = (scratch / "requirements.txt").read_text()
    assert line == f"tiny-asset==1 --hash=sha256:{asked.archive.sha256}\n"


def test_apt_downloads_by_the_machines_own_lists_first(apt, scratch):
    log = apt("echo deb > tiny_1_all.deb")
    archive = clients.deliver(source("apt", "tiny=1"), scratch)
    assert (archive.name, archive.read_text()) == ("tiny_1_all.deb", "deb\n")
    assert log.read_text() == "-o APT::Sandbox::User=root download tiny=1\n"


def test_apt_without_lists_gets_its_own_and_leaves_the_machines_alone(apt, scratch):
    log = apt('case "$*" in *Dir::State=*download*) echo deb > tiny.deb;; *update) ;; *) exit 100;; esac')
    assert clients.deliver(source("apt", "tiny=1"), scratch).name == "tiny.deb"
    first, update, second = log.read_text().splitlines()
    assert "Dir::State" not in first
    for line in (update, second):
        assert f"Dir::State={scratch}/apt/state" in line and f"Dir::Cache={scratch}/apt/cache" in line


def test_apt_without_a_network_says_so_though_apt_get_ends_well(apt, scratch):
    apt(
        'case "$*" in *update) echo "W: Temporary failure resolving";; *) echo "E: Unable to locate"; exit 100;; esac'
    )
    with pytest.raises(FetchError, match=r"^apt-get found no network$"):
        clients.deliver(source("apt", "tiny=1"), scratch)


def test_one_repository_out_of_reach_among_others_is_no_failure(apt, scratch):
    lists = scratch / "apt" / "state" / "lists"
    apt(
        f'case "$*" in *update) touch {lists}/debian_main; echo "W: Temporary failure resolving";;'
        " *Dir::State*) echo deb > tiny.deb;; *) exit 100;; esac"
    )
    assert clients.deliver(source("apt", "tiny=1"), scratch).name == "tiny.deb"


def test_apt_with_a_full_disk_is_not_tried_again(apt, scratch):
    log = apt('echo "E: write: No space left on device"; exit 100')
    with pytest.raises(DiskFullError):
        clients.deliver(source("apt", "tiny=1"), scratch)
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.parametrize("client", ["apt", "apt-index"])
def test_a_machine_without_apt_is_told_where_it_exists(client, scratch, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FetchError, match=r"apt-get is not on this machine \(it is on Debian"):
        clients.deliver(source(client), scratch)


def test_apt_that_leaves_two_files_is_refused(apt, scratch):
    apt("touch a.deb b.deb")
    with pytest.raises(FetchError, match="apt left 2 files for tiny=1, expected one"):
        clients.deliver(source("apt", "tiny=1"), scratch)


def test_apts_index_is_the_one_that_indextargets_names(apt, scratch, tmp_path):
    (tmp_path / "index").write_text("Package: a\n")
    log = apt(f'case "$*" in *indextargets*) echo {tmp_path}/absent; echo {tmp_path}/index;; esac')
    folder = clients.deliver(source("apt-index", "bookworm", archive=None), scratch)
    assert (folder / "Translation-en").read_text() == "Package: a\n"
    update, targets = log.read_text().splitlines()
    assert update.endswith("update") and "Acquire::Languages=en" in update
    assert targets.endswith("Component: main Codename: bookworm")


def test_apt_of_another_release_has_no_such_index(apt, scratch):
    apt("")
    with pytest.raises(FetchError, match="apt on this machine has no index of Debian bookworm"):
        clients.deliver(source("apt-index", "bookworm", archive=None), scratch)


def test_huggingface_hub_is_asked_for_each_file_at_the_revision(library, scratch):
    library(
        "huggingface_hub",
        """
from pathlib import Path
def hf_hub_download(repository, file, *, revision, local_dir):
    path = Path(local_dir) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{repository} {revision}")
""",
    )
    asked = source("hub", "who/what", take={"a": "x/a", "b": "b"}, archive=None, revision="0123")
    folder = clients.deliver(asked, scratch)
    assert {path: (folder / path).read_text() for path in ("x/a", "b")} == dict.fromkeys(
        ("x/a", "b"), "who/what 0123"
    )


def test_torchvision_is_asked_for_the_data_set(library, scratch):
    library(
        "torchvision",
        """
from pathlib import Path
class datasets:
    def FashionMNIST(root, download):
        Path(root, "FashionMNIST").mkdir(parents=True)
        Path(root, "FashionMNIST", "raw").write_text(str(download))
""",
    )
    folder = clients.deliver(source("torchvision", "FashionMNIST", archive=None), scratch)
    assert (folder / "FashionMNIST" / "raw").read_text() == "True"


def test_nltk_is_asked_for_the_package_and_for_errors(library, scratch):
    library(
        "nltk",
        """
from pathlib import Path
def download(package, *, download_dir, quiet, raise_on_error):
    Path(download_dir).mkdir()
    Path(download_dir, package).write_text(str(raise_on_error))
""",
    )
    folder = clients.deliver(source("nltk", "wordnet", archive=None), scratch)
    assert (folder / "wordnet").read_text() == "True"


def test_torch_is_asked_for_the_address(library, scratch):
    library(
        "torch",
        """
from pathlib import Path
class hub:
    def download_url_to_file(url, path, *, progress):
        Path(path).write_text(url)
""",
    )
    archive = clients.deliver(source("torch", "https://example.org/deep/file.xz"), scratch)
    assert (archive.name, archive.read_text()) == ("file.xz", "https://example.org/deep/file.xz")


def test_the_libraries_have_the_arguments_that_are_used():
    import huggingface_hub
    import torch
    import torchvision

    assert {"revision", "local_dir"} <= set(inspect.signature(huggingface_hub.hf_hub_download).parameters)
    assert "download" in inspect.signature(torchvision.datasets.FashionMNIST).parameters
    assert "progress" in inspect.signature(torch.hub.download_url_to_file).parameters


def test_a_library_that_is_not_installed_is_named_with_its_remedy(library, scratch):
    library("nltk", "import no_such_library")
    with pytest.raises(
        FetchError, match=r"^no_such_library is not installed \(pip install no_such_library\)$"
    ):
        clients.deliver(source("nltk", "wordnet", archive=None), scratch)


def test_an_installed_package_is_found_but_never_imported(scratch, tmp_path, monkeypatch):
    package = tmp_path / "tiny_package"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert (
        clients.deliver(source("installed", "tiny_package/data", archive=None), scratch) == package / "data"
    )


def test_a_package_that_is_not_installed_is_named(scratch):
    with pytest.raises(FetchError, match="no_such_package is not installed"):
        clients.deliver(source("installed", "no_such_package/data", archive=None), scratch)


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        (
            "ERROR: Could not install: [Errno 28] No space left on device",
            DiskFullError,
            "pip ran out of disk space",
        ),
        ("E: You don't have enough free space in /x.", DiskFullError, "pip ran out of disk space"),
        (
            "after connection broken by NewConnectionError: Name or service not known",
            FetchError,
            "pip found no network",
        ),
        (
            "socket.gaierror: [Errno -3] Temporary failure in name resolution",
            FetchError,
            "pip found no network",
        ),
        ("URLError: <urlopen error [Errno 111] Connection refused>", FetchError, "pip found no network"),
        (
            "ProtocolError('Connection broken: IncompleteRead(5 bytes read)')",
            FetchError,
            "pip's download was cut off",
        ),
        ("error: incomplete-download", FetchError, "pip's download was cut off"),
        (
            "E: File has unexpected size (1 != 2). Mirror sync in progress?",
            FetchError,
            "pip's download was cut off",
        ),
        ("/bin/python: No module named pip", FetchError, r"pip is not installed \(pip install pip\)"),
        ("noise\nERROR: the reason\nmore noise", FetchError, "pip failed: ERROR: the reason"),
        ("noise\nlast words\n", FetchError, "pip failed: last words"),
        ("", FetchError, "pip failed: no output"),
    ],
)
def test_what_a_failed_client_says_becomes_one_plain_line(output, kind, message, scratch, monkeypatch):
    program(scratch, "python", f"cat <<'EOF'\n{output}\nEOF\nexit 1")
    monkeypatch.setattr(sys, "executable", str(scratch / "python"))
    with pytest.raises(kind, match=f"^{message}$"):
        clients.deliver(source("pip-wheel"), scratch)


def test_an_interrupt_ends_the_client(apt, scratch, tmp_path):
    apt(f"echo $$ > {tmp_path}/pid; exec sleep 60")

    def tick():
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        clients.deliver(source("apt", "tiny=1"), scratch, tick)
    assert time.monotonic() - begin < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_clients_put_their_scratch_files_beside_the_download(apt, scratch):
    apt('echo "$TMPDIR" > tiny.deb')
    assert clients.deliver(source("apt", "tiny=1"), scratch).read_text() == f"{scratch / 'tmp'}\n"
    assert Path(scratch / "tmp").is_dir()
