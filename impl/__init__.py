"""The fast second writing: numpy, mmap and threads. Imports only the constants and reasons of the spec."""
