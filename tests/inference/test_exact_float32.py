from __future__ import annotations

import json
import subprocess
import sys

_SCRIPT = """
import json, torch
torch.backends.cudnn.conv.fp32_precision = "tf32"
torch.backends.cudnn.benchmark = True
from inference.exact_float32 import compute_exactly_in_float32
compute_exactly_in_float32()
b = torch.backends
kinds = (b, b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn)
print(json.dumps([*(kind.fp32_precision for kind in kinds), torch.get_float32_matmul_precision(),
    b.cudnn.benchmark, b.cudnn.deterministic]))
"""


def test_tf32_is_off_whatever_was_set_before_and_torch_has_nothing_to_warn_of() -> None:
    # In a process of its own: torch keeps these settings for good.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == ["ieee", "ieee", "ieee", "ieee", "highest", False, True]
