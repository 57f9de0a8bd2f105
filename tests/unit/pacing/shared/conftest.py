"""Makes the simulator of this folder importable: the tests are no package of their own."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[4])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
