"""Multi-task learning: several tasks train the encoders of all views together."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn


class MultiTaskModel(nn.Module):
    """An encoder for each view, one fusion, a head for each task; every task's loss trains what it reads.

    encoders: view → module giving (B, D); the same module under two names is shared. fusion: takes their outputs in
    that order. heads: task → module on the fused features, or, where reads names a view for the task, on that view's
    own features. Caruana (1997), "Multitask learning". The modules are used as they are, not copied. Losses are summed
    outside, by `joint_loss`. Raises ValueError where there is no view or no task, and for names in reads that are not.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module,
        heads: Mapping[str, nn.Module],
        *,
        reads: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        reads = dict(reads or {})
        if not encoders or not heads:
            raise ValueError(
                f"{len(encoders)} encoders and {len(heads)} heads; give a view and a task, at least"
            )
        for task, view in reads.items():
            if task not in heads or view not in encoders:
                raise ValueError(
                    f"reads has {task!r}: {view!r}; the tasks are {list(heads)}, the views {list(encoders)}"
                )
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.heads = nn.ModuleDict(heads)
        self.reads = reads

    def features(self, inputs: Mapping[str, Any]) -> Tensor:
        """Fused features of all views, (B, W)."""
        return self.fusion(list(self._encode(inputs, list(self.encoders)).values()))

    def forward(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """inputs: view → what its encoder takes; tasks: those wanted, None for all. {task: output}.

        Only encoders whose features a wanted task reads are run, so that a batch may lack the other views.
        Raises ValueError for an unknown task and for a view that is missing.
        """
        tasks = list(self.heads) if tasks is None else list(tasks)
        if unknown := [task for task in tasks if task not in self.heads]:
            raise ValueError(f"no tasks {unknown}; there are {list(self.heads)}")
        fused = any(task not in self.reads for task in tasks)
        read = {self.reads[task] for task in tasks if task in self.reads}
        encoded = self._encode(inputs, [view for view in self.encoders if fused or view in read])
        together = self.fusion(list(encoded.values())) if fused else None
        return {
            task: self.heads[task](encoded[self.reads[task]] if task in self.reads else together)
            for task in tasks
        }

    def _encode(self, inputs: Mapping[str, Any], views: Sequence[str]) -> dict[str, Tensor]:
        if missing := [view for view in views if view not in inputs]:
            raise ValueError(
                f"inputs hold the views {list(inputs)}, not {missing}, which the wanted tasks read; give them, or "
                "fewer tasks"
            )
        return {view: self.encoders[view](inputs[view]) for view in views}
