#!/usr/bin/env bash
# airflow_demo.sh VENV AIRFLOW_VENV FOLDER: Airflow in a browser, where three nights of the bundled sample run.
# PORT: of the page (8080); the two ports after it are its workers'. DEMO_SPARK_HOME: another Spark than VENV's.
set -euo pipefail
python=$(realpath -s "$1")/bin/python airflow=$(realpath -s "$2")/bin folder=$(realpath -m "$3") port=${PORT:-8080}

mkdir -p "$folder"
sed "s#^path = .*#path = \"$PWD/examples/sample/interactions.parquet\"#" examples/sample/config.toml > "$folder/config.toml"
cat > "$folder/graphs.toml" <<TOML
[default]
dag_id = "debian"
home = "$PWD"
config = "$folder/config.toml"
workspace = "$folder/workspace"
mode = "night"
schedule = ""
owner = "demo"
retry_minutes = 1
TOML

export SPARK_HOME=${DEMO_SPARK_HOME:-$("$python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')}
if java=$(tools/java.sh); then export JAVA_HOME=$java; fi
export PATH="$airflow:$SPARK_HOME/bin:$PATH" PYSPARK_PYTHON=$python PYSPARK_DRIVER_PYTHON=$python
export GRAPHQUILT_GRAPHS="$folder/graphs.toml"
export AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}'
export AIRFLOW_HOME="$folder/airflow" AIRFLOW__CORE__DAGS_FOLDER="$PWD/airflow/dags" AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW_VAR_GRAPHQUILT_COMMAND="${python%/python}/graphquilt" AIRFLOW_VAR_RANKER_FEATURES="$folder/features"
# The parts of Airflow write at once: SQLite's own patience is 5 seconds.
export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$AIRFLOW_HOME/airflow.db?timeout=60" AIRFLOW__CORE__PARALLELISM=1
# Nobody has to log in, so nobody else may: this machine only.
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True AIRFLOW__API__HOST=127.0.0.1 AIRFLOW__API__PORT=$port
export AIRFLOW__API__BASE_URL="http://localhost:$port"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://localhost:$port/execution/"
export AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=$((port + 1)) AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=$((port + 2))

# Before the scheduler runs: SQLite has one writer, and refuses a command whose read another's write has overtaken.
echo "Airflow is set up, in half a minute"
{
    airflow db migrate
    airflow dags reserialize
    airflow dags unpause debian
    airflow dags unpause ranker_features
    for date in 2026-07-11 2026-07-12 2026-07-13; do
        airflow dags trigger debian --conf "{\"date\": \"$date\"}"
    done
} > "$folder/setup.log" 2>&1 || { tail -n 20 "$folder/setup.log" >&2; exit 1; }

airflow standalone > "$folder/standalone.log" 2>&1 &
standalone=$!
trap 'kill $standalone 2>/dev/null; wait' EXIT
until "$python" -c "import urllib.request as u; u.urlopen('$AIRFLOW__API__BASE_URL/api/v2/monitor/health', timeout=5)"; do
    kill -0 $standalone 2>/dev/null || { tail -n 20 "$folder/standalone.log" >&2; exit 1; }
    sleep 2
done >> "$folder/setup.log" 2>&1
echo "Look at $AIRFLOW__API__BASE_URL/dags/debian: three nights run one after the other, a minute each. Ctrl-C ends it."
echo "Tables come to $folder/workspace/published/debian, features made of them by a second DAG to $folder/features."
wait $standalone
