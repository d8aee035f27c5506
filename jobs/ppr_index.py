"""spark-submit jobs/ppr_index.py --config C --workspace W --date D"""

import sys

from graphquilt.process import run_process
from jobs.cli import main

if __name__ == "__main__":
    # An --engine among the arguments comes later.
    sys.exit(run_process(lambda argv: main(["ppr-index", "--engine", "spark", *argv]), sys.argv[1:]))
