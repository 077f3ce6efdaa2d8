"""`python -m cluster.paper_exchange`."""

from __future__ import annotations

import sys

from cluster.paper_exchange.server import main

if __name__ == "__main__":
    sys.exit(main())
