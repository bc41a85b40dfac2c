"""The contract suite's failures show their values, as those of tests do."""

import pytest

for part in ("bench", "contract", "keeping", "lasting", "pages", "value_bench", "values"):
    pytest.register_assert_rewrite(f"clarion.testing.journal_{part}")
