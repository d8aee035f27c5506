"""spark-submit jobs/ppr_index.py --config C --workspace W --date D"""

import sys

from jobs.cli import main

if __name__ == "__main__":
    sys.exit(main(["ppr-index", "--engine", "spark", *sys.argv[1:]]))  # an --engine among the arguments comes later
