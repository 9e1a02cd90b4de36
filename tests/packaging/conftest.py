"""The folder that is tested here."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def packaging() -> Path:
    return Path(__file__).resolve().parents[2] / "packaging"
