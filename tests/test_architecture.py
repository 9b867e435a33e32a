"""Who may import whom. A unit is a module or package of tlcourse; in GROUPS, each member is a unit of its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tlcourse"
GROUPS = ("models", "transfer")
EVERYTHING = None
# Unit or group → what it may import besides itself. Siblings never import each other, nothing imports cli.
MAY_IMPORT = {
    "runtime": set(),
    "assets": set(),
    "spans": set(),
    "datasets": {"assets", "spans"},
    "layers": set(),
    "weights": {"assets"},
    "tokenizers": set(),
    "models": {"layers", "weights", "tokenizers"},
    "models.encoders": {"assets", "weights"},
    "transfer": {"layers"},
    "transfer.distance": {"metrics"},
    "training": {"runtime", "weights"},
    "pretraining": {"tokenizers"},
    "metrics": {"spans"},
    "results": {"assets", "metrics", "runtime"},
    "claims": {"runtime"},
    "exercises": {"checkers"},
    "checkers": {"exercises", "widgets"},
    "figures": set(),
    "tables": set(),
    "widgets": set(),
    "prose": set(),
    "export": {"models"},
    "serve": {"models"},
    "cli": EVERYTHING,
}


def module_of(path, package):
    parts = ("tlcourse", *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit_of(module):
    """'tlcourse.transfer.finetuning.lora' → 'transfer.finetuning'; '' for the package itself."""
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts and parts[0] in GROUPS else 1])


def imports(path, package):
    """Modules of tlcourse that a file imports, wherever in it, relative imports resolved."""
    here = module_of(path, package).split(".")
    here = here if path.name == "__init__.py" else here[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level + 1]] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {module for module in found if module.split(".")[0] == "tlcourse"}


def violations(package):
    found = []
    for path in sorted(package.rglob("*.py")):
        unit = unit_of(module_of(path, package))
        if not unit:
            found += [f"tlcourse imports {m}: it imports nothing" for m in imports(path, package)]
            continue
        group = unit.split(".")[0]
        if group not in MAY_IMPORT:
            found.append(f"{unit} has no row: say what it may import")
            continue
        allowed = MAY_IMPORT.get(unit, MAY_IMPORT[group])
        for other in sorted({unit_of(module) for module in imports(path, package)} - {unit}):
            if other == "cli" or (allowed is not EVERYTHING and other.split(".")[0] not in allowed):
                found.append(f"{module_of(path, package)} imports {other or 'tlcourse itself'}")
    return found


def test_modules_import_only_what_their_row_names():
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "source", "violation"),
    [
        ("runtime.py", "from tlcourse import assets", "tlcourse.runtime imports assets"),
        ("runtime.py", "import tlcourse.assets.store", "tlcourse.runtime imports assets"),
        ("runtime.py", "def f():\n    from .assets import get", "tlcourse.runtime imports assets"),
        ("transfer/a.py", "from tlcourse.transfer import b", "tlcourse.transfer.a imports transfer.b"),
        (
            "transfer/a/x.py",
            "from tlcourse.transfer.b.y import z",
            "tlcourse.transfer.a.x imports transfer.b",
        ),
        ("transfer/a/x.py", "from ..b import z", "tlcourse.transfer.a.x imports transfer.b"),
        ("models/bert.py", "from . import gpt2", "tlcourse.models.bert imports models.gpt2"),
        ("serve.py", "from tlcourse import cli", "tlcourse.serve imports cli"),
        ("new.py", "", "new has no row: say what it may import"),
        (
            "__init__.py",
            "from tlcourse import assets",
            "tlcourse imports tlcourse.assets: it imports nothing",
        ),
        ("transfer/a/x.py", "from tlcourse.transfer.a.y import z", None),
        ("transfer/a/x.py", "from . import y\nfrom tlcourse.layers import attention", None),
        ("models/encoders.py", "from tlcourse import assets, weights", None),
        ("cli.py", "from tlcourse import assets\nfrom tlcourse.models import bert", None),
        ("runtime.py", "import torch\nfrom pathlib import Path", None),
    ],
)
def test_each_kind_of_violation_is_found(tmp_path, file, source, violation):
    path = tmp_path / "tlcourse" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path / "tlcourse") == ([violation] if violation else [])
