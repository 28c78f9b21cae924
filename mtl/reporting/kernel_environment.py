"""Environment variables of the kernels that a batch starts.

glibc gives every large block its own ``mmap`` and hands it back on ``free``. A training step allocates
and frees the same large blocks again and again, so it pays for page faults each time. Keeping the
memory (``M_MMAP_MAX = 0`` and a large ``M_TRIM_THRESHOLD``, see ``mallopt(3)``) avoids that. Results are
identical; the process holds on to its peak memory until it ends.
"""

from __future__ import annotations

import os
import platform
import sys

KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",  # serve large blocks from the heap
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),  # and do not give the heap's top back, bytes
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def kernel_environment(workers: int = 1, cores: int | None = None, inherit: bool = True) -> dict[str, str]:
    """Variables for each of ``workers`` kernels on this machine: allocator, threads, hash seed.

    With ``inherit`` a value that the user has set already is kept.
    """
    threads = str(max(1, (cores or available_cores()) // max(1, workers)))
    chosen = {**dict.fromkeys(THREADS, threads), "PYTHONHASHSEED": "0"}
    if uses_glibc():
        chosen |= KEEP_MEMORY
    set_already = os.environ if inherit else {}
    return {name: set_already.get(name, value) for name, value in chosen.items()}


def uses_glibc() -> bool:
    """True on Linux with the GNU C library; others ignore the variables, so they are not set there."""
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


def available_cores() -> int:
    """Cores that this process may use (a container's share, not the machine's)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
