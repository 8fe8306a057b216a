"""A check on many processes or machines, by Dask; wants the extra `colofd[cluster]`."""
