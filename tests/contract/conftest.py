"""The contract suite's failures show their values, as those of tests do."""

import pytest

for part in ("bench", "contract", "keeping", "pages"):
    pytest.register_assert_rewrite(f"clarion.testing.journal_{part}")
