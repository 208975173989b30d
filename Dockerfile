# One image for web, dispatch, migrate and mail room; docker-compose.yml says which command runs where.
FROM python:3.13-slim-bookworm AS environment
COPY requirements/run.txt /requirements.txt
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /requirements.txt

FROM python:3.13-slim-bookworm
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    POSTHASTE_DATA_DIR=/data \
    POSTHASTE_LOG_FORMAT=json
# A number, so that an orchestrator can see that it is not root. The volume takes over the owner of /data/files.
RUN groupadd --gid 10001 posthaste \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin posthaste \
 && install -d -o 10001 -g 10001 -m 0700 /data /data/files
COPY --from=environment /venv /venv
WORKDIR /app
COPY alembic.ini ./
COPY alembic ./alembic
COPY shared ./shared
COPY crm_api ./crm_api
COPY email_service ./email_service
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["python", "-m", "crm_api", "web"]
