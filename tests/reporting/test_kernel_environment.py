"""Variables of the kernels: threads shared out, allocator on glibc only, the user's own kept."""

from __future__ import annotations

import pytest

from mtl.reporting import kernel_environment as module
from mtl.reporting.kernel_environment import kernel_environment


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*module.KEEP_MEMORY, *module.THREADS, "PYTHONHASHSEED"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 8, "8"), (2, 8, "4"), (3, 8, "2"), (4, 2, "1")]
)
def test_threads_are_shared_out(workers: int, cores: int, threads: str) -> None:
    environment = kernel_environment(workers, cores)
    assert {environment[name] for name in module.THREADS} == {threads}
    assert environment["PYTHONHASHSEED"] == "0"
    assert "MPLBACKEND" not in environment


@pytest.mark.parametrize("glibc", [True, False])
def test_the_allocator_is_set_on_glibc_only(monkeypatch: pytest.MonkeyPatch, glibc: bool) -> None:
    monkeypatch.setattr(module, "uses_glibc", lambda: glibc)
    environment = kernel_environment(1, 2)
    assert (environment.get("MALLOC_MMAP_MAX_") == "0") is glibc


def test_what_the_user_has_set_is_kept_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert kernel_environment(1, 8)["OMP_NUM_THREADS"] == "3"
    assert kernel_environment(1, 8, inherit=False)["OMP_NUM_THREADS"] == "8"
