"""How sure a one-shot search is of what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nni_count.searching.nni import Probabilities

ENTROPY, AGREEMENT = "alpha_entropy", "agreement"


def entropy(probabilities: Probabilities) -> float:
    """The mean entropy of choices, each as a share of the largest that it can have: 0 is decided, 1 undecided."""
    shares = [
        -sum(p * math.log(p) for p in choices.values() if p > 0) / math.log(len(choices))
        for choices in probabilities.values()
        if len(choices) > 1
    ]
    return sum(shares) / len(shares) if shares else 0.0


def agreement(sample: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The share of the choices in which two samples are alike."""
    return sum(bool(sample.get(label) == chosen) for label, chosen in other.items()) / max(1, len(other))


def certainty(epoch: Mapping[str, float]) -> str:
    """What the last epoch's figures tell a person, who may take α for a proof."""
    told = []
    if AGREEMENT in epoch:
        told.append(f"{epoch[AGREEMENT]:.0%} of the choices are as they were an epoch before")
    if ENTROPY in epoch:
        told.append(f"α has {epoch[ENTROPY]:.3f} of the entropy of no decision")
    return f"How sure: {', '.join(told) or 'one epoch tells nothing'}. Trainings tell more: --verify.candidates 8"
