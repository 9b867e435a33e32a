"""`{api} tlcourse.training`: the public names of a module, their signatures and docstrings, read from its source.

Nothing is imported, so the page builds in a moment and shows no default of the building machine.
"""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from measured import escaped
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

MAX_VALUE = 300  # characters of a constant's value


def source_of(module: str) -> Path:
    """The file of a module of tlcourse, found without importing it."""
    root = Path(find_spec("tlcourse").submodule_search_locations[0])
    place = root.joinpath(*module.split(".")[1:])
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    for file in candidates:
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"no module {module}: neither {' nor '.join(map(str, candidates))}"
    )


def tree_of(module: str) -> ast.Module:
    return ast.parse(source_of(module).read_text(encoding="utf-8"))


def public_names(tree: ast.Module) -> list[str]:
    """`__all__`, or the functions and classes defined here whose names have no leading underscore."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [
            ast.unparse(t) for t in node.targets
        ] == ["__all__"]:
            return ast.literal_eval(node.value)
    defined = [
        n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)
    ]
    return [name for name in defined if not name.startswith("_")]


def definition(
    module: str, name: str
) -> ast.FunctionDef | ast.ClassDef | ast.Assign | None:
    """The node that defines a name, in this module or in the one it is imported from; None for what is neither."""
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and name in [
            ast.unparse(t) for t in node.targets
        ]:
            return node
        if isinstance(node, ast.ImportFrom) and name in [
            a.asname or a.name for a in node.names
        ]:
            original = next(
                a.name for a in node.names if name == (a.asname or a.name)
            )
            return (
                definition(node.module, original)
                if (node.module or "").startswith("tlcourse")
                else None
            )
    return None


def arguments(node: ast.FunctionDef, *, bound: bool = False) -> str:
    """A signature without annotations, and without `self` where it is bound."""
    given = node.args
    for argument in [
        *given.posonlyargs,
        *given.args,
        *given.kwonlyargs,
        given.vararg,
        given.kwarg,
    ]:
        if argument is not None:
            argument.annotation = None
    first = given.posonlyargs or given.args
    if bound and first:
        del first[0]
    return f"({ast.unparse(given)})"


def decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    return {
        ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list
    }


def fields(node: ast.ClassDef) -> str:
    """The signature of a dataclass, out of its fields."""
    shown = []
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and "ClassVar" not in ast.unparse(
            field.annotation
        ):
            default = f"={_default(field.value)}" if field.value is not None else ""
            shown.append(f"{ast.unparse(field.target)}{default}")
    return f"({', '.join(shown)})"


def _default(value: ast.expr) -> str:
    return "…" if isinstance(value, ast.Call) else ast.unparse(value)


def prose(docstring: str | None) -> list[str]:
    """A docstring as Markdown: paragraphs, with `code` kept as code and everything else shown as it stands."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", docstring or ""):
        if paragraph.lstrip().startswith((">>>", "$ ")):
            lines += ["```python", *paragraph.splitlines(), "```", ""]
            continue
        text = " ".join(paragraph.split())
        parts = re.split(r"(`+[^`]+`+)", text)
        lines += [
            "".join(p if p.startswith("`") else escaped(p) for p in parts),
            "",
        ]
    return lines


def value(node: ast.expr) -> str:
    """A constant's value as Markdown, or how many values it has where they would fill the page."""
    text = ast.unparse(node)
    if len(text) > MAX_VALUE and isinstance(node, ast.Tuple | ast.List):
        return f"{len(node.elts)} values, which the source lists."
    return f"`{text}`"


def entry(module: str, name: str) -> list[str]:
    """The Markdown of one public name."""
    node = definition(module, name)
    if isinstance(node, ast.FunctionDef):
        return _object(
            "function",
            module,
            name + arguments(node),
            prose(ast.get_docstring(node)),
        )
    if isinstance(node, ast.ClassDef):
        return _class(module, name, node)
    if isinstance(node, ast.Assign):
        return _object("data", module, name, prose(value(node.value)))
    return []


def _class(module: str, name: str, node: ast.ClassDef) -> list[str]:
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    made = next(
        (arguments(n, bound=True) for n in methods if n.name == "__init__"), ""
    )
    made = made or (fields(node) if "dataclass" in decorators(node) else "")
    bases = {ast.unparse(b) for b in node.bases}
    kind = (
        "exception"
        if any(b.endswith(("Error", "Exception")) for b in bases)
        else "class"
    )
    content = prose(ast.get_docstring(node))
    for method in methods:
        if not method.name.startswith("_") and ast.get_docstring(method):
            content += list(_method(method))
    return _object(kind, module, name + made, content)


def _method(node: ast.FunctionDef) -> Iterator[str]:
    found = decorators(node)
    kind = "property" if "property" in found else "method"
    shown = (
        node.name
        if kind == "property"
        else node.name + arguments(node, bound="staticmethod" not in found)
    )
    yield from [
        f"````{{py:{kind}}} {shown}",
        "",
        *prose(ast.get_docstring(node)),
        "````",
        "",
    ]


def _object(
    kind: str, module: str, signature: str, content: list[str]
) -> list[str]:
    return [
        f"`````{{py:{kind}}} {signature}",
        f":module: {module}",
        "",
        *content,
        "`````",
        "",
    ]


class Api(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        self.env.note_dependency(str(source_of(module)))
        tree = tree_of(module)
        lines = prose(ast.get_docstring(tree))
        for name in sorted(public_names(tree), key=str.lower):
            lines += entry(module, name)
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("api", Api)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
