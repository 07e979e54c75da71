"""Contract suites for those who write a strategy of their own; they need pytest."""

import pytest

pytest.register_assert_rewrite("nni_count.testing.strategies")
