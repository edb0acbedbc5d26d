# One image for the three ways Stagegate runs: `serve` (the default), `worker`
# and `db upgrade`. Any base with Python 3.11 or newer as `python3` will do:
#
#   docker build --tag stagegate:0.1.0 .
#   docker build --build-arg BASE=registry.example/python:3.12-slim .
#
# pip reads its ordinary configuration (pip.conf, PIP_* and proxy variables of
# the build), so an inner mirror needs no change here.
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS builder
WORKDIR /src
RUN python3 -m venv /opt/stagegate
COPY pyproject.toml README.md LICENSE ./
COPY config ./config
COPY registry ./registry
COPY webhooks ./webhooks
# Every dependency comes as a binary wheel, so that no compiler is needed and
# none is missed. pip itself has no business in the finished image.
RUN /opt/stagegate/bin/pip wheel --no-deps --wheel-dir /wheel . \
    && /opt/stagegate/bin/pip install --only-binary :all: /wheel/*.whl \
    && /opt/stagegate/bin/pip uninstall --yes setuptools pip

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Stagegate" \
      org.opencontainers.image.description="A model registry whose stage changes can be trusted." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The uid is part of the image's contract: volumes and pod security contexts
# name it.
RUN groupadd --gid 10001 stagegate \
    && useradd --uid 10001 --gid 10001 --no-create-home \
        --home-dir /var/lib/stagegate --shell /usr/sbin/nologin stagegate \
    && install --directory --owner=10001 --group=10001 --mode=0750 \
        /var/lib/stagegate

COPY --from=builder /opt/stagegate /opt/stagegate
COPY config/policy.toml config/policy-open.toml config/policy-strict.toml \
    /etc/stagegate/

# Nothing is written outside the data volume and /tmp, so that the root file
# system can be read-only; what programs keep in a home is not data.
ENV PATH=/opt/stagegate/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/tmp \
    STAGEGATE_DATA_DIR=/var/lib/stagegate \
    STAGEGATE_POLICY_FILE=/etc/stagegate/policy.toml
WORKDIR /var/lib/stagegate
VOLUME ["/var/lib/stagegate"]
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

# For engines that look at it (Kubernetes does not), and for `serve` only: run
# `worker` with --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

ENTRYPOINT ["stagegate"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
