"""spark-submit jobs/run.py --config C --workspace W --date D: all eight stages in one session."""

from jobs.cli import run_all

if __name__ == "__main__":
    run_all()
