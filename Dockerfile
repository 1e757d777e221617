# What docker-compose.yaml runs: Python, what the lock pins (Airflow among it), and EnrollSync. So what the tests ran
# with is what is in here, and nothing else. docs/deploy.md says which of these lines were tried, and how.
#
# Pinned by a tag: Python's patch and Debian's release. To pin the very bytes, put a digest after it in both places.
FROM python:3.11.14-slim-bookworm AS build

WORKDIR /opt/airflow
COPY pyproject.toml requirements.lock README.md ./

# uv comes from the lock like everything else.
RUN python -m venv /opt/uv \
    && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > /opt/uv/requirements.txt \
    && /opt/uv/bin/python -m pip install --no-cache-dir --require-hashes --requirement /opt/uv/requirements.txt

# As a constraint the lock gives version and hash of each package that is needed here, and leaves the tests' tools out.
RUN python -m venv --without-pip /opt/venv \
    && /opt/uv/bin/uv pip install --no-cache --compile-bytecode --python /opt/venv/bin/python --require-hashes \
    --constraint requirements.lock --requirement pyproject.toml --group airflow --group stack

# In place, so that what is mounted over include/ is what runs: code, DAG files and suites are always of one version.
COPY include include
RUN /opt/uv/bin/uv pip install --no-cache --no-deps --python /opt/venv/bin/python \
    --build-constraint requirements.lock --editable .


FROM python:3.11.14-slim-bookworm

# curl asks in health checks; dumb-init passes signals on. Debian's archive keeps only the newest of each, so that a
# version named here would fail the next build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl dumb-init \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --no-log-init --uid 50000 --gid 0 --home-dir /opt/airflow --no-create-home --shell /usr/sbin/nologin airflow

# A new volume takes its owner and mode from the folder it is mounted on. Code belongs to root: whoever runs cannot
# change it.
RUN install --directory --owner=50000 --group=0 --mode=770 /opt/airflow /opt/airflow/logs \
    && install --directory --owner=50000 --group=0 --mode=700 /opt/airflow/data /opt/airflow/data/landing /opt/airflow/drop

COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/airflow
COPY include include
COPY dags dags
COPY plugins plugins
COPY config config
COPY expectations expectations

ENV PATH=/opt/venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1
USER 50000:0

# Fails the build, not the night, when Celery does not go with the rest. In a home of its own, because Airflow writes
# keys into a new home.
RUN export AIRFLOW_HOME=/tmp/check AIRFLOW__CORE__EXECUTOR=CeleryExecutor \
    && airflow celery worker --help > /dev/null \
    && python -c "import airflow.providers.celery.executors.celery_executor, enrollsync.arrive.drop" \
    && enrollsync --help > /dev/null \
    && rm -r /tmp/check

ENTRYPOINT ["dumb-init", "--"]
