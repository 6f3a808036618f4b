"""Beyond one machine: the same arena.toml on a Dask cluster, with the same results."""
