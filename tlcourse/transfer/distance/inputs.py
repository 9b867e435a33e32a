"""What every measure does first: tensors or arrays in, float64 arrays out, bad input refused by name.

Letters: N samples, D features, C classes of the target, Z classes of the source.
"""

import numpy as np
import torch
from torch import Tensor


def array(values, name: str) -> np.ndarray:
    """Numbers as a float64 array of the same shape; the caller's own are never changed.

    values: tensor on any device, array or nested list, of real or whole numbers or booleans.
    Raises TypeError on anything else, ValueError on NaN and on infinity.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise TypeError(f"{name} holds {values.dtype}; give real numbers")
        values = values.detach().to("cpu", torch.float64).numpy()
    try:
        values = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is no array: its rows differ in length; pad or pool them first") from error
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} holds {values.dtype}; give real numbers")
    values = values.astype(np.float64, copy=False)
    bad = ~np.isfinite(values)
    if bad.any():
        place = np.argwhere(bad)[0].tolist()
        raise ValueError(
            f"{name}: {int(bad.sum())} of {bad.size} values are NaN or infinite, the first at {place}; "
            "find what made them, or drop those samples"
        )
    return values


def matrix(values, name: str) -> np.ndarray:
    """(N, D) float64 with at least two samples and one feature. Raises as `array`, and ValueError on other shapes."""
    values = array(values, name)
    if values.ndim != 2:
        raise ValueError(
            f"{name} has shape {values.shape}; give (N, D), one row a sample: flatten or pool the rest"
        )
    if values.shape[0] < 2 or values.shape[1] < 1:
        raise ValueError(f"{name} has shape {values.shape}; give at least 2 samples of at least 1 feature")
    return values


def precision(values) -> float:
    """Relative spacing of the numbers as they came in: float32 features stay rounded to 1.2e-7 in float64 too."""
    if isinstance(values, Tensor):
        return torch.finfo(values.dtype).eps if values.is_floating_point() else np.finfo(np.float64).eps
    dtype = np.asarray(values).dtype
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else float(np.finfo(np.float64).eps)


def whole_numbers(values, name: str) -> np.ndarray:
    """(N,) integers. Raises TypeError on real numbers, ValueError on other shapes and on nothing."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    values = np.asarray(values)
    if values.ndim != 1 or not len(values):
        way = "take its argmax(1)" if values.ndim == 2 else "give (N,), one class a sample"
        raise ValueError(f"{name} has shape {values.shape}; {way}")
    if values.dtype.kind not in "iub":
        raise TypeError(f"{name} holds {values.dtype}; classes are whole numbers")
    return values


def class_codes(labels, n: int, beside: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels as codes 0 … C−1, (N,), and the size of each class, (C,). Gaps between labels do not matter.

    n, beside: how many samples the other argument has, and its name.
    Raises ValueError on another number of labels, on one class, on a class with one sample; else as `whole_numbers`.
    """
    labels = whole_numbers(labels, "labels")
    if len(labels) != n:
        raise ValueError(f"{beside} has {n} samples and labels {len(labels)}; give one label for each sample")
    classes, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"labels hold one class, {classes[0]}; a measure of labels needs at least 2")
    if (sizes < 2).any():
        lone = classes[sizes < 2].tolist()
        raise ValueError(
            f"{len(lone)} classes have one sample, the first {lone[0]}; add samples or leave the class out"
        )
    return codes, sizes


def probabilities(values, name: str) -> np.ndarray:
    """(N, Z) float64 whose rows sum to one; rows off by up to 1e-3, as float16 leaves them, are rescaled.

    Raises as `matrix`, and ValueError on a negative value or a row with another sum.
    """
    values = matrix(values, name)
    if (values < 0).any():
        row = int(np.argwhere(values < 0)[0, 0])
        raise ValueError(
            f"{name} is {values[row].min():.4g} somewhere in row {row}; probabilities are not negative: "
            "softmax the logits"
        )
    sums = values.sum(axis=1, keepdims=True)  # (N, 1)
    if (off := np.abs(sums - 1) > 1e-3).any():
        row = int(np.argwhere(off)[0, 0])
        raise ValueError(f"{name} sums to {sums[row, 0]:.4g} in row {row}, not to 1; softmax the logits")
    return values / sums
