"""Spark settings that bring the jars of GraphFrames, from coordinates or from paths."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from graphquilt.masking import secret_of_setting
from pipeline.errors import ConfigError

_COORDINATES = re.compile(r"[\w.-]+:[\w.-]+:[\w.+-]+")
#: What the Python side talks to, which does not come with the other: label propagation is there.
_CORE = re.compile(r"io\.graphframes:graphframes-(spark[\d.]*_[\d.]+):([\w.+-]+)")


def choose_jar(from_config: str | None) -> str | None:
    """Return ``partition.graphframes_jar``, or what stands in GRAPHFRAMES_JAR.

    Raises
    ------
    ConfigError : if it holds a secret.
    """
    jar = from_config or os.environ.get("GRAPHFRAMES_JAR") or None
    if refusal := secret_of_setting({"GRAPHFRAMES_JAR": jar}):
        raise ConfigError(refusal)
    return jar


def jar_settings(jar: str | None, settings: Mapping[str, str]) -> dict[str, str]:
    """Return Spark settings for coordinates, or for paths of jars or of folders with jars; several with commas.

    ``settings`` are the user's: what they hold under the same keys stays. Nothing is set
    under spark-submit, whose JVM runs already and takes ``--packages`` and ``--jars``.

    Raises
    ------
    ConfigError : if it is neither coordinates nor a path that is there.
    """
    if jar is None or "PYSPARK_GATEWAY_PORT" in os.environ:
        return {}
    names = [name.strip() for name in jar.split(",") if name.strip()]
    packages = [name for name in names if _COORDINATES.fullmatch(name)]
    paths = [path for name in names if name not in packages for path in _jars_at(name)]
    for core in filter(None, map(_CORE.fullmatch, list(packages))):
        companion = f"io.graphframes:graphframes-graphx-{core[1]}:{core[2]}"
        if companion not in packages:
            packages.append(companion)
    additions = {"spark.jars.packages": packages, "spark.jars": paths}
    return {key: ",".join(filter(None, [settings.get(key), *values])) for key, values in additions.items() if values}


def _jars_at(name: str) -> list[str]:
    path = Path(name.removeprefix("file:")).expanduser().absolute()
    jars = sorted(path.glob("*.jar")) if path.is_dir() else [path] if path.is_file() else []
    if not jars:
        raise ConfigError(
            f"partition.graphframes_jar (or GRAPHFRAMES_JAR) is {name!r}, which is neither Maven coordinates nor a jar "
            "or a folder with jars here; such as io.graphframes:graphframes-spark4_2.13:0.12.3 or /opt/jars. Unset "
            "it to run without GraphFrames"
        )
    return [str(path) for path in jars]
