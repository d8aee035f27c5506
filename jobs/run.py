"""spark-submit jobs/run.py --config C --workspace W --date D: all eight stages in one session."""

from jobs.cli import run_job

if __name__ == "__main__":
    run_job("run")
