"""`{assets}`: every entry of the registry, with its licence and where it comes from."""

from docutils import nodes
from measured import escaped
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tlcourse import assets


def entry(asset: assets.Asset) -> list[str]:
    """The Markdown of one asset: a term and its description."""
    licence = escaped(asset.licence or "no licence stated by its authors")
    if asset.licence_url:
        licence = f"[{licence}]({asset.licence_url})"
    sources = "; ".join(f"`{s.request}` ({s.client})" for s in asset.sources)
    note = escaped(asset.licence_note)
    if note:  # whole sentences stand by themselves, a remark in brackets
        note = f". {note}" if asset.licence_note.endswith(".") else f" ({note})."
    return [
        f"{escaped(asset.title)}",
        f": `{asset.name}`, {asset.size / 1e6:,.1f} MB. Licence: {licence}{note or '.'}",
        f"  Cite: {escaped(asset.citation)}. From: {sources}.",
        "",
    ]


class Assets(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        found = [assets.get(name) for name in assets.names()]
        return self.parse_text_to_nodes(
            "\n".join(line for asset in found for line in entry(asset))
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("assets", Assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
