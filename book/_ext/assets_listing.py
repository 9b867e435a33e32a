"""`{assets}`: every entry of the registry, with its licence and where it comes from.

`{checkpoints}`: the project's own checkpoints, in a table of what was measured, and each with its card.
"""

from pathlib import Path

from docutils import nodes
from measured import escaped
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tlcourse import assets, weights
from tlcourse.weights import shipped


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


def overview(cards: list[weights.Card], sizes: dict[str, int]) -> list[str]:
    """The Markdown of a table with a row for each checkpoint. sizes: bytes of its weights, by name."""
    lines = ["```{list-table}", ":header-rows: 1", ":class: checkpoints", ""]
    lines += ["* - Checkpoint", "  - Trained on", "  - Training"]
    lines += ["  - Measured on held-out data"]
    for card in cards:
        corpora = "; ".join(escaped(corpus.name) for corpus in card.corpora)
        measured = "; ".join(
            f"{escaped(name)} {escaped(number(value))}"
            for name, value in card.metrics.items()
        )
        lines += [
            f"* - `{card.name}`, {sizes[card.name] / 1e6:,.1f} MB",
            f"  - {corpora}",
            f"  - {card.steps:,} steps, {read(card)}, {took(card.cpu_seconds)}",
            f"  - {measured}",
        ]
    return [*lines, "```", ""]


def read(card: weights.Card) -> str:
    """How much the network saw, in its own units."""
    if card.model == "ResNet":
        return f"{card.tokens:,} images"
    if card.model.endswith("Autoencoder"):
        return f"{card.tokens:,} items"
    return f"{card.tokens / 1e6:,.1f} million tokens"


def took(cpu_seconds: float) -> str:
    """Processor time, in minutes where it is short."""
    if cpu_seconds < 360:
        return f"{cpu_seconds / 60:.1f} core-minutes"
    return f"{cpu_seconds / 3600:.1f} core-hours"


def clock(seconds: float) -> str:
    """Time by the clock, in seconds where it is short."""
    return (
        f"{seconds:.0f} seconds"
        if seconds < 120
        else f"{seconds / 60:,.0f} minutes"
    )


def number(value: float) -> str:
    """A measured number to three digits, whole where it is larger."""
    shown = f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
    return shown.replace("-", "−")


def card_entry(card: weights.Card) -> list[str]:
    """The Markdown of one card: a term and its description."""
    processor = card.environment.get("processor", "an unnamed processor")
    torch = card.environment.get("torch", "?")
    corpora = "; ".join(
        f"{escaped(c.name)} (licence: {escaped(c.licence)}; sha256 `{c.sha256[:12]}…`)"
        for c in card.corpora
    )
    return [
        f"`{card.name}`",
        f': Open it with `{card.model}.from_pretrained("{card.name}")`.',
        f"  Good for: {escaped(card.good_for)}",
        f"  Not good for: {escaped(card.not_good_for)}",
        "",
        f"  Trained on {corpora}; seed {card.seed}; {clock(card.seconds)} on",
        f"  {escaped(str(processor))} with PyTorch {escaped(str(torch))}. Made by",
        f"  `{card.command}`; sha256 of its weights `{card.sha256[:12]}…`.",
        "",
    ]


class Checkpoints(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        folder = shipped.home()
        for file in folder.rglob("card.json"):
            self.env.note_dependency(str(file))
        cards = weights.cards()
        if not cards:
            return self.parse_text_to_nodes("No checkpoint is stored yet.")
        sizes = {card.name: weights_bytes(folder / card.name) for card in cards}
        lines = overview(cards, sizes)
        for card in cards:
            lines += card_entry(card)
        return self.parse_text_to_nodes("\n".join(lines))


def weights_bytes(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("assets", Assets)
    app.add_directive("checkpoints", Checkpoints)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
