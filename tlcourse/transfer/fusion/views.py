"""What all fusions take: the features of one batch, view by view."""

from collections.abc import Sequence

from torch import Tensor

Views = Sequence[Tensor]  # of each view (B, D), D the view's own


def check_widths(widths: Sequence[int], *, at_least: int = 1) -> tuple[int, ...]:
    """The widths as a tuple. Raises ValueError for too few views and for a width below 1."""
    widths = tuple(widths)
    if len(widths) < at_least:
        raise ValueError(f"widths={list(widths)}; give a width for each view, at least {at_least}")
    if bad := [width for width in widths if width < 1]:
        raise ValueError(f"widths={list(widths)} hold {bad[0]}; a view has at least one feature")
    return widths


def one_width(widths: Sequence[int], what: str) -> int:
    """The width all views have. Raises ValueError where they differ, or there are none."""
    widths = check_widths(widths)
    if len(set(widths)) > 1:
        raise ValueError(
            f"a {what} needs views of one width, not {list(widths)}; bring them to one by "
            f"TransformFusion.learned({list(widths)}, width, fusion={what})"
        )
    return widths[0]


def check_views(views: Views, widths: Sequence[int | None]) -> None:
    """Raise ValueError unless views are (B, D) finite tensors, one of each width (None: any), of one batch."""
    if isinstance(views, Tensor):
        raise ValueError(f"views is one tensor, {tuple(views.shape)}; give a list of them, one for each view")
    shapes = [tuple(view.shape) for view in views]
    if len(shapes) != len(widths):
        raise ValueError(f"{len(shapes)} views for a fusion of {len(widths)}; give one tensor for each")
    for number, (shape, width) in enumerate(zip(shapes, widths, strict=True)):
        if len(shape) != 2 or width not in (None, shape[1]):
            wanted = "D" if width is None else width
            raise ValueError(f"view {number} is {shape}; give (B, {wanted})")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"views hold {[shape[0] for shape in shapes]} items; row i of every view must be the same item"
        )
    for number, view in enumerate(views):
        if not view.isfinite().all():
            raise ValueError(
                f"view {number} holds nan or infinite values; leave those rows out of every view"
            )
