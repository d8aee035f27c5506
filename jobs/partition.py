"""spark-submit jobs/partition.py --config C --workspace W --date D"""

from jobs.cli import run_stage

if __name__ == "__main__":
    run_stage("partition")
