"""Benchmarks; `cluster` comes first, because it sets the environment that Ray reads."""

import cluster as cluster
