"""Ray reads its environment when it is first imported; `cluster` sets it before that."""

import cluster as cluster
