"""The wheel: that an installed package finds the registry, the results and the checkpoints."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
from tlcourse.assets import registry
print(registry._file())
print(len(registry.names()))
from tlcourse.weights import checkpoints, locate
print(checkpoints(), locate("x"))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The unpacked wheel of a copy of the checkout, to which a result and a checkpoint were added."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "tlcourse", source / "tlcourse", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "data").mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "data/assets.toml"):
        shutil.copy(ROOT / name, source / name)
    for name in (
        "results/transfer/x.json",
        "benchmarks/x.json",
        "published/x.json",
        "spoken-words/clips.xz",
        "checkpoints/x/card.json",
        "checkpoints/x/model.safetensors",
        "claims/x.json",
    ):
        (source / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "data" / name).write_text("{}")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", folder, source], check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_carries_registry_results_and_checkpoints(installed):
    assert (installed / "tlcourse/data/assets.toml").read_bytes() == (ROOT / "data/assets.toml").read_bytes()
    carried = {
        path.relative_to(installed / "tlcourse/data").as_posix()
        for path in (installed / "tlcourse/data").rglob("*.*")
    }
    assert carried == {
        "assets.toml",
        "results/transfer/x.json",
        "benchmarks/x.json",
        "published/x.json",
        "spoken-words/clips.xz",
        "checkpoints/x/card.json",
        "checkpoints/x/model.safetensors",
    }


def test_the_wheel_puts_nothing_beside_the_package(installed):
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"tlcourse"}


def test_the_wheel_carries_every_module(installed):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tlcourse").rglob("*.py")}
    assert modules <= {path.relative_to(installed).as_posix() for path in installed.rglob("*.py")}


def test_the_installed_package_reads_its_own_registry_and_checkpoints(installed):
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOOK, installed], capture_output=True, text=True, check=True
    )
    data = installed / "tlcourse" / "data"
    assert done.stdout.splitlines() == [
        str(data / "assets.toml"),
        "12",
        f"['x'] {data / 'checkpoints' / 'x'}",
    ]
