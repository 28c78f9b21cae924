"""Fixtures and rules for the whole test tree.

``MTL_DATA``: folder with the real data sets; tests that need it skip where it is unset.
``MTL_REQUIRE``: what may not be missing, e.g. ``data,browser,ranks``; a test that would skip for
want of one of these fails instead.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
PROJECT_ROOT = Path(__file__).resolve().parent.parent


def _missing(what: str, reason: str) -> None:
    """Skip, or fail where ``MTL_REQUIRE`` lists ``what``."""
    if what in os.environ.get("MTL_REQUIRE", "").split(","):
        pytest.fail(f"MTL_REQUIRE lists {what!r}, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout: the folder that holds pyproject.toml."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets (``MTL_DATA``)."""
    value = os.environ.get("MTL_DATA", "")
    if not value:
        _missing("data", "MTL_DATA is not set (folder with the real data sets)")
    root = Path(value).resolve()
    if not root.is_dir():
        _missing("data", f"MTL_DATA={value} is not a folder")
    return root


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a chromium that Playwright can drive."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        _missing("browser", "no chromium on the PATH (apt-get install chromium)")
    return path


def pytest_configure(config: pytest.Config) -> None:
    if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    config.addinivalue_line("markers", "slow: kills, several processes, real runs (make test-slow)")
    config.addinivalue_line("markers", "real_data: needs MTL_DATA (make test-slow)")
    config.addinivalue_line("markers", "browser: needs chromium (make test-slow)")
    config.addinivalue_line("markers", "notebooks: runs notebooks at smoke size")
