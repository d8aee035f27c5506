"""What pyproject.toml can't state: the pipeline requires the readers of its own version, of which there is one copy."""

from pathlib import Path

from setuptools import setup

VERSION = Path(__file__).with_name("graphquilt").joinpath("VERSION").read_text(encoding="utf-8").strip()

setup(install_requires=[f"graphquilt=={VERSION}"])
