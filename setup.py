"""Says which packages there are; all else stands in pyproject.toml, which cannot say that a top folder gets a prefix."""

from setuptools import find_packages, setup

PARTS = ("spec", "model", "impl", "conformance")

setup(packages=[f"colofd.{package}" for package in find_packages(include=[*PARTS, *(f"{part}.*" for part in PARTS)])])
