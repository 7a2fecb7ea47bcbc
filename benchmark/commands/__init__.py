"""The commands of ``retain``, one file each: what they take, and which function does the work.

None imports a heavy package before it runs.
"""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a command declares itself."""
