"""What Airflow and the steps tell each other; the only part of the package that imports Airflow.

What a run does belongs into `steps.py`, which tasks there are into `dags/`. Modules that DAG files import stay light:
they are read every half minute.
"""
