"""Ray reads its environment when it is first imported; `cluster` sets it."""

import cluster as cluster
