"""How good counts and maps are, as pure functions. Every figure about maps carries the name of its protocol."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nni_count.metrics.counts import mae, nae, rmse

#: name → figure of the estimated and the true counts of a set, ``(N,)`` each, None where it has none; another is added
#: here, or by an entry point of any package (``nni_count.metrics``)
METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float | None]] = {"mae": mae, "rmse": rmse, "nae": nae}
