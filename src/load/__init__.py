"""`imagebot load`: people play against the real system, and what came of it is measured.

The people live in the sandbox's process (`world`), everything else runs as in production. Nothing in
here is imported by the system it measures.
"""

from typing import Literal

Mix = Literal["words", "all"]
"""What people use: words and photos, or everything there is."""
