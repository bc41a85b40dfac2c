"""What integration tests share: the TypeScript client, built once for each of pytest's processes."""

from __future__ import annotations

import pytest

from tests.typescript import Built


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("typescript"))
