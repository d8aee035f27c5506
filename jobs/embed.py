"""spark-submit jobs/embed.py --config C --workspace W --date D"""

from jobs.cli import run_job

if __name__ == "__main__":
    run_job("embed")
