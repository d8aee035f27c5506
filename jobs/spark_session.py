"""The Spark session of a command. The only place that starts one.

A local master runs everything as this user, so nobody else may talk to it: it listens on loopback, asks for a secret
that Spark draws itself, and shows no UI. What the user has set stays, and clusters are left alone.
"""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jobs.commands.installed import java
from jobs.graphframes_jar import jar_settings
from pipeline.errors import ConfigError, GraphquiltError

log = logging.getLogger(__name__)

#: Of a local master, where the user has set nothing else. Spark draws the secret; it stands on no command line.
CLOSED: Mapping[str, str] = MappingProxyType(
    {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.saslFallback": "false",
    }
)
#: Of a local master whose JVM this process starts, so that its workers find our modules as this process does.
QUICK: Mapping[str, str] = MappingProxyType({"spark.python.daemon.module": "jobs.worker_daemon"})
_NEEDS_SECRET = "spark.network.crypto."  # Spark refuses these without spark.authenticate
_LOCAL = re.compile(r"local(\[[^\]]*\])?")
_LOCAL_CLUSTER = "local-cluster["  # Spark has it for tests; it asks nobody for a secret
_MASTER_OPTION = re.compile(r"(?:--master|--conf\s+[\"']?spark\.master)[\s=]+[\"']?([^\s\"']+)")
_MASTER_LINE = re.compile(r"^\s*spark\.master[\s=:]+(\S+)", re.MULTILINE)


@contextmanager
def spark_session(name: str, settings: Mapping[str, str], jar: str | None) -> Iterator[Any]:
    """Yield a session with these settings and the jar of GraphFrames, and stop it.

    Raises
    ------
    ConfigError : Java or Spark are not where the environment says. GraphquiltError : Spark does not start.
    """
    settings = {**settings, **jar_settings(jar, settings)}
    _require_java()
    _require_spark_home()
    master = settings.get("spark.master") or _default_master()
    for variable, value in _jvm_variables(master, jar).items():
        os.environ.setdefault(variable, value)
    # Spark's own folders are open to others, and the rows of every shuffle lie there.
    with tempfile.TemporaryDirectory(prefix="graphquilt-spark-", ignore_cleanup_errors=True) as scratch:
        try:
            session = _start_session(name, settings, scratch)
        except Exception as error:  # of pyspark, py4j or the JVM: each has its own family
            first = (str(error).splitlines() or [type(error).__name__])[0]
            finding = java()
            why = "" if finding.is_fine else f" Java is {finding.found}: {finding.advice}."
            raise GraphquiltError(
                f"no Spark session could be started: {first}.{why} What the JVM wrote stands above; check the master, "
                f"--conf and 'graphquilt doctor' (Spark 4 needs Java 17 or later){_jar_hint(jar)}"
            ) from error
        try:
            yield session
        finally:
            session.stop()


def _start_session(name: str, settings: Mapping[str, str], scratch: str) -> Any:
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    launch: Callable[[SparkConf], Any] = launch_gateway
    gateway = launch(SparkConf(loadDefaults=False).setAll(list(settings.items())))
    # The JVM's view: with spark-defaults.conf, and with the options of spark-submit.
    conf = SparkConf(_jvm=gateway.jvm).setAll(list(settings.items())).setAppName(f"graphquilt {name}")
    if _LOCAL.fullmatch(conf.get("spark.master", "local[*]") or ""):
        is_open = conf.get("spark.authenticate") == "false"
        quick = {} if "PYSPARK_GATEWAY_PORT" in os.environ else QUICK
        for key, value in {**CLOSED, **quick, "spark.local.dir": scratch}.items():
            if not (is_open and key.startswith(_NEEDS_SECRET)):
                conf.setIfMissing(key, value)
        if conf.get("spark.ui.enabled") == "true" and not os.environ.get("SPARK_LOCAL_IP"):
            log.warning("spark_ui=all_interfaces warning: set SPARK_LOCAL_IP=127.0.0.1 for spark-submit to close it")
    if str(conf.get("spark.master")).startswith(_LOCAL_CLUSTER):
        log.warning("spark_master=local-cluster warning: other users of this machine can reach it; local[N] is closed")
    SparkContext(conf=conf, gateway=gateway)
    return SparkSession.builder.getOrCreate()


def _jvm_variables(master: str, jar: str | None) -> dict[str, str]:
    """Return variables of the environment for the JVM that serves a master."""
    variables = {}
    if _LOCAL.fullmatch(master) or master.startswith(_LOCAL_CLUSTER):
        # Spark's UI, where it is on, and all of local-cluster listen on this address; no setting of Spark changes it.
        variables["SPARK_LOCAL_IP"] = "127.0.0.1"
    if _LOCAL.fullmatch(master) and jar is None:
        # Rows pass through the JVM as they are: compiling it for speed costs more than it saves, but for GraphFrames.
        variables["SPARK_SUBMIT_OPTS"] = "-XX:TieredStopAtLevel=1"
    return variables


def _default_master() -> str:
    """Return the master that Spark takes where --conf names none, in its own order."""
    import pyspark

    if option := _MASTER_OPTION.search(os.environ.get("PYSPARK_SUBMIT_ARGS", "")):
        return option[1]
    home = os.environ.get("SPARK_HOME") or os.path.dirname(pyspark.__file__)
    folder = os.environ.get("SPARK_CONF_DIR") or os.path.join(home, "conf")
    try:
        option = _MASTER_LINE.search(Path(folder, "spark-defaults.conf").read_text(errors="replace"))
    except OSError:
        option = None
    return option[1] if option else os.environ.get("MASTER") or "local[*]"


def _jar_hint(jar: str | None) -> str:
    if jar is None:
        return ""
    return f", and whether {jar} can be resolved from here: it stands in partition.graphframes_jar or GRAPHFRAMES_JAR"


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if home and not os.access(os.path.join(home, "bin", "java"), os.X_OK):
        raise ConfigError(
            f"JAVA_HOME is {home}, and Spark would start {home}/bin/java, which is not there or can't be run; correct "
            "JAVA_HOME, or unset it to take the java on the path"
        )
    if not home and not shutil.which("java"):
        raise ConfigError(
            "Spark needs Java 17 or later, and neither JAVA_HOME nor the path has one. Install it (Debian: "
            "apt-get install openjdk-17-jre-headless), or use --engine local, which needs none."
        )


def _require_spark_home() -> None:
    import pyspark

    home = os.environ.get("SPARK_HOME")
    if not home:
        return
    if not os.access(os.path.join(home, "bin", "spark-submit"), os.X_OK):
        raise ConfigError(
            f"SPARK_HOME is {home}, where no bin/spark-submit can be run; correct SPARK_HOME, or unset it to take the "
            f"Spark {pyspark.__version__} that came with pyspark"
        )
    cores = [match[1] for name in Path(home, "jars").glob("spark-core_*.jar") if (match := _CORE.search(name.name))]
    if cores and cores[0].split(".")[:2] != pyspark.__version__.split(".")[:2]:
        raise ConfigError(
            f"SPARK_HOME is {home}, which is Spark {cores[0]}, and this Python has pyspark {pyspark.__version__}; they "
            "must be of one version: correct or unset SPARK_HOME, or install that pyspark"
        )


_CORE = re.compile(r"spark-core_[\d.]+-(\d+(?:\.\d+)*)")
