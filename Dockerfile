# Airflow's image with EnrollSync in it; docker-compose.yaml runs every Airflow service from it.
# Python 3.11, because that is what the tests ran on: the lock picks the same files here.
FROM apache/airflow:3.3.2-python3.11

# What the lock pins is what the tests ran with, Airflow's own dependencies among it, so it goes over the image's versions.
# As a constraint it gives version and hash of each package that is needed here, and leaves the tests' tools out.
COPY --chown=airflow:0 pyproject.toml requirements.lock README.md ./
RUN uv pip install --no-cache --compile-bytecode --require-hashes --constraint requirements.lock \
    --requirement pyproject.toml --group airflow --group stack --group setup

# In place, so that what is mounted over include/ is what runs: code, DAG files and suites are always of one version.
COPY --chown=airflow:0 include include
RUN uv pip install --no-cache --no-deps --no-build-isolation --editable .

COPY --chown=airflow:0 dags dags
COPY --chown=airflow:0 plugins plugins
COPY --chown=airflow:0 expectations expectations

# A new volume takes its owner and mode from the folder it is mounted on.
RUN mkdir -p data/landing logs && mkdir -m 700 drop

# Fails the build, not the night, when the image's Celery does not go with the lock. In a home of its own, because Airflow
# writes keys into a new home.
RUN export AIRFLOW_HOME=/tmp/check AIRFLOW__CORE__EXECUTOR=CeleryExecutor \
    && airflow celery worker --help > /dev/null \
    && python -c "import airflow.providers.celery.executors.celery_executor" \
    && enrollsync --help > /dev/null \
    && rm -r /tmp/check
