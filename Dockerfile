# OpsHelm Okta agent. Build: docker build -t opshelm-okta-agent .
# Run: see config/compose.yaml. The root file system can be read-only; /data is the only place that is written to.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/agent && python -m venv /opt/build
WORKDIR /src
# The pinned dependencies first: they change less often than the code, so the layer is kept.
COPY requirements.txt build-requirements.txt ./
RUN /opt/agent/bin/pip install --require-hashes --only-binary :all: -r requirements.txt \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r build-requirements.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY agent ./agent
# Nothing is fetched from here on: the build backend is pinned too, in a place of its own that is not part of the image.
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /opt/build/wheel . \
    && /opt/agent/bin/pip install --no-index --no-deps /opt/build/wheel/*.whl \
    && /opt/agent/bin/python -m compileall -q /opt/agent/lib \
    && /opt/agent/bin/opshelm-agent --version

FROM python:3.11-slim
LABEL org.opencontainers.image.title="OpsHelm Okta agent" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 agent \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin agent \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /opt/agent /opt/agent
ENV PATH=/opt/agent/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPSHELM_DATABASE__URL=sqlite:////data/opshelm-agent.db
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8765 8766
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["opshelm-agent", "check", "--health"]
ENTRYPOINT ["opshelm-agent"]
CMD ["serve"]
