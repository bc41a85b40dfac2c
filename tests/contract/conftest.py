"""The contract suite's failures show their values, as those of tests do."""

import pytest

pytest.register_assert_rewrite("clarion.testing.journal_contract")
