"""What the fuzz tests share: how many inputs, and what no input may do. Each tests/test_fuzz*.py has its own inputs.

HIERLIB_FUZZ=10 tries ten times as many inputs, and other ones each time.
"""

import contextlib
import os
import time

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("HIERLIB_FUZZ", "1"))


def many(count: int) -> settings:
    """So many inputs, the same ones each time unless more are asked for."""
    options = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    return settings(max_examples=count * TIMES, derandomize=TIMES == 1, **options)


@contextlib.contextmanager
def only(*documented: type[BaseException]):
    """No exception but these; and no hang: none of the inputs needs a hundredth of this processor time."""
    start = time.process_time()
    with contextlib.suppress(*documented):
        yield
    assert time.process_time() - start < 20
