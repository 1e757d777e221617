"""The Roster portal: pages for those who answer for a district's roster, and the same facts as JSON.

`app.build` makes the application out of a `Host`: whatever lets people in and runs DAGs, Airflow in production
(`enrollsync/airflow/host.py`), a few lines in a test. No page knows Airflow.
"""
