"""From what the source's own classifier says about the target's samples: LEEP and NCE."""

import numpy as np

from tlcourse.transfer.distance.inputs import class_codes, probabilities, whole_numbers


def leep(source_probabilities, labels) -> float:
    """Log expected empirical prediction, in nats per sample.

    source_probabilities: (N, Z), what the source's classifier gives for the target's samples; labels: (N,) whole
    numbers. The table P(y|z) of labels against source classes is counted with those probabilities; LEEP is the mean
    log of Σ_z P(y_i|z) θ_iz.
    Larger is nearer. Range: −H(labels), where the source says nothing, to 0; the table is one step of
    expectation-maximisation from P(y|z) = P(y), and a step never loses. To compare: sources on the same samples and
    labels; a source with more classes Z is favoured. Needs a source classifier. Nguyen et al. (2020), "LEEP: a new
    measure to evaluate transferability of learned representations".
    Raises ValueError on what is no probability, on NaN, on one class, on a class with one sample, on lengths that
    differ.
    """
    theta = probabilities(source_probabilities, "source_probabilities")  # (N, Z)
    codes, sizes = class_codes(labels, len(theta), "source_probabilities")
    joint = np.eye(len(sizes))[:, codes] @ theta  # (C, Z), N times P(y, z)
    mass = joint.sum(axis=0)  # (Z,)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)  # P(y|z)
    expected = (conditional[codes] * theta).sum(axis=1)  # (N,)
    return float(np.log(expected).mean())


def nce(*, source_labels, labels) -> float:
    """Negative conditional entropy −H(labels | source labels), in nats per sample.

    source_labels: (N,) whole numbers, the source classifier's choice for each of the target's samples (or labels the
    samples have in the source task); labels: (N,) whole numbers. By keyword only: swapped, they give another number.
    Larger is nearer. Range: −H(labels), where the two are independent, to 0, where the source's label decides. To
    compare: sources on the same samples and labels; a source with more classes is favoured, and one that gives every
    sample its own class reaches 0. Needs a source classifier. Tran et al. (2019), "Transferability and hardness of
    supervised classification tasks".
    Raises ValueError on one class of labels, on a class with one sample, on lengths that differ.
    """
    source = whole_numbers(source_labels, "source_labels")
    codes, sizes = class_codes(labels, len(source), "source_labels")
    kinds, source = np.unique(source, return_inverse=True)
    joint = np.zeros((len(sizes), len(kinds)))
    np.add.at(joint, (codes, source), 1)
    conditional = joint / joint.sum(axis=0)  # P(y|z); every column has a sample
    return float((joint * np.log(np.where(joint > 0, conditional, 1))).sum() / len(codes))
